"""Does a search help on pictures nobody has seen? Ways to search on the tasks of the library.

    PYTHONPATH=benchmarks python benchmarks/library/compare.py --role choose [--seeds 20]

Each seed of each set is a task that `truth.py` draws. The cost is in trainings. The regret is how
much worse, in percent, the chosen point truly is than the best point of the task. Writes
results/library_search_ROLE.md. Some of the ways are anchors: ways to search of others, some in
packages that `pip install "fastgan-ray[anchors]"` brings. The sampler `curves` knows the recordings
of all sets but the one that it searches. The sets of the role `once` are looked at once, at the
end.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from comparison import COSTS, DEFAULT, FORMER_DEFAULT, RANDOM, Array, tables
from design import SCALES, roles, search
from machine import provenance
from make_knowledge import make_library, set_facts
from record import FOLDER, recorded
from search_task import WORKERS, BestPoints, Task
from truth import Truth, recordings
from ways_to_search import not_run, searches

import fastgan_ray
from fastgan_ray.counting import counted
from fastgan_ray.search.knowledge.library import Library

RESULTS = Path(__file__).resolve().parents[1] / "results"
OURS = (
    *(RANDOM, "random, none, expected", "qmc, none", FORMER_DEFAULT, "tpe, none"),
    *("curves alone, none", "curves alone, none, expected", "curves, none", DEFAULT),
)
SLOW = (
    *("plain Optuna GP, none", "OptunaHub AutoSampler, none", "OptunaHub heteroscedastic GP, none"),
    *("SMAC3, none", "SMAC3 multi-fidelity, Hyperband 3"),
)
ANCHORS = ("plain Optuna TPE, none", "Ray's OptunaSearch + ASHA 3", *SLOW)
MIN_POINTS = 12  # a set with fewer recorded points is left out
PROCESSES = 2
PACKAGE = Path(fastgan_ray.__file__).parent
CODE = ("search", "tune/suggest")  # what the simulated searches run


def truth_of(folder: Path, name: str, scale: str) -> Truth | None:
    """Return the model of a set at a scale; None if too little is recorded in the folder."""
    lines = [line for line in recorded(folder, [name]) if line["scale"] == scale]
    known = recordings(search(scale).space, lines)
    if len(known.points) < MIN_POINTS or not len(known.lucks):
        return None
    return Truth(known)


def regrets(points: BestPoints, task: Task) -> list[float]:
    """Return the regret in percent after each cost of `COSTS`; infinite before the first point."""
    values = [task.truth(point) for _, point in points]
    spent = [cost for cost, _ in points]
    chosen = np.searchsorted(spent, COSTS, side="right") - 1
    return [100 * (values[i] / task.best - 1) if i >= 0 else math.inf for i in chosen]


def _run(
    truths: Mapping[str, Truth],
    libraries: Mapping[str, Library],
    job: tuple[str, int, Sequence[str]],
) -> Searched:
    """Search the task of a set and a seed in some ways."""
    name, seed, ways = job
    task = truths[name].draw(seed)
    curves, seconds = {}, {}
    with known_to(name, libraries[name]):
        for way in ways:
            started = time.process_time()
            points = searches()[way](task, seed)
            seconds[way] = time.process_time() - started
            curves[way] = regrets(points, task)
    return Searched(name, seed, curves, seconds)


@contextlib.contextmanager
def known_to(name: str, library: Library) -> Iterator[None]:
    """Let a search of the set `name` know its pictures' plain share, and `library`."""
    share = set_facts()[name]["plain"]
    with (
        patch("fastgan_ray.search.knowledge.responses.package_library", lambda: library),
        patch("fastgan_ray.tune.suggest.model.plain_share_of", lambda config: share),
        patch("freeze_thaw.plain_share_of", lambda config: share),
    ):
        yield


class Searched(NamedTuple):
    """The searches of one task: its set and seed, and by way the regrets and CPU seconds."""

    set: str
    seed: int
    regrets: dict[str, list[float]]
    seconds: dict[str, float]


def finished(path: Path | None, digest: str) -> list[Searched]:
    """Return the searches of earlier calls with recordings of this digest, from `--keep`."""
    if path is None or not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    known = [Searched(**line) for line in lines if line.pop("recordings") == digest]
    if left := len(lines) - len(known):
        print(f"{path}: {counted(left, 'line')} left out: of other recordings, scale or code")
    return known


