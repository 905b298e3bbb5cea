"""Record the library's trainings: what the files lack, in the design's order.

    python benchmarks/library/record.py --share 0 --of 2 [--set NAME...] [--scale NAME] [--limit N]

Appends a line for each training to NAME.jsonl in benchmarks/data/library and goes on where it was.
Several processes may run at once, each with a share of its own. `build_sets.py` comes first.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from build_sets import data_path, digest_at
from design import SCALES, SETS, Training, config, point, rounded, search, trainings

import fastgan_ray
from fastgan_ray.errors import DivergedError
from fastgan_ray.train.loop import train

FOLDER = Path(__file__).resolve().parents[1] / "data" / "library"
EXTRACTOR = "efficientnet_lite0"
COLUMNS = (
    "kimg",
    *(f"{name}_{EXTRACTOR}{error}" for name in ("fd", "kd") for error in ("", "_se", "_se_fakes")),
    "precision_k5",
    "recall_k5",
    "coverage_k5",
    "diversity",
    "nearest_ratio",
    "memorised",
    "drift",
    "reconstruction",
    *(f"loss/{name}" for name in ("d", "g", "reconstruction")),
    *(f"grad/{name}" for name in ("d", "g")),
    "sign/real",
    "logits/real",
    "logits/fake",
)
ONCE = ("params_g", "params_d", "gflop_g")


class Rows:
    """A reporter that keeps the rows, each with the CPU seconds so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.process_time()
        self.rows: list[dict[str, Any]] = []

    def report(self, metrics: Mapping[str, Any], checkpoint: Path) -> None:
        """Keep an evaluation."""
        self.rows.append({**metrics, "cpu_seconds": time.process_time() - self.began})

    def progress(self, kimg: float, seconds: float) -> None:
        """Nothing."""

    def stopping(self) -> bool:
        """Never."""
        return False

    def columns(self) -> dict[str, list[Any]]:
        """The rows by column; a number that a row lacks is null."""
        names = [
            name for name in (*COLUMNS, "cpu_seconds") if any(name in row for row in self.rows)
        ]
        return {name: [rounded(row.get(name)) for row in self.rows] for name in names}


def record(training: Training) -> dict[str, Any]:
    """Train one, and say what came out."""
    path = data_path(training.set)
    with tempfile.TemporaryDirectory() as folder:
        rows, outcome = Rows(Path(folder)), "finished"
        try:
            train(config(training, path), rows)
        except DivergedError as error:
            outcome = f"diverged: {error}"
    return {
        **training._asdict(),
        "outcome": outcome,
        "point": point(training.scale, training.number),
        "cpu_seconds": round(time.process_time() - rows.began, 1),
        **({name: rows.rows[-1][name] for name in ONCE} if rows.rows else {}),
        "rows": rows.columns(),
        **provenance(training),
    }


def provenance(training: Training) -> dict[str, Any]:
    """What else it takes to train a line again: pictures, fixed settings, code."""
    spec = search(training.scale)
    fixed = {**spec.base, **spec.overrides}
    return {
        "digest": digest_at(training.set),
        "base": {name: value for name, value in fixed.items() if name != "data.path"},
        "code": code_version(),
        "torch": torch.__version__,
    }


def code_version() -> str:
    """The commit of the code that trains; empty outside of a repository."""
    where = Path(fastgan_ray.__file__).parent
    command = ["git", "-C", str(where), "describe", "--always", "--dirty", "--exclude", "*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def recorded(folder: Path, names: Iterable[str] = SETS) -> Iterator[dict[str, Any]]:
    """The lines of some sets; one that a killed process left unfinished is passed over."""
    for name in names:
        path = folder / f"{name}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)


def append(folder: Path, line: dict[str, Any]) -> None:
    """Append a whole line to the file of the set, also while other processes write to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{line['set']}.jsonl").open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(max(0, file.seek(0, 2) - 1))
        broken = file.read(1) not in (b"", b"\n")
        text = json.dumps(line, separators=(",", ":")) + "\n"
        file.write(b"\n" * broken + text.encode())


def missing(folder: Path, share: int, of: int) -> Iterator[Training]:
    """What the files lack of a share of the design."""
    known = {Training(*(line[key] for key in Training._fields)) for line in recorded(folder)}
    for turn, training in enumerate(trainings()):
        if turn % of == share and training not in known:
            yield training


def recordings_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of programs that read recordings: `--scale`, `--folder`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scale", choices=SCALES, default="32px")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the recordings")
    return parser


def main() -> None:
    """Record what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--scale", choices=SCALES)
    parser.add_argument("--up-to", type=int, default=10**6, help="largest number of a point")
    parser.add_argument("--limit", type=int, help="trainings after which to stop")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = (
        training
        for training in missing(options.folder, options.share, options.of)
        if training.set in options.set
        and options.scale in (None, training.scale)
        and training.number <= options.up_to
    )
    for count, training in enumerate(wanted):
        if count == options.limit:
            break
        line = record(training)
        append(options.folder, line)
        last = line["rows"].get(f"fd_{EXTRACTOR}", [None])[-1]
        print(*training, line["outcome"], line["cpu_seconds"], last, flush=True)


if __name__ == "__main__":
    main()
