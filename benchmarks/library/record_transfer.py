"""Record trainings that start from the weights of a training on the other embedded set.

    python benchmarks/library/record_transfer.py [--share 0 --of 2] [--limit N]
    python benchmarks/library/record_transfer.py --table

The settings are those of objectives.yaml. Its arm FastGAN, as record_objectives.py has recorded it,
is the start from scratch. The trainings to start from have a seed that no other training has; they
are trained first, and kept in runs/transfer of the current folder. Appends a line for each training
to NAME-OF-SET.jsonl in benchmarks/data/transfer and continues where the files end. `--table` writes
results/transfer.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import record_objectives as objectives
import torch
from record import Rows, append, code_version

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.ablation import AblationSpec, Cell, cell_config
from fastgan_ray.search.file.read_ablation import load_ablation
from fastgan_ray.search.statistics import mean_and_sd
from fastgan_ray.train.loop import train

FOLDER = objectives.BENCHMARKS / "data" / "transfer"
RESULTS = objectives.BENCHMARKS / "results" / "transfer.md"
STARTS = Path("runs/transfer")
START_SEED = 100
SCRATCH = "FastGAN"  # the arm of objectives.yaml
SHORT = {"train.total_kimg": 4.5, "eval.every_kimg": 0.75}
ARMS: dict[str, dict[str, Any]] = {
    "given weights": {},
    "given weights, FreezeD": {"train.freeze_d": 2},
}


def start(spec: AblationSpec, data: str) -> Path:
    """Return the folder of the training on `data` to start from; train it if it does not exist."""
    folder = STARTS / data
    if not list(folder.glob("checkpoint-*")):
        train(cell_config(spec, Cell(SCRATCH, data, START_SEED)), Rows(folder))
    return folder.resolve()


def config(spec: AblationSpec, cell: Cell) -> RunConfig:
    """Return the configuration of a training that starts from one on the other set."""
    other = next(name for name in spec.data if name != cell.data)
    given = {"train.init_from": str(start(spec, other))}
    return override(
        cell_config(spec, Cell(SCRATCH, cell.data, cell.seed)), SHORT | given | ARMS[cell.arm]
    )


def record(spec: AblationSpec, cell: Cell) -> dict[str, Any]:
    """Train a cell; return its line."""
    run = config(spec, cell)
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows(Path(folder))
        train(run, rows)
    return {
        **{"set": cell.data, "arm": cell.arm, "seed": cell.seed},
        "settings": {**spec.base, **SHORT, **ARMS[cell.arm]},
        "cpu_seconds": round(time.process_time() - rows.began, 1),
        "rows": rows.columns(),
        **{"code": code_version(), "torch": torch.__version__},
    }


def recorded() -> dict[Cell, dict[str, Any]]:
    """Return the recorded lines."""
    texts = [text for path in FOLDER.glob("*.jsonl") for text in path.read_text().splitlines()]
    lines = map(json.loads, texts)
    return {Cell(line["arm"], line["set"], line["seed"]): line for line in lines}


def missing(spec: AblationSpec, share: int, of: int) -> Iterator[Cell]:
    """Yield the cells of a share that are not yet recorded."""
    known = recorded()
    for number, (arm, seed, data) in enumerate(itertools.product(ARMS, spec.seeds, spec.data)):
        if number % of == share and Cell(arm, data, seed) not in known:
            yield Cell(arm, data, seed)


def reached(line: dict[str, Any], distance: float) -> float | None:
    """Return after how many kimg a training first reached a distance; None if it never did."""
    rows = line["rows"]
    pairs = zip(rows["kimg"], rows[objectives.METRIC], strict=True)
    return next((kimg for kimg, value in pairs if value <= distance), None)


def table(spec: AblationSpec) -> str:
    """Say how many images each start needs for the best distance of the same seed from scratch."""
    scratch, given = objectives.recorded(spec), recorded()
    lines = [
        "# A start from the weights of another set",
        "",
        "Images until the distance is at or below the best of the training from scratch with the "
        f"same seed (its {spec.base['train.total_kimg']:g} kimg have evaluations every "
        f"{spec.base['eval.every_kimg']:g}); the trainings with given weights end at "
        f"{SHORT['train.total_kimg']:g} kimg.",
        "",
        "| set | start | seeds | best distance | kimg, seed by seed | from scratch, seed by seed |",
        "|---|---|---|---|---|---|",
    ]
    for data, arm in itertools.product(spec.data, ARMS):
        cells = [cell for cell in given if (cell.arm, cell.data) == (arm, data)]
        if not cells:
            continue
        pairs = [(given[cell], scratch.get(Cell(SCRATCH, data, cell.seed))) for cell in cells]
        found = [(line, other) for line, other in pairs if other is not None]
        bests = [min(other["rows"][objectives.METRIC]) for _, other in found]
        with_weights = [reached(line, best) for (line, _), best in zip(found, bests, strict=True)]
        without = [reached(other, best) for (_, other), best in zip(found, bests, strict=True)]
        mean, sd = mean_and_sd([min(line["rows"][objectives.METRIC]) for line, _ in found])
        base, base_sd = mean_and_sd(bests)
        lines.append(
            f"| {data} | {arm} | {len(found)} | {objectives.spread(mean, sd)} (from scratch "
            f"{objectives.spread(base, base_sd)}) | {_listed(with_weights)} | {_listed(without)} |"
        )
    return "\n".join(lines) + "\n"


def _listed(values: list[float | None]) -> str:
    return ", ".join("not reached" if value is None else f"{value:.2g}" for value in values)


def main() -> None:
    """Record what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    parser.add_argument("--limit", type=int, help="trainings after which to stop")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = load_ablation(str(objectives.BENCHMARKS / "objectives.yaml"))
    if options.table:
        RESULTS.write_text(table(spec))
        print(RESULTS.read_text(), end="")
        return
    for cell in itertools.islice(missing(spec, options.share, options.of), options.limit):
        line = record(spec, cell)
        append(FOLDER, line)
        values = line["rows"][objectives.METRIC]
        print(cell.arm, cell.data, cell.seed, line["cpu_seconds"], values[-1], flush=True)


if __name__ == "__main__":
    main()
