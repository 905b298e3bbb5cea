"""Times the metrics against clean-fid and torch-fidelity on the same data, and that they agree.

Command:  make bench        (writes benchmarks/results/metrics.md)
Cost:     about ten minutes of a core, most of them clean-fid's.

Every distance starts from float32 features, as a network gives them.
"""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cleanfid.fid
import numpy as np
import torch
from extraction import BATCH, FAKES, NGF, REALS, RESOLUTION, STAGES, Features, extraction_cases
from scipy import linalg
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric
from turns import DEVICE, Case, Outcome, machine, spread, table, take_turns, timed

from fastgan_ray.metrics.frechet import frechet_distance, frechet_distance_with_errors
from fastgan_ray.metrics.kernel import kernel_distance
from fastgan_ray.metrics.manifold import precision_recall_density_coverage

RESULT = Path(__file__).parent / "results" / "metrics.md"
WIDTH = 2048
MANY, FEW = 5000, 100
REPEATS = 3


def features(count: int, seed: int, shift: float = 0.0) -> Features:
    """(count, WIDTH) like a network's: positive, correlated, of a falling spectrum."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
    latent = rng.normal(size=(count, WIDTH)) / np.sqrt(np.arange(1, WIDTH + 1)) + shift / 50
    rows: Features = np.maximum(0.3 + 3 * latent @ mixing, 0).astype(np.float32)
    return rows


def clean_fid_distance(real: Features, fake: Features) -> float:
    """clean-fid's, from features; only its call sqrtm(a, disp=False) is put as SciPy takes it."""

    def sqrtm(matrix: Features, disp: bool = True) -> object:
        root = linalg.sqrtm(matrix)
        return root if disp else (root, None)

    cleanfid.fid.linalg = SimpleNamespace(sqrtm=sqrtm)
    return float(cleanfid.fid.fid_from_feats(real, fake))


def covariances(real: Features, fake: Features) -> float:
    """Both, as ours has them; the sum of their traces."""
    centred = [rows - rows.mean(axis=0, dtype=np.float64) for rows in (real, fake)]
    return float(sum(np.trace(rows.T @ rows) / (len(rows) - 1) for rows in centred))


def clean_fid_covariances(real: Features, fake: Features) -> float:
    """Both, as clean-fid has them."""
    return float(sum(np.trace(np.cov(rows, rowvar=False)) for rows in (real, fake)))


def torch_fidelity_kernel_distance(real: Features, fake: Features) -> float:
    """Of all rows at once; in float64, as float32 keeps too few digits of it."""
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3}
    kernel |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    return float(kernel_mmd(real.astype(np.float64), fake.astype(np.float64), **kernel))


def torch_fidelity_precision_recall(real: Features, fake: Features) -> float:
    """Precision + recall."""
    settings = {"prc_neighborhood": 5, "prc_batch_size": 10_000, "save_cpu_ram": False}
    found = prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), verbose=False, **settings
    )
    return float(found["precision"] + found["recall"])


def precision_recall(real: Features, fake: Features) -> float:
    """Precision + recall, ours, which finds density and coverage on the way."""
    found = precision_recall_density_coverage(real, fake)
    return found["precision"] + found["recall"]


def metric_cases(few: Features, many: Features, fake: Features) -> list[Case]:
    """From features to a number."""

    def case(
        name: str,
        against: str,
        ours: Callable[[Features, Features], float],
        theirs: Callable[[Features, Features], float],
        real: Features,
    ) -> Case:
        size = f"({len(real):,}, {len(fake):,}, {WIDTH}-d)"
        mine, other = timed(lambda: ours(real, fake)), timed(lambda: theirs(real, fake))
        return Case(f"{name} {size}", against, mine, other)

    kernel = (lambda real, made: kernel_distance(real, made)[0], torch_fidelity_kernel_distance)
    manifold = (precision_recall, torch_fidelity_precision_recall)
    return [
        case("Fréchet distance", "clean-fid", frechet_distance, clean_fid_distance, few),
        case("Fréchet distance", "clean-fid", frechet_distance, clean_fid_distance, many),
        case("... both covariances", "clean-fid", covariances, clean_fid_covariances, many),
        case("KID with errors", "torch-fidelity, without", *kernel, many),
        case("precision, recall, density, coverage", "torch-fidelity, two", *manifold, many),
    ]


