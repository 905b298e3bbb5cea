"""The ways to search that `search.py` compares: ours by sampler and rule, and those of others.

Each simulates a task with a seed, and returns the best point after each cost.
"""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anchors
import freeze_thaw
import optuna
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search.optuna import OptunaSearch
from replay import SimulatedTrial, Step, cost, replay
from search_task import (
    BUDGET,
    WORKERS,
    BestPoints,
    Point,
    Search,
    Task,
    best_expected,
    best_points,
    run_trials,
)

from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.space import assign
from fastgan_ray.search.warm_start import EarlierTrial
from fastgan_ray.tune.suggest.parameters import decode, suggest

METRIC = "fd_efficientnet_lite0"
SHORT, SHORT_BUDGET = 2, 4.0  # of a search before: rows of its trainings, and its cost
# Early stopping; FIRST is the kimg of the first row.
RULES = {
    "none": "",
    "asha 2": "{type: hyperband, min_iter: FIRST, eta: 2}",
    "asha 3": "{type: hyperband, min_iter: FIRST, eta: 3}",
    "asha 3 once": "{type: hyperband, min_iter: FIRST, eta: 3, revisit: false}",
    "asha 3 from second": "{type: hyperband, min_iter: 2*FIRST, eta: 3}",
    "hyperband": "{type: hyperband, min_iter: FIRST, eta: 2, brackets: 2}",
    "median": "{type: median, min_iter: FIRST}",
    "patience": "{type: patience, kimg: 2*FIRST}",
    "chance": "{type: chance}",
    "chance .1": "{type: chance, probability: 0.1}",
}
# Lines of a search file. `curves` learns from what is recorded of other data sets, too.
SAMPLERS = {
    "random": "method: random",
    "qmc": "method: random\nsampler: qmc",
    **{
        name: f"method: bayes\nsampler: {name}"
        for name in ("tpe", "curves", "gp", "cmaes", "nsga2", "nsga3")
    },
    "curves alone": "method: bayes\nsampler: curves\nknowledge: false",
}

# Ways of `freeze_thaw`, which the product does not have, and what they may do.
MOVES = {
    "freeze-thaw: whole trainings": freeze_thaw.Moves(),
    "freeze-thaw: pauses": freeze_thaw.Moves(pauses=True),
    "freeze-thaw: second seeds": freeze_thaw.Moves(seeds=True),
    "freeze-thaw: by cost": freeze_thaw.Moves(by_cost=True),
    "freeze-thaw: pauses, second seeds, by cost": freeze_thaw.Moves(True, True, True),
}


def ours(sampler: str, rule: str, task: Task, seed: int, first: bool = False) -> BestPoints:
    """Search with the product: its searcher with a sampler and its stopping rules.

    The best point is that with the best value.

    `first`: a search of shorter trainings runs before, and this one starts from its trials, as with
    `--from`. It costs `SHORT_BUDGET` more.
    """
    if not first:
        return best_points(whole_search(sampler, rule, task, seed))
    short = task.kimg[:SHORT]
    trials = simulate(sampler, "none", task, seed + 100_000, short, SHORT_BUDGET)
    ranked = sorted(
        (trial.steps[-1][1].value, trial.number, trial.point)
        for trial in trials
        if trial.state == "finished" and trial.steps[-1][1].value is not None
    )
    earlier_trials = [
        EarlierTrial(point, rank, str(number)) for rank, (_, number, point) in enumerate(ranked)
    ]
    return best_points(simulate(sampler, rule, task, seed, task.kimg, BUDGET, earlier_trials))


def ours_expected(sampler: str, rule: str, task: Task, seed: int) -> BestPoints:
    """Search as `ours`. The best point is that with the best expected value."""
    space = task.spec(SAMPLERS[sampler], "", seed, task.kimg[-1]).space
    trials = whole_search(sampler, rule, task, seed)
    return best_points(trials, best_expected(space, task.kimg[-1]))


@functools.lru_cache(maxsize=1)
def whole_search(sampler: str, rule: str, task: Task, seed: int) -> list[SimulatedTrial]:
    """Return the trials of a search without another one before it; the last search is kept."""
    return simulate(sampler, rule, task, seed, task.kimg, BUDGET)


def simulate(
    sampler: str,
    rule: str,
    task: Task,
    seed: int,
    kimg: Sequence[float],
    budget: float,
    earlier_trials: Sequence[EarlierTrial] = (),
) -> list[SimulatedTrial]:
    """Return a search's trials, which report at each of `kimg`."""
    spec = task.spec(SAMPLERS[sampler], _rule(rule, kimg[0]), seed, kimg[-1])
    with tempfile.TemporaryDirectory(dir=_memory()) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return replay(
            spec,
            lambda point, config: task.curve(point, seed)[: len(kimg)],
            Path(folder),
            WORKERS,
            budget,
            earlier_trials=earlier_trials,
        )


def _rule(name: str, first: float) -> str:
    """Return the line of a search file for a rule of `RULES`."""
    text = RULES[name].replace("2*FIRST", f"{2 * first:g}").replace("FIRST", f"{first:g}")
    return f"early_terminate: {text}" if text else ""


def grid(task: Task, seed: int) -> BestPoints:
    """Search a grid with the product, in random order."""
    rates = "[1e-4, 6.3e-4, 4e-3]"
    text = (
        f"name: b\nmethod: random\nmetric: {{name: {METRIC}}}\nrun_cap: 72\nseed: {seed}\n"
        f"base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: {task.kimg[-1]}}}}}"
        "\nparameters:\n  model.ngf: {values: [4, 8]}\n  train.batch_size: {values: [4, 8]}\n"
        '  augment.policy: {values: ["", "color,translation"]}\n'
        f"  train.lr_g: {{values: {rates}}}\n  train.lr_d: {{values: {rates}}}\n"
    )
    spec = spec_from_text(text, "b.yaml")
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        trials = replay(
            spec, lambda point, config: task.curve(point, seed), Path(folder), WORKERS, BUDGET
        )
    return best_points(trials)


