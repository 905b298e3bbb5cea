"""Measure the luck of seeds, and simulate confirmations: error rate, power and cost of the rules.

    python benchmarks/confirmation.py --prior    # what fastgan_ray/search/luck.py is taken from
    python benchmarks/confirmation.py            # writes results/confirmation.md; some minutes

The luck is read from the recorded trainings with several seeds in benchmarks/data.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import provenance
from numpy.typing import NDArray
from scipy import optimize, stats

from fastgan_ray.search.luck import PRIORS, LuckPrior
from fastgan_ray.search.sequential import Rules, decide, looks_one_by_one
from fastgan_ray.search.statistics import compare

HERE = Path(__file__).parent
METRICS = {"fd": "fd_efficientnet_lite0", "kd": "kd_efficientnet_lite0"}
FEWEST = 6  # configurations with several seeds, for a row of its own

SEARCHES, TRIALS, TOP, SEEDS = 2000, 16, 2, 3
BETTER = (0, 5, 10, 20, 40)  # percent by which one trial is truly better
SCALES = (0.5, 1, 2)  # the true standard deviation of the luck over the prior's
BASE = "default"
Array = NDArray[np.float64]
Table = dict[str, dict[int, float]]


# --- the luck of seeds ---


def recorded(metric: str) -> dict[str, list[dict[int, float]]]:
    """Return {recording: [{seed: value at the end} of each configuration]} of `metric`."""
    groups: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for group, name, seed, rows in _trainings():
        ends = rows.get(metric, [None]) if isinstance(rows, dict) else [rows[-1].get(metric)]
        if ends[-1] is not None:
            groups[group][name][seed] = ends[-1]
    return {group: [*of_group.values()] for group, of_group in groups.items()}


def _trainings() -> Iterator[tuple[str, str, int, Any]]:
    """Yield (recording, configuration, seed, rows) of each recorded training that finished."""
    data = HERE / "data"
    for line in (data / "curves.jsonl").read_text().splitlines():
        record = json.loads(line)
        point = {key: value for key, value in record["point"].items() if key != "train.seed"}
        if record["outcome"] == "finished":
            yield "matcaps, 32 px", json.dumps(point), record["point"]["train.seed"], record["rows"]
    for path in sorted([*data.glob("objectives/*.jsonl"), *data.glob("library/*.jsonl")]):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            scale = record.get("scale", "64 px, objectives")
            name = str(record.get("arm", record.get("number")))
            if record["outcome"] == "finished":
                yield f"{record['set']}, {scale}", name, record["seed"], record["rows"]


def luck_table() -> str:
    """Return a table of the luck of seeds in each recording, on logarithms.

    The columns: root mean square of the standard deviation over seeds; scale and degrees of freedom
    of the scaled F-distribution that fits the variances best (maximum likelihood; as limma's
    fitFDist); the correlation of two configurations with the same seed (two-way analysis of
    variance, over configurations with all seeds).
    """
    lines = [
        "| metric | recording | configurations | sd (root mean square) | scale | strength "
        "| correlation of a seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for family, metric in METRICS.items():
        groups = {name: _several_seeds(group) for name, group in recorded(metric).items()}
        small = [values for group in groups.values() if len(group) < FEWEST for values in group]
        rows = {name: group for name, group in groups.items() if len(group) >= FEWEST}
        if small:
            rows["all smaller recordings"] = small
        rows["all"] = [values for group in groups.values() for values in group]
        for name, group in rows.items():
            variances = np.array([np.var(list(logs.values()), ddof=1) for logs in group])
            freedom = np.array([len(logs) - 1.0 for logs in group])
            scale, strength = fit_f(variances, freedom)
            lines.append(
                f"| {family} | {name} | {len(group)} "
                f"| {math.sqrt(np.average(variances, weights=freedom)):.3f} | {scale:.3f} "
                f"| {'> 50' if strength > 50 else f'{strength:.1f}'} "
                f"| {'' if name.startswith('all') else f'{_seed_correlation(group):.2f}'} |"
            )
    return "\n".join(lines)


def _several_seeds(group: Sequence[dict[int, float]]) -> list[dict[int, float]]:
    return [
        {seed: math.log(value) for seed, value in values.items()}
        for values in group
        if len(values) > 1 and min(values.values()) > 0
    ]


def fit_f(variances: Array, freedom: Array) -> tuple[float, float]:
    """Fit variances = scale^2 F(freedom, strength); return the scale and the strength."""
    variances = np.maximum(variances, 1e-8)

    def loss(parameters: Array) -> float:
        scale, strength = np.exp(parameters)
        return -float(np.sum(stats.f.logpdf(variances / scale, freedom, strength) - parameters[0]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow far from the optimum
        start = np.array([math.log(2 * np.median(variances)), 1.0])
        log_scale, log_strength = optimize.minimize(loss, start, method="Nelder-Mead").x
    return math.exp(log_scale / 2), math.exp(min(log_strength, 20.0))


def _seed_correlation(group: Sequence[dict[int, float]]) -> float:
    seeds = max((tuple(sorted(logs)) for logs in group), key=len)
    table = np.array([[logs[seed] for seed in seeds] for logs in group if {*seeds} <= {*logs}])
    arms, count = table.shape
    if arms < FEWEST:
        return math.nan
    centred = table - table.mean(1, keepdims=True)
    effects = centred.mean(0)
    residual = float(((centred - effects) ** 2).sum() / ((arms - 1) * (count - 1)))
    seed_variance = max(0.0, (arms * float((effects**2).sum()) / (count - 1) - residual) / arms)
    return float(seed_variance / (seed_variance + residual))


# --- simulated confirmations ---


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw normal luck with standard deviation 1."""
    return rng.normal(size=shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw luck with heavy tails (Student, 3 degrees of freedom), standard deviation 1."""
    return rng.standard_t(3, size=shape) / math.sqrt(3)


def unequal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw normal luck whose variance differs between configurations (rows), mean variance 1.

    The variances are inverse chi-square with 5 degrees of freedom, as those of recorded trainings.
    """
    variances = 3 / rng.chisquare(5, size=(shape[0], *[1] * (len(shape) - 1)))
    return rng.normal(size=shape) * np.sqrt(variances)


LUCK: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": normal,
    "heavy tails": heavy,
    "unequal": unequal,
}


