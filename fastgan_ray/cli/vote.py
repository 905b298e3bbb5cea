"""The command `vote`: its options, and what it prints about votes."""

from __future__ import annotations

import contextlib
import math
import shlex
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.terminal import print_line, print_table, progress
from fastgan_ray.errors import UserError


def vote(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of searches, ablations or trials."),
    ],
    add: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of votes that the voting page saved. The votes are added to the runs, and "
            "the result is printed. You can repeat this option."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=20,
            help="Number of best trials to show from each search. If this number is above 1, the "
            "page also shows the published default.",
            show_default="4 for a single search, else 1",
        ),
    ] = None,
    pairs: Annotated[int, typer.Option(min=5, max=500, help="Number of pairs to vote on.")] = 40,
    pictures: Annotated[
        int, typer.Option(help="Pictures on each side of a pair: 1, 4, 9, 16, 25 or 36.")
    ] = 9,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Seed for the random order of the pairs, and for the random sides and latents.",
        ),
    ] = 0,
    data: Annotated[
        str | None,
        typer.Option(
            help="Training pictures for the control pairs. A control pair shows real pictures and "
            "generated pictures.",
            show_default="the training pictures of the first run",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Compare generators by eye: write a voting page, and count your votes.

    The voting page is a single HTML file. It shows pairs of pictures without the names of the
    generators, and saves your votes to a file. Use --add to add this file to the runs. Then
    `report` and `compare` also show the result.
    """
    if add:
        with _named_files():
            _add(runs, add)
        return
    if math.isqrt(pictures) ** 2 != pictures or not 1 <= pictures <= 36:
        raise UserError(f"--pictures: must be 1, 4, 9, 16, 25 or 36 (got {pictures})")
    with _named_files():
        path = _write_page(runs, top, pairs, pictures, seed, data)
    print_line(f"wrote a page with {pairs} pairs to {path}")
    names = shlex.join(map(str, runs))
    print_line(f"The page saves your votes to a file. Add it: fastgan-ray vote {names} --add FILE")
    if show and not webbrowser.open(path.resolve().as_uri()):
        print_line("No browser was found. Open the page on a machine that has a browser.")


@contextlib.contextmanager
def _named_files() -> Iterator[None]:
    """Turn errors of the file system into a UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or 'a file'}: cannot be read or written ({error.strerror or error}). "
            "The page and the votes are stored in the folders of the runs."
        ) from error


def _write_page(
    runs: Sequence[Path], top: int | None, pairs: int, pictures: int, seed: int, data: str | None
) -> Path:
    from fastgan_ray.files import write_atomically
    from fastgan_ray.report.data import vote_page as planning
    from fastgan_ray.report.data.run_folder import read_run, training_data
    from fastgan_ray.report.data.vote_generators import vote_generators
    from fastgan_ray.report.page.vote import vote_page

    generators = vote_generators(runs, top)
    config = training_data(read_run(generators[0]["folder"]))
    if data is not None:
        config = config.model_copy(update={"path": data})
    plan = planning.plan_pairs(generators, pairs, pictures, seed)
    key = planning.make_key(generators, plan)
    page = vote_page(key, generators, plan, config, progress())
    planning.write_keys(key, generators)
    path = planning.key_path(generators[0]["folder"], key["page"]).with_suffix(".html")
    write_atomically(path, page)
    return path


def _add(runs: Sequence[Path], files: Sequence[Path]) -> None:
    from fastgan_ray.report.data.run_folder import run_folder
    from fastgan_ray.report.data.votes import add_votes, results_of_runs
    from fastgan_ray.report.tables.votes import EXPLANATION, sentences, votes_table

    folders = list(dict.fromkeys(run_folder(run.resolve()) for run in runs))
    add_votes(folders, files)
    for result in results_of_runs(folders):
        headings, rows = votes_table(result)
        print_table(headings, rows, right=range(1, len(headings)))
        for sentence in sentences(result):
            print_line(sentence)
    print_line(EXPLANATION)
