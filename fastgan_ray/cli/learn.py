"""The command `learn` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.terminal import print_line
from fastgan_ray.counting import counted


def learn(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of searches, e.g. runs/mine.")
    ],
    forget: Annotated[
        bool, typer.Option("--forget", help="Undo this: later searches do not learn from RUN.")
    ] = False,
) -> None:
    """Let later searches with the sampler curves learn from the trials of your own searches.

    The command copies the trials to the cache. Later searches with half to twice the resolution use
    them like the recorded trainings that come with the package. If a search gets more trials, run
    the command again.
    """
    from fastgan_ray.report.data.run_folder import read_run, read_search
    from fastgan_ray.search.knowledge.own import forget_search, learn_search

    for run in runs:
        folder = run.expanduser().resolve()
        if forget:
            forget_search(folder.name)
            print_line(f"Later searches no longer learn from {folder.name}.")
            continue
        spec, content = read_search(folder), read_run(folder)
        library = learn_search(folder.name, spec, content["trials"], content["pictures"])
        trials = counted(len(library.sets[0].trials), "trial")
        print_line(
            f"Later searches at about {library.resolution} px learn from {trials} of {folder.name}."
        )
