"""The commands that write videos: interpolate and evolve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.generator import Checkpoint, Truncation, load_generator, require_small_grid
from fastgan_ray.cli.seeds import parse_seeds
from fastgan_ray.cli.terminal import print_line, progress
from fastgan_ray.config.paths import require_writable
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError

SEEDS_PER_TILE = 4  # if --seeds is not given
VIDEO = "Video to write: .gif, or .mp4 (needs pip install 'fastgan-ray\\[video]')."
MOST_TILES = 64


def interpolate(
    context: typer.Context,
    checkpoint: Checkpoint,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds whose pictures the video shows, in this order, e.g. 0-3,9. With --grid, "
            "the list is divided into equal parts: one part for each tile of the grid.",
            show_default=f"{SEEDS_PER_TILE} seeds for each tile, starting at seed 0",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=2, max=100_000, help="Total number of frames in the video.")
    ] = 60,
    out: Annotated[Path, typer.Option(help=VIDEO)] = Path("walk.gif"),
    grid: Annotated[
        str,
        typer.Option(
            metavar="COLUMNSxROWS", help="Show a grid of several interpolations, e.g. 4x2."
        ),
    ] = "1x1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Return to the first seed at the end of the video.")
    ] = False,
    fps: Annotated[int, typer.Option(min=1, max=50, help="Frames per second.")] = 20,
    truncation: Truncation = 1.0,
    which: opt.Which = "best",
) -> None:
    """Write a video that changes smoothly from one seed's picture to the next seed's picture.

    The latents of the seeds are interpolated spherically.
    """
    from fastgan_ray.latent.interpolate import side_by_side, walks
    from fastgan_ray.latent.sample import generate, latents
    from fastgan_ray.latent.video import video_writer

    columns, rows = _parse_grid(grid)
    count = columns * rows
    numbers = list(range(SEEDS_PER_TILE * count)) if seeds is None else parse_seeds(seeds)
    _require_seeds(len(numbers), count, frames)
    write = video_writer(out)
    require_writable(out)
    generator, config = load_generator(context, checkpoint, which, truncation)
    require_small_grid(count, config, "choose a smaller --grid")
    stops_NZ = latents(numbers, config.model.nz, truncation)
    z_NZ = walks(stops_NZ, count, frames, loop)
    pictures = generate(generator, z_NZ, track=progress())
    write(side_by_side(pictures, count, columns, config.data.background), out, fps)
    tiles = f" with {counted(count, 'tile')} each" if count > 1 else ""
    print_line(f"wrote {frames} frames{tiles} to {out}")


def evolve(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a training, a trial or a search. For a search, the video shows the "
            "best trial.",
        ),
    ],
    out: Annotated[Path, typer.Option(help=VIDEO)] = Path("evolution.gif"),
    count: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of samples to show.", show_default="all samples of the grids"
        ),
    ] = None,
    width: Annotated[
        int,
        typer.Option(
            min=64, max=4096, help="Largest width in pixels. Wider frames are made smaller."
        ),
    ] = 1024,
    fps: Annotated[
        int, typer.Option(min=1, max=50, help="Frames per second. Each evaluation is one frame.")
    ] = 4,
) -> None:
    """Write a video that shows how the same samples change from evaluation to evaluation."""
    from fastgan_ray.latent.evolution import film, find_grids
    from fastgan_ray.latent.video import video_writer

    write = video_writer(out)
    require_writable(out)
    grids = find_grids(run)
    write(film(grids, count, width, progress()), out, fps)
    first, last = (int(path.stem) / 1000 for path in (grids[0], grids[-1]))
    print_line(f"wrote {counted(len(grids), 'frame')}, from {first:g} to {last:g} kimg, to {out}")


def _parse_grid(grid: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", grid)
    columns, rows = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= columns * rows <= MOST_TILES:
        raise UserError(
            f"--grid: must be COLUMNSxROWS, e.g. 4x2, with at most {MOST_TILES} tiles (got {grid})"
        )
    return columns, rows


def _require_seeds(seeds: int, count: int, frames: int) -> None:
    """Raise UserError if `seeds` seeds cannot be divided equally among `count` tiles.

    Each tile needs from 2 to `frames` seeds.
    """
    if count == 1 and not 2 <= seeds <= frames:
        raise UserError(
            "--seeds: the number of seeds must be at least 2, and at most --frames (got "
            f"{counted(seeds, 'seed')}, {frames} frames)"
        )
    if seeds % count or not 2 <= seeds // count <= frames:
        raise UserError(
            f"--seeds: each of the {counted(count, 'tile')} of --grid needs the same number of "
            "seeds. This number must be at least 2, and at most --frames (got "
            f"{counted(seeds, 'seed')}, {frames} frames)"
        )
