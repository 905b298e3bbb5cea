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

SEEDS_PER_WALK = 4  # if --seeds is not given
VIDEO = "Video to write: .gif, or .mp4 (needs pip install 'fastgan-ray\\[video]')."
MOST_WALKS = 64


def interpolate(
    context: typer.Context,
    checkpoint: Checkpoint,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds through which the video moves, in this order, e.g. 0-3,9. With --grid, "
            "each walk (a tile of the grid) gets an equal part of this list, in order.",
            show_default=f"{SEEDS_PER_WALK} seeds for each walk, starting at seed 0",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=2, max=100_000, help="Total number of frames in the video.")
    ] = 60,
    out: Annotated[Path, typer.Option(help=VIDEO)] = Path("walk.gif"),
    grid: Annotated[
        str,
        typer.Option(metavar="COLUMNSxROWS", help="Show several walks side by side, e.g. 4x2."),
    ] = "1x1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Return to the first seed at the end of the video.")
    ] = False,
    fps: Annotated[int, typer.Option(min=1, max=50, help="Frames per second.")] = 20,
    truncation: Truncation = 1.0,
    which: opt.Which = "best",
) -> None:
    """Write a video that moves from seed to seed (spherical interpolation of latents)."""
    from fastgan_ray.latent.interpolate import side_by_side, walks
    from fastgan_ray.latent.sample import generate, latents
    from fastgan_ray.latent.video import video_writer

    columns, rows = _parse_grid(grid)
    count = columns * rows
    numbers = list(range(SEEDS_PER_WALK * count)) if seeds is None else parse_seeds(seeds)
    _require_stops(len(numbers), count, frames)
    write = video_writer(out)
    require_writable(out)
    generator, config = load_generator(context, checkpoint, which, truncation)
    require_small_grid(count, config, "choose a smaller --grid")
    stops_NZ = latents(numbers, config.model.nz, truncation)
    z_NZ = walks(stops_NZ, count, frames, loop)
    pictures = generate(generator, z_NZ, track=progress())
    write(side_by_side(pictures, count, columns, config.data.background), out, fps)
    walked = f" of {counted(count, 'walk')}" if count > 1 else ""
    print_line(f"wrote {frames} frames{walked} to {out}")


def evolve(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a training, a trial or a search. For a search, show the best trial.",
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
            min=64, max=4096, help="Largest width in pixels; wider grids are made smaller."
        ),
    ] = 1024,
    fps: Annotated[
        int, typer.Option(min=1, max=50, help="Frames (evaluations of the training) per second.")
    ] = 4,
) -> None:
    """Write a video of a training, which shows the same samples at each evaluation."""
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
    if not 1 <= columns * rows <= MOST_WALKS:
        raise UserError(
            f"--grid: must be COLUMNSxROWS, e.g. 4x2, with at most {MOST_WALKS} walks (got {grid})"
        )
    return columns, rows


def _require_stops(seeds: int, count: int, frames: int) -> None:
    """Raise UserError if the seeds cannot be divided equally among `count` walks.

    Each walk needs at least 2 seeds, and at most as many as `frames`.
    """
    if count == 1 and not 2 <= seeds <= frames:
        raise UserError(
            f"--seeds: there must be at least 2 seeds, and at most as many as "
            f"--frames (got {counted(seeds, 'seed')}, {frames} frames)"
        )
    if seeds % count or not 2 <= seeds // count <= frames:
        raise UserError(
            f"--seeds: each of the {counted(count, 'walk')} of --grid needs the same number of "
            f"seeds, at least 2 and at most as many as --frames (got {counted(seeds, 'seed')}, "
            f"{frames} frames)"
        )
