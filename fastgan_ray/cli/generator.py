"""The commands for a trained generator. Like every handler: load, build, call, print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fastgan_ray.cli.options import AsJson, Assignments, Data, Embedded, overrides
from fastgan_ray.cli.terminal import console, progress_console
from fastgan_ray.errors import UserError
from fastgan_ray.progress import track_on

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fastgan_ray.config.run_config import ModelConfig, RunConfig


Checkpoint = Annotated[
    Path,
    typer.Argument(help="Checkpoint, run folder, exported folder or published .pth."),
]
Truncation = Annotated[
    float, typer.Option(min=0, max=2, help="Scale of the latents; below 1: less varied.")
]


def sample(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="A .png for one grid, or a folder.")] = Path(
        "samples.png"
    ),
    seeds: Annotated[str, typer.Option(help="Numbers and ranges, as in 0-35,99.")] = "0-35",
    truncation: Truncation = 1.0,
) -> None:
    """Write pictures from a generator: the same seed gives the same picture."""
    from fastgan_ray.data.grid import save_grid, save_image
    from fastgan_ray.latent.sample import parse_seeds
    from fastgan_ray.latent.sample import sample as draw

    numbers = parse_seeds(seeds)
    if out.suffix.lower() not in ("", ".png"):
        raise UserError(f"--out: must be a .png file or a folder (got {out})")
    _require_png(out) if out.suffix else _require_folder(out)
    generator, model, _ = _load(checkpoint)
    pictures = draw(generator, model.nz, numbers, truncation, track=track_on(progress_console))
    if out.suffix:
        save_grid(pictures, out)
    else:
        for seed, picture in zip(numbers, pictures, strict=True):
            save_image(picture, out / f"seed{seed:06d}.png")
    _say(f"{len(numbers)} pictures in {out}")


def interpolate(
    checkpoint: Checkpoint,
    seeds: Annotated[str, typer.Option(help="Where the walk stops, in order.")] = "0-3",
    frames: Annotated[int, typer.Option(min=2, max=100_000, help="Pictures in all.")] = 60,
    out: Annotated[Path, typer.Option(help="A .gif, or a .mp4 (extra `video`).")] = Path(
        "walk.gif"
    ),
    loop: Annotated[bool, typer.Option("--loop", help="Walk back to the first seed.")] = False,
    fps: Annotated[int, typer.Option(min=1, max=50, help="Pictures a second.")] = 20,
    truncation: Truncation = 1.0,
) -> None:
    """Film a walk from seed to seed, along the sphere on which latents lie."""
    from fastgan_ray.data.grid import to_uint8
    from fastgan_ray.latent.interpolate import walk
    from fastgan_ray.latent.sample import latents, parse_seeds, pictures
    from fastgan_ray.latent.video import film_writer

    numbers = parse_seeds(seeds)
    if not 2 <= len(numbers) <= frames:
        raise UserError(
            f"--seeds: 2 at least, and no more than --frames, are needed "
            f"(got {len(numbers)} seeds, {frames} frames)"
        )
    write = film_writer(out)
    _require_writable(out)
    generator, model, _ = _load(checkpoint)
    z_NZ = walk(latents(numbers, model.nz, truncation), frames, loop)
    batches = pictures(generator, z_NZ, track=track_on(progress_console))
    images = (image for batch in batches for image in to_uint8(batch).permute(0, 2, 3, 1))
    write((image.contiguous().numpy() for image in images), out, fps)
    _say(f"{frames} frames in {out}")


def mix(
    checkpoint: Checkpoint,
    rows: Annotated[str, typer.Option(help="Seeds that give the layout.")] = "0-5",
    columns: Annotated[str, typer.Option(help="Seeds that give the look.")] = "6-11",
    out: Annotated[Path, typer.Option(help="A .png file.")] = Path("mix.png"),
    truncation: Truncation = 1.0,
) -> None:
    """Draw each row's layout in each column's look (style mixing)."""
    from fastgan_ray.data.grid import save_grid
    from fastgan_ray.latent.mix import mix_grid, require_mixing
    from fastgan_ray.latent.sample import parse_seeds

    layouts, looks = parse_seeds(rows, "--rows"), parse_seeds(columns, "--columns")
    _require_png(out)
    generator, model, _ = _load(checkpoint)
    mixing = require_mixing(generator)
    tiles = mix_grid(mixing, model.nz, layouts, looks, truncation, track_on(progress_console))
    save_grid(tiles, out, columns=1 + len(looks))
    _say(f"{len(layouts)} rows of {len(looks)} mixtures in {out}")


def invert(
    checkpoint: Checkpoint,
    picture: Annotated[Path, typer.Argument(help="A picture, or a folder of them.")],
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Latents tried for each.")] = 300,
    out: Annotated[Path, typer.Option(help="Folder for latents and a grid.")] = Path("inverted"),
    embedded: Embedded = False,
    as_json: AsJson = False,
) -> None:
    """Find the latents whose pictures are nearest to given ones, by LPIPS or --embedded."""
    from fastgan_ray.config.run_config import DataConfig
    from fastgan_ray.latent.invert import invert_pictures, read_pictures, save_inversions
    from fastgan_ray.train.perceptual import DISTANCES

    _require_folder(out)
    generator, model, config = _load(checkpoint)
    pictures = read_pictures(picture, config.data if config else DataConfig(), model.resolution)
    distance = DISTANCES["efficientnet_lite0" if embedded else "lpips_vgg"](_device(generator))
    track = track_on(progress_console)
    found = {}
    for name, each in invert_pictures(generator, model.nz, pictures, distance, steps, track):
        found[name] = each
        if not as_json:
            _say(
                f"{name}: distance {each.distance:.3f} (of the first latent {each.start:.3f}), "
                f"mean squared difference {each.mse:.3f}"
            )
    save_inversions(pictures, found, out)
    if as_json:
        keys = ("start", "distance", "mse")
        rows = {name: {key: getattr(each, key) for key in keys} for name, each in found.items()}
        _print_json(rows)
    else:
        _say(f"latents.safetensors and grid.png (picture, inversion) in {out}")


def neighbours(
    checkpoint: Checkpoint,
    seeds: Annotated[str, typer.Option(help="Numbers and ranges, as in 0-7,99.")] = "0-7",
    out: Annotated[Path, typer.Option(help="A .png file.")] = Path("neighbours.png"),
    count: Annotated[int, typer.Option(min=1, max=64, help="Neighbours of each.")] = 5,
    truncation: Truncation = 1.0,
    data: Data = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    as_json: AsJson = False,
) -> None:
    """Show the training pictures nearest to samples: are they new, or copies?"""
    from fastgan_ray.data.source import open_source
    from fastgan_ray.latent import neighbours as near
    from fastgan_ray.latent.sample import parse_seeds
    from fastgan_ray.latent.sample import sample as draw
    from fastgan_ray.metrics.extractors import load_extractor

    numbers = parse_seeds(seeds)
    _require_png(out)
    generator, model, stored = _load(checkpoint)
    config = near.settings(model, stored, overrides(data, assign, embedded))
    track = track_on(progress_console)
    source = open_source(config.data.model_copy(update={"limit": None}), track=track)
    extractor = load_extractor(config.eval.extractor, _device(generator))
    samples = draw(generator, model.nz, numbers, truncation, track=track)
    found = near.nearest_pictures(samples, source, config, extractor, count, track)
    near.save_neighbours(samples, found, source, config, out)
    rows = near.rows(found, numbers, source)
    if as_json:
        _print_json({"too_near_below": found.too_near, "samples": rows})
        return
    for row in rows:
        nearest = ", ".join(f"{n['picture']} {n['distance']:.2f}" for n in row["neighbours"][:3])
        _say(f"seed {row['seed']}: {nearest}{'  TOO NEAR' if row['too_near'] else ''}")
    _say(
        "1 is the mean distance of a training picture to its nearest other one; below "
        f"{found.too_near:.2f} (5 % of the training pictures) a sample is too near to be new."
    )
    _say(f"samples and their neighbours in {out}")


def export(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="A new file, or for --to folder a new folder.")],
    to: Annotated[
        Literal["folder", "onnx", "pt2", "official"],
        typer.Option(
            help="folder: safetensors and JSON; onnx: needs the extra `export`; pt2: torch.export; "
            "official: the published code's .pth."
        ),
    ] = "folder",
    as_json: AsJson = False,
) -> None:
    """Write the generator in another format, and check that it still draws the same."""
    from fastgan_ray.latent.export import export as write

    if out.exists():
        raise UserError(f"--out: {out} is there already; choose another name")
    _require_writable(out)
    difference = write(checkpoint, to, out)
    if as_json:
        _print_json({"out": str(out), "form": to, "largest_difference": difference})
    else:
        _say(f"{out}: read back, its pixels differ by {difference:.1e} at most (of -1 to 1)")


def _load(checkpoint: Path) -> tuple[nn.Module, ModelConfig, RunConfig | None]:
    from fastgan_ray.latent.load import load_model
    from fastgan_ray.train.device import choose_device

    generator, model, config = load_model(checkpoint)
    return generator.to(choose_device("auto")), model, config


def _device(generator: nn.Module) -> torch.device:
    return next(generator.parameters()).device


def _require_png(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"--out: must be a .png file (got {out})")
    _require_writable(out)


def _require_folder(out: Path) -> None:
    _require_writable(out / "file")


def _require_writable(out: Path) -> None:
    """UserError unless a file can be made at `out`; its folder is made, the file is not."""
    probe = out.with_name(f".{out.name}.writable")
    try:
        if out.is_dir():
            raise IsADirectoryError("it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out: {out} cannot be written ({error})") from error


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _print_json(value: dict[str, Any] | Sequence[Any]) -> None:
    typer.echo(json.dumps(value, indent=1))