def plain_optuna(
    sampler: Callable[[int], optuna.samplers.BaseSampler],
    task: Task,
    seed: int,
    workers: int = 1,
) -> BestPoints:
    """Search with a sampler of Optuna and its defaults, in complete trainings.

    One worker, whose sampler knows every training before, is the best case of a sampler.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = task.spec("method: random", "", seed, task.kimg[-1]).space
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=sampler(seed))
        asked: list[optuna.Trial] = []

        def ask(number: int) -> tuple[Point, Sequence[Step]]:
            asked.append(study.ask())
            point = assign(space, functools.partial(suggest, asked[number]))
            return point, task.curve(point, seed)

        def tell(trial: SimulatedTrial, spent: float) -> None:
            value = trial.steps[-1][1].value
            if value is None:
                study.tell(asked[trial.number], state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(asked[trial.number], value)

        return best_points(run_trials(ask, tell, workers))


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


def rays_own(task: Task, seed: int) -> BestPoints:
    """Search with Ray's OptunaSearch and Ray's ASHA, called as Ray Tune calls them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _rays_own(task, seed)


def _rays_own(task: Task, seed: int) -> BestPoints:
    space = task.spec("method: random", "", seed, task.kimg[-1]).space

    def suggest_all(trial: optuna.Trial) -> None:
        assign(space, functools.partial(suggest, trial))

    search = OptunaSearch(suggest_all, metric=METRIC, mode="min", seed=seed)
    asha = AsyncHyperBandScheduler(
        time_attr="kimg",
        metric=METRIC,
        mode="min",
        grace_period=task.kimg[0],
        max_t=task.kimg[-1],
        reduction_factor=3,
    )
    trials: list[SimulatedTrial] = []
    running: list[tuple[float, SimulatedTrial, list[Step], Any]] = []
    now = 0.0
    while True:
        while len(running) < WORKERS and cost(trials) < BUDGET:
            name = f"{len(trials):05d}"
            params = search.suggest(name)
            point = {p.name: decode(p, params[p.name]) for p in space if p.name in params}
            simulated = SimulatedTrial(len(trials), point, now)
            trials.append(simulated)
            steps = task.curve(point, seed)
            trial = _Named(name)
            asha.on_trial_add(None, trial)
            running.append((now + steps[0].seconds, simulated, steps, trial))
        if not running:
            return best_points(trials)
        running.sort(key=lambda entry: (entry[0], entry[1].number))
        now, simulated, steps, trial = running.pop(0)
        step, *rest = steps
        simulated.steps.append((now, step))
        if step.value is None:
            simulated.state = "diverged"
            search.on_trial_complete(trial.trial_id, None, error=True)
            continue
        row = {"kimg": step.kimg, METRIC: step.value, "training_iteration": len(simulated.steps)}
        search.on_trial_result(trial.trial_id, row)
        stop = asha.on_trial_result(None, trial, row) == "STOP"
        if rest and not stop:
            running.append((now + rest[0].seconds, simulated, rest, trial))
            continue
        simulated.state = "stopped" if rest else "finished"
        search.on_trial_complete(trial.trial_id, row)


class _Named:
    """The only attribute of a trial that ASHA reads."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # a journal on a disk waits for it


# Ways that need a further package, or a sampler of OptunaHub; see `anchors.missing`.
NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "OptunaHub AutoSampler, none": anchors.AUTO,
        "OptunaHub heteroscedastic GP, none": anchors.HETEROSCEDASTIC,
        "SMAC3, none": "smac",
        "SMAC3 multi-fidelity, Hyperband 3": "smac",
    }
)


def not_run(names: Iterable[str]) -> dict[str, str]:
    """Return the ways that cannot run here, and why."""
    reasons = {name: anchors.missing(NEEDS[name]) for name in names if name in NEEDS}
    return {name: reason for name, reason in reasons.items() if reason}


def searches() -> dict[str, Search]:
    """Return every way to search that is compared; some need a further package (`NEEDS`)."""
    table: dict[str, Search] = {
        f"{sampler}, {rule}": functools.partial(ours, sampler, rule)
        for sampler in SAMPLERS
        for rule in RULES
    }
    expected: dict[str, Search] = {
        f"{sampler}, {rule}, expected": functools.partial(ours_expected, sampler, rule)
        for sampler in SAMPLERS
        for rule in RULES
    }
    return {
        **table,
        **expected,
        **{name: functools.partial(freeze_thaw.search, moves) for name, moves in MOVES.items()},
        **{
            f"{sampler}, {rule}, --from a search of 0.4 kimg": functools.partial(
                ours, sampler, rule, first=True
            )
            for sampler, rule in (("tpe", "asha 3"), ("curves", "none"))
        },
        "grid (3 rates), none": grid,
        "plain Optuna TPE, none": functools.partial(plain_optuna, _tpe),
        "plain Optuna GP, none": functools.partial(plain_optuna, _gp),
        "Ray's OptunaSearch + ASHA 3": rays_own,
        "OptunaHub AutoSampler, none": functools.partial(
            plain_optuna, anchors.auto_sampler, workers=WORKERS
        ),
        "OptunaHub heteroscedastic GP, none": functools.partial(
            plain_optuna, anchors.heteroscedastic_gp, workers=WORKERS
        ),
        "SMAC3, none": functools.partial(anchors.smac, anchors.HPO),
        "SMAC3 multi-fidelity, Hyperband 3": functools.partial(
            anchors.smac, anchors.MULTI_FIDELITY
        ),
    }