def searched(rng: np.random.Generator, kind: str, sd: float, better: float) -> tuple[Table, str]:
    """Simulate a search; return the values of its confirmation, and the better trial.

    Trial 0 is truly better by `better` percent, the others equal the default. Each has one value in
    the search; the best TOP of them have new seeds.
    """
    effects = np.zeros(1 + TRIALS)
    effects[1] = math.log(1 - better / 100)
    luck = sd * LUCK[kind](rng, (1 + TRIALS, 1 + SEEDS))
    logs = effects[:, None] + luck
    top = [1 + int(trial) for trial in np.argsort(logs[1:, 0])[:TOP]]
    table = {
        BASE if trial == 0 else f"trial {trial}": dict(
            enumerate(np.exp(4 + logs[trial, 1:]).tolist(), 1)
        )
        for trial in (0, *top)
    }
    return table, "trial 1"


def paired(table: Table) -> tuple[set[str], int]:
    """Return the arms that Student's paired t-test with Holm's correction calls better, and cost.

    All arms are trained with all seeds.
    """
    results = compare(table, BASE, "minimize")
    return {arm for arm, result in results.items() if result.verdict == "better"}, 3 * len(table)


def sequential(table: Table, prior: LuckPrior) -> tuple[set[str], int]:
    """Return the arms that the sequential confirmation calls better, and its trainings."""
    looks = looks_one_by_one(SEEDS)
    results = decide(table, Rules(BASE, "minimize", looks, looks, prior)).arms
    used = [result.seeds for result in results.values()]
    return {arm for arm, result in results.items() if result.verdict == "better"}, (
        sum(used) + max(used)
    )


def simulate(prior: LuckPrior) -> str:
    """Return the table of error rate, power and cost of both rules, over all cases."""
    headings = ["luck", "sd over the prior's", *(f"{b} % better" for b in BETTER)]
    lines = [_row(headings), _row(["---"] * len(headings))]
    totals: dict[str, list[float]] = defaultdict(list)
    for kind in LUCK:
        for scale in SCALES:
            cells = []
            for better in BETTER:
                rng = np.random.default_rng([better, round(10 * scale)])
                called, cost, before = 0, 0, 0
                for _ in range(SEARCHES):
                    table, winner = searched(rng, kind, scale * prior.sd, better)
                    now, trainings = sequential(table, prior)
                    then, _ = paired(table)
                    cost += trainings
                    called += bool(now) if not better else winner in now
                    before += bool(then) if not better else winner in then
                rates = [100 * before / SEARCHES, 100 * called / SEARCHES]
                totals["cost"].append(cost / SEARCHES)
                for name, rate in zip(("before", "now"), rates, strict=True):
                    totals[f"{name}, {'power' if better else 'error'}"].append(rate)
                cells.append(f"{rates[0]:.1f} → {rates[1]:.1f} %; {cost / SEARCHES:.1f}")
            lines.append(_row([kind, f"{scale:g}", *cells]))
    mean = {name: float(np.mean(listed)) for name, listed in totals.items()}
    lines += [
        "",
        f"Over all cases: {mean['cost']:.2f} trainings of {3 * (1 + TOP)} "
        f"({100 * mean['cost'] / (3 * (1 + TOP)):.0f} %); power {mean['before, power']:.1f} → "
        f"{mean['now, power']:.1f} %; largest rate of false verdicts "
        f"{max(totals['before, error']):.1f} → {max(totals['now, error']):.1f} %.",
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


TEXT = """# Confirmations that give seeds one after another

`python benchmarks/confirmation.py`: {machine}. The rules: [docs/search.md](../../docs/search.md).

## The luck of seeds

Standard deviations of the logarithm of the value at the end, over seeds. The prior in use
(`fastgan_ray/search/luck.py`) is {priors}.

{luck}

## Error, power and cost

{searches:,} simulated searches in each cell: {trials} trials, of which one is truly better by so
much (0: none is), and the best {top} by value are confirmed with up to {seeds} new seeds. A cell
has the percentage of confirmations with a "better" verdict (for 0 %: for any trial; otherwise for
the better trial, also if the search did not find it) by the paired t-test with Holm's correction,
which always takes {most} trainings, → by the sequential test; and the mean number of trainings
that the sequential test takes. "unequal": each configuration has another standard deviation
(inverse chi-square, 5 degrees of freedom).

{table}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", action="store_true", help="print only the luck of seeds")
    if parser.parse_args().prior:
        print(luck_table())
        return
    text = TEXT.format(
        machine=provenance(["numpy", "scipy"]),
        priors=" and ".join(
            f"{prior.sd:g} with a strength of {prior.strength:g} ({family})"
            for family, prior in PRIORS.items()
        ),
        luck=luck_table(),
        searches=SEARCHES,
        trials=TRIALS,
        top=TOP,
        seeds=SEEDS,
        most=3 * (1 + TOP),
        table=simulate(PRIORS["fd"]),
    )
    (HERE / "results" / "confirmation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
