"""The commands that use a trained generator: sample, mix, invert, neighbours, export.

The commands that write videos are in `video`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.seeds import parse_seeds
from fastgan_ray.cli.terminal import print_json, print_line, progress
from fastgan_ray.config.paths import require_writable, require_writable_folder
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.metrics.memorisation import Neighbours
    from fastgan_ray.train.find_checkpoint import Which


Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Checkpoint, run folder, exported folder or published .pth file.",
    ),
]
Truncation = Annotated[
    float,
    typer.Option(
        min=0,
        max=2,
        help="Factor for the latents. Below 1, pictures vary less and look more average.",
    ),
]
Seeds = Annotated[str, typer.Option(help="Seeds of the pictures, e.g. 0-35,99.")]
MAX_GRID_PIXELS = 2**26  # the number of pixels of 32 x 32 pictures of 256 px
PngFile = Annotated[Path, typer.Option(help="Picture file to write (.png).")]


def sample(
    context: typer.Context,
    checkpoint: Checkpoint,
    out: Annotated[
        Path,
        typer.Option(
            help="A .png file for a grid of all pictures, or a folder for one file per picture."
        ),
    ] = Path("samples.png"),
    seeds: Seeds = "0-35",
    truncation: Truncation = 1.0,
    which: opt.Which = "best",
) -> None:
    """Generate a picture for each seed. The same seed always gives the same picture."""
    from fastgan_ray.data.grid import save_grid, save_image
    from fastgan_ray.latent.sample import generate, latents
    from fastgan_ray.latent.sample import sample as draw

    numbers = parse_seeds(seeds)
    if out.suffix.lower() not in ("", ".png"):
        raise UserError(f"--out: must be a .png file or a folder (got {out})")
    _require_png(out) if out.suffix else require_writable_folder(out)
    generator, config = load_generator(context, checkpoint, which, truncation)
    nz = config.model.nz
    if out.suffix:
        require_small_grid(len(numbers), config, "give fewer --seeds, or give a folder as --out")
        save_grid(draw(generator, nz, numbers, truncation, track=progress()), out)
    else:
        batches = generate(generator, latents(numbers, nz, truncation), track=progress())
        pictures = (picture for batch in batches for picture in batch)
        for seed, picture in zip(numbers, pictures, strict=True):
            save_image(picture, out / f"seed{seed:06d}.png")
    print_line(f"wrote {counted(len(numbers), 'picture')} to {out}")


def mix(
    context: typer.Context,
    checkpoint: Checkpoint,
    rows: Annotated[str, typer.Option(help="A seed for the layout of each row.")] = "0-5",
    columns: Annotated[str, typer.Option(help="A seed for the style of each column.")] = "6-11",
    out: PngFile = Path("mix.png"),
    truncation: Truncation = 1.0,
    which: opt.Which = "best",
) -> None:
    """Draw a grid of pictures. A picture has the layout of its row and the style of its column."""
    from fastgan_ray.data.grid import save_grid
    from fastgan_ray.latent.mix import mix_grid, require_mixing

    row_seeds, column_seeds = parse_seeds(rows, "--rows"), parse_seeds(columns, "--columns")
    _require_png(out)
    generator, config = load_generator(context, checkpoint, which, truncation)
    tile_count = (1 + len(row_seeds)) * (1 + len(column_seeds))
    require_small_grid(tile_count, config, "give fewer --rows and --columns")
    mixing = require_mixing(generator)
    tiles = mix_grid(mixing, config.model.nz, row_seeds, column_seeds, truncation, progress())
    save_grid(tiles, out, columns=1 + len(column_seeds))
    size = f"{counted(len(row_seeds), 'row')} of {counted(len(column_seeds), 'mixed picture')}"
    print_line(f"wrote {size} to {out}")


def invert(
    context: typer.Context,
    checkpoint: Checkpoint,
    picture: Annotated[
        Path, typer.Argument(metavar="PICTURE", help="A picture, or a folder of pictures.")
    ],
    steps: Annotated[
        int, typer.Option(min=1, max=100_000, help="Optimisation steps for each picture.")
    ] = 300,
    out: Annotated[
        Path, typer.Option(help="Folder for the latents and a grid of the results.")
    ] = Path("inverted"),
    which: opt.Which = "best",
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded",
            help="Compare pictures with the feature network inside the package instead of LPIPS. "
            "This needs no download.",
        ),
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """For each given picture, find the latent that generates the most similar picture."""
    from fastgan_ray.latent.invert import invert_pictures, save_inversions
    from fastgan_ray.latent.pictures import read_pictures
    from fastgan_ray.train.perceptual import load_distance

    require_writable_folder(out)
    generator, config = load_generator(context, checkpoint, which)
    pictures = read_pictures(picture, config.data, config.model.size)
    require_small_grid(2 * len(pictures), config, "give fewer pictures")
    name = "efficientnet_lite0" if embedded else "lpips_vgg"
    distance = load_distance(name, _device(generator), config.data.background)
    inversions = {}
    for name, inversion in invert_pictures(
        generator, config.model.nz, pictures, distance, steps, progress()
    ):
        inversions[name] = inversion
        save_inversions(pictures, inversions, out)  # nothing is lost if the next one is interrupted
        if not as_json:
            print_line(
                f"{name}: perceptual distance {inversion.distance:.3f} ({inversion.start:.3f} "
                f"before the first step), mean squared error {inversion.mse:.3f}"
            )
    if as_json:
        keys = ("start", "distance", "mse")
        print_json({name: {k: getattr(i, k) for k in keys} for name, i in inversions.items()})
    else:
        print_line(
            f"wrote latents.safetensors and grid.png to {out}; the grid shows each picture next to "
            "its reproduction"
        )


def neighbours(
    context: typer.Context,
    checkpoint: Checkpoint,
    seeds: Seeds = "0-7",
    out: PngFile = Path("neighbours.png"),
    count: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Number of nearest training pictures to show for each sample."
        ),
    ] = 5,
    truncation: Truncation = 1.0,
    which: opt.Which = "best",
    data: opt.Data = None,
    assignments: opt.Assignments = None,
    by: Annotated[
        Literal["features", "lpips"],
        typer.Option(
            help="How to compare pictures. features: by the features that the run's metric uses. "
            "lpips: by LPIPS on VGG-16, which compares all details. With --embedded, "
            "features and lpips use the feature network that is installed with fastgan-ray."
        ),
    ] = "features",
    embedded: opt.Embedded = False,
    as_json: opt.AsJson = False,
) -> None:
    """Show the training pictures nearest to each generated picture, to find copies."""
    from fastgan_ray.data.sets import open_pool
    from fastgan_ray.latent import neighbours as near
    from fastgan_ray.latent.load import data_config
    from fastgan_ray.latent.sample import sample as draw

    numbers = parse_seeds(seeds)
    _require_png(out)
    generator, stored = load_generator(context, checkpoint, which, truncation)
    tile_count = len(numbers) * (1 + count)
    require_small_grid(tile_count, stored, "give fewer --seeds or a lower --count")
    fields = opt.overrides(data, assignments, embedded)
    config = data_config(str(checkpoint), stored, fields)
    track = progress()
    source = open_pool(config, track)
    find = _comparison(by, config, _device(generator), embedded)
    samples = draw(generator, config.model.nz, numbers, truncation, track=track)
    nearest = find(samples, source, config, count=count, track=track)
    near.save_neighbours(samples, nearest, source, config, out)
    rows = near.neighbour_rows(nearest, numbers, source)
    if as_json:
        print_json({"too_near_below": nearest.too_near, "samples": rows})
        return
    for row in rows:
        names = ", ".join(f"{n['picture']} {n['distance']:.2f}" for n in row["neighbours"])
        print_line(f"seed {row['seed']}: {names}{'  TOO NEAR' if row['too_near'] else ''}")
    print_line(
        "The unit of the distances is the mean distance from a training picture to the nearest "
        f"other training picture. A sample with a distance below {nearest.too_near:.2f} is "
        "probably a copy, because only 5 % of the training pictures are so near to another "
        "training picture."
    )
    print_line(f"wrote the samples and their nearest training pictures to {out}")


def _comparison(
    by: str, config: RunConfig, device: torch.device, embedded: bool
) -> Callable[..., Neighbours]:
    """Load a feature network, and return a function that finds the nearest training pictures.

    If `by` is "features", the network is `eval.extractor` of `config`. If `by` is "lpips", it is
    LPIPS on VGG-16, or the network inside the package if `embedded` is True.
    """
    from fastgan_ray.latent import neighbours as near
    from fastgan_ray.latent import perceptual_neighbours as perceptual
    from fastgan_ray.metrics.extractors import load_extractor
    from fastgan_ray.train.perceptual import load_embedding

    background = config.data.background
    if by == "lpips":
        name = "efficientnet_lite0" if embedded else "lpips_vgg"
        embed = load_embedding(name, device, background)
        return partial(perceptual.nearest_pictures, embed=embed)
    extractor = load_extractor(config.eval.extractor, device, background, config.eval.picture_px)
    return partial(near.nearest_pictures, extractor=extractor)


def export(
    checkpoint: Checkpoint,
    out: Annotated[
        Path, typer.Option(help="File to create; with --to folder or hub, the folder to create.")
    ],
    to: Annotated[
        Literal["folder", "hub", "onnx", "pt2", "published"],
        typer.Option(
            help="folder: safetensors and JSON files. hub: the same files for the Hugging Face Hub "
            "with a model card. onnx: an ONNX file (needs pip install 'fastgan-ray\\[export]'). "
            "pt2: a torch.export file. published: the .pth format of the published FastGAN."
        ),
    ] = "folder",
    which: opt.Which = "best",
    as_json: opt.AsJson = False,
) -> None:
    """Write a generator in another format, and check that the export draws the same pictures."""
    from fastgan_ray.latent.export import export as export_generator

    if out.exists():
        raise UserError(f"--out: {out} already exists; choose another name")
    require_writable(out)
    difference = export_generator(checkpoint, to, out, which)
    if as_json:
        print_json({"out": str(out), "format": to, "largest_difference": difference})
    else:
        print_line(
            f"{out}: written and checked. It draws the same pictures as the checkpoint. The "
            f"largest difference between pixels (from -1 to 1) is {difference:.1e}."
        )
        if to == "hub":
            print_line(f"Before you upload, choose a licence at the top of {out / 'README.md'}.")


def load_generator(
    context: typer.Context, checkpoint: Path, which: Which, truncation: float = 1.0
) -> tuple[nn.Module, RunConfig]:
    """Load a generator and the configuration of its training.

    The number of CPU threads is set as in the training, until the command ends. Raise UserError if
    the generator does not support `truncation`.
    """
    from fastgan_ray.latent.load import load_model
    from fastgan_ray.latent.sample import require_truncation
    from fastgan_ray.train.device import choose_device
    from fastgan_ray.train.threads import cpu_threads

    generator, config = load_model(checkpoint, which)
    require_truncation(generator, truncation)
    context.with_resource(cpu_threads(config.resources))
    return generator.to(choose_device("auto")), config


def _device(generator: nn.Module) -> torch.device:
    return next(generator.parameters()).device


def require_small_grid(count: int, config: RunConfig, advice: str) -> None:
    """Raise UserError if `count` pictures are too many for one grid; `advice` says what to do."""
    height, width = config.model.size
    if count * height * width > MAX_GRID_PIXELS:
        raise UserError(
            f"{counted(count, 'picture')} of {width} x {height} px are too many for one grid (at "
            f"most {MAX_GRID_PIXELS // (height * width)}); {advice}"
        )


def _require_png(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise UserError(f"--out: must be a .png file (got {out})")
    require_writable(out)