def after_covariances(whole: Outcome, both: Outcome) -> str:
    """The distance of full rank from covariances on, as the difference of two measured parts."""
    ours, theirs = (np.median(whole.seconds(i)) - np.median(both.seconds(i)) for i in (0, 1))
    return (
        f"Fréchet distance ({MANY:,}, {MANY:,}, {WIDTH}-d) from the covariances on, as differences "
        f"of the above: {ours:.2f} s, clean-fid {theirs:.1f} s, {theirs / ours:.1f} times as fast."
    )


def at_many_fakes(extraction: Outcome, solve: Outcome) -> str:
    """What MANY fakes would take, from parts that were measured."""
    ours, theirs = (
        np.median(extraction.seconds(side, STAGES)) * MANY / FAKES + np.median(solve.seconds(side))
        for side in (0, 1)
    )
    name = extraction.case.name
    return f"- {name}: {ours:.0f} s, clean-fid {theirs:.0f} s, {theirs / ours:.2f} times as fast"


def errors(real: Features, fake: Features) -> str:
    """What standard errors cost, beside the distance alone."""
    alone, with_errors = (
        timed(lambda: frechet_distance(real, fake)),
        timed(lambda: frechet_distance_with_errors(real, fake)[0]),
    )
    outcome = take_turns(Case("errors", "none", alone, with_errors), REPEATS)
    return (
        f"- ({len(real):,}, {len(fake):,}, {WIDTH}-d): {spread(outcome.seconds(1))} s, "
        f"{spread(outcome.ratios())} times the distance alone"
    )


def peak(name: str, function: Callable[[], object]) -> str:
    """The most memory that NumPy held at once, beyond the features themselves."""
    tracemalloc.start()
    function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"- {name}: {most / 2**20:.0f} MiB"


def main() -> None:
    """Measure all, and write the result."""
    warnings.filterwarnings("ignore")  # theirs, of names that their libraries drop
    if DEVICE.type == "cpu":
        torch.set_num_threads(1)
    few, many, fake = features(FEW, 1), features(MANY, 2), features(MANY, 3, shift=1)
    solves = [take_turns(case, REPEATS) for case in metric_cases(few, many, fake)]
    extractions = [take_turns(case, REPEATS) for case in extraction_cases(clean_fid_distance)]
    lines = [
        "# Metrics against clean-fid's and torch-fidelity's",
        "",
        f"`make bench`; {machine()}.",
        "",
        f"Median (smallest to largest) of {REPEATS} turns, ours and theirs alternating. Generator: "
        f"FastGAN's with drawn weights, {RESOLUTION} px, ngf {NGF}; {FAKES} fakes in batches of "
        f"{BATCH} against {REALS} reals; pictures: to 8 bits, resizing, copies.",
        "",
        *table(solves + extractions),
        "",
        after_covariances(solves[1], solves[2]),
        "",
        f"With {MANY:,} fakes, computed from the parts above:",
        "",
        *(at_many_fakes(one, solves[0]) for one in extractions),
        "",
        "Fréchet distance with its standard errors:",
        "",
        errors(few, fake),
        errors(many, fake),
        "",
        f"Memory at ({MANY:,}, {MANY:,}, {WIDTH}-d), beyond the float32 features:",
        "",
        peak("KID", lambda: kernel_distance(many, fake)),
        peak("torch-fidelity's KID", lambda: torch_fidelity_kernel_distance(many, fake)),
        peak("precision, recall, density, coverage", lambda: precision_recall(many, fake)),
    ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