def digest_of(folder: Path, scale: str) -> str:
    """Return a digest of the recordings, the scale, and the code that searches."""
    digest = hashlib.sha256(scale.encode())
    code = [path for part in CODE for path in sorted((PACKAGE / part).rglob("*.py"))]
    for path in [*sorted(folder.glob("*.jsonl")), *code]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Simulate the searches and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=["choose", "report", "once"], default="choose")
    parser.add_argument("--scale", choices=SCALES, default="32px")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--slow-seeds", type=int, help=f"seeds for the slow anchors (all): {', '.join(SLOW)}"
    )
    parser.add_argument("--ways", nargs="*", default=[*OURS, *ANCHORS], choices=searches())
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the recordings")
    parser.add_argument("--out", type=Path, help="of the table (results/library_search_ROLE.md)")
    parser.add_argument(
        "--keep",
        type=Path,
        help="file of finished searches, which are not made again if they are of the same "
        "recordings, scale and code of `CODE` (of the anchors: by the same package)",
    )
    options = parser.parse_args()
    if options.slow_seeds is not None and options.slow_seeds < 1:
        parser.error(f"--slow-seeds: must be at least 1 (got {options.slow_seeds})")
    torch.set_num_threads(1)
    truths: dict[str, Truth] = {}
    for name in roles()[options.role]:
        if (truth := truth_of(options.folder, name, options.scale)) is not None:
            truths[name] = truth
        else:
            print(f"{name} is left out: less than {MIN_POINTS} points, or no second seed")
    if not truths:
        parser.error(f"--role {options.role}: no set has enough recordings at {options.scale}")
    absent = not_run(options.ways)
    ways = [RANDOM, *(way for way in options.ways if way != RANDOM and way not in absent)]
    slow_seeds = options.seeds if options.slow_seeds is None else options.slow_seeds
    digest = digest_of(options.folder, options.scale)
    known = finished(options.keep, digest)
    jobs = []
    for seed, name in itertools.product(range(options.seeds), truths):
        done = {way for one in known if one[:2] == (name, seed) for way in one.regrets}
        wanted = [way for way in ways if way not in SLOW or seed < slow_seeds]
        if missing := [way for way in wanted if way not in done]:
            jobs.append((name, seed, missing))
    shape = (options.seeds, len(COSTS))
    curves = {(name, way): np.full(shape, np.nan) for name in truths for way in ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    libraries = {name: make_library(options.scale, options.folder, name) for name in truths}
    run = partial(_run, truths, libraries)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for searched in itertools.chain(known, pool.imap_unordered(run, jobs)):
            if options.keep and searched not in known:
                with options.keep.open("a") as file:
                    line = {**searched._asdict(), "recordings": digest}
                    file.write(json.dumps(line) + "\n")
            for way in {*ways} & {*searched.regrets}:
                if searched.set in truths and searched.seed < options.seeds:
                    curves[searched.set, way][searched.seed] = searched.regrets[way]
                    seconds[way].append(searched.seconds[way])
    text = report(options, truths, curves, seconds, absent)
    out = options.out or RESULTS / f"library_search_{options.role}.md"
    out.write_text(text)
    print(text, end="")


def report(
    options: argparse.Namespace,
    truths: Mapping[str, Truth],
    curves: Mapping[tuple[str, str], Array],
    seconds: Mapping[str, Sequence[float]],
    absent: Mapping[str, str],
) -> str:
    """Return the tables as Markdown. `seconds` has the CPU seconds of each search, by way."""
    ways = list(seconds)
    notes = [f"Not run: {way}; {reason}." for way, reason in absent.items()]
    if left_out := [way for way in (*OURS, *ANCHORS) if way not in {*ways, *absent}]:
        notes.append(f"Left out by `--ways`: {'; '.join(left_out)}.")
    if options.slow_seeds is not None and (slow := [way for way in ways if way in SLOW]):
        notes.append(f"With {counted(options.slow_seeds, 'seed')}: {'; '.join(slow)}.")
    lines = [
        "# Does a search help on pictures nobody has seen?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/compare.py --role {options.role} "
        f"--scale {options.scale} "
        f"--seeds {options.seeds}`; {provenance(('optuna', 'ray'))}\n",
        f"Each search spends {int(COSTS[-1])} trainings with {WORKERS} workers. Plain "
        "Optuna trains one configuration at a time, which is the best case of a sampler.",
        *(f"\n{note}" for note in notes),
        "\n| set | points | R^2 | a seed moves a value by |",
        "|---" * 4 + "|",
    ]
    for name, truth in truths.items():
        luck = 100 * float(np.std(truth.recorded.lucks[:, -1]))
        lines.append(
            f"| {name} | {len(truth.recorded.points)} | {truth.cross_validated():.2f} "
            f"| {luck:.1f} % |"
        )
    lines += tables(curves, list(truths), ways, [way for way in ANCHORS if way in seconds])
    minutes = sum(map(sum, seconds.values())) / PROCESSES / 60
    lines += [
        f"\nCPU seconds of a search, without anything that trains; all searches together take "
        f"{minutes:.0f} minutes of {PROCESSES} cores.\n",
        "| way | s |",
        "|---|---|",
        *(f"| {way} | {np.mean(taken):.1f} |" for way, taken in seconds.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
