"""Made-up runs with grids whose tiles say, by their colour, what they are."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import report_runs
import torch
from PIL import Image

from fastgan_ray.data.grid import save_grid

SIDE = 16
TRAINING = 250  # the red of every training picture
NAMES = ("x", "y")


def write_grids(run: Path) -> None:
    """Give each trial of a run a grid: red says the trial, green the latent."""
    for number, trial in enumerate(sorted((run / "trials").iterdir())):
        tiles = torch.zeros(36, 3, SIDE, SIDE)
        tiles[:, 0], tiles[:, 1] = 5 * number, torch.arange(36)[:, None, None] * 6
        save_grid(tiles / 127.5 - 1, trial / "grids" / "1.png")
        rows = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
        rows[-1] |= {"grid": "grids/1.png", "kd_efficientnet_lite0": 1.0 + number}
        (trial / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_pictures(folder: Path) -> Path:
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (20, 20), (TRAINING, 20 * number, 99)).save(folder / f"{number}.png")
    return folder


def search(folder: Path, pictures: Path, count: int = 6) -> Path:
    """A search with grids, on `pictures`; its folder."""
    report_runs.write_search(folder, count)
    (folder / "overrides.json").write_text(json.dumps({"data.path": str(pictures)}))
    write_grids(folder)
    return folder


def ablation(folder: Path, pictures: Path) -> Path:
    """An ablation with grids, on two data sets of which one is `pictures`; its folder."""
    report_runs.write_ablation(folder)
    text = (folder / "ablation.yaml").read_text().replace("some/cats", str(pictures))
    (folder / "ablation.yaml").write_text(text)
    write_grids(folder)
    return folder


def sides(page: str) -> list[list[np.ndarray]]:
    """The pictures of each pair of a page, as pixels."""
    uris = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("RGB")) for uri in uris
    ]
    return [list(pair) for pair in zip(pictures[::2], pictures[1::2], strict=True)]


def tiles(side: np.ndarray, count: int) -> list[tuple[int, int]]:
    """(red, green) in the middle of each tile of a side, rounded to what the tiles say."""
    columns = round(count**0.5)
    step = (len(side) + 2) / columns
    middles = [int(step * (index + 0.5)) - 1 for index in range(columns)]
    return [tuple(side[y, x, :2].astype(int)) for y in middles for x in middles]


def sheet(key: dict, choose, voter: str = "", sheet: str = "ab12") -> dict:
    """A file of votes: `choose(left, right)` says the choice for each pair of a key."""
    votes = [
        {"pair": number, "choice": choose(*pair), "seconds": 1.5}
        for number, pair in enumerate(key["pairs"])
    ]
    head = {"format": "fastgan-ray-votes-1", "page": key["page"], "sheet": sheet}
    return {**head, "voter": voter, "votes": votes}
