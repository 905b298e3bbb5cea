"""The list of commands (COMMANDS); run a command, print its errors, set its exit status.

Commands only read their input, call other modules and print the results. They import slow modules
inside their functions, so that `--help` and `check` answer quickly.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fastgan_ray import __version__
from fastgan_ray.cli import generator, video
from fastgan_ray.cli.ablate import ablate
from fastgan_ray.cli.check import check
from fastgan_ray.cli.clean import clean
from fastgan_ray.cli.compare import compare
from fastgan_ray.cli.confirm import confirm
from fastgan_ray.cli.data import data
from fastgan_ray.cli.evaluate import evaluate
from fastgan_ray.cli.learn import learn
from fastgan_ray.cli.other_options import Command
from fastgan_ray.cli.presets import presets
from fastgan_ray.cli.report import report
from fastgan_ray.cli.schema import schema
from fastgan_ray.cli.status import status, stop
from fastgan_ray.cli.summary import summary
from fastgan_ray.cli.train import train
from fastgan_ray.cli.tune import tune
from fastgan_ray.cli.vote import vote
from fastgan_ray.cli.wandb_report import wandb_report
from fastgan_ray.cli.weights import weights_app
from fastgan_ray.errors import (
    DivergedError,
    FailedRunError,
    InterruptedRunError,
    UserError,
    full_disk,
)
from fastgan_ray.output import output_may_close

LESS_MEMORY = (
    "Lower the resolution, the widths (model.ngf, model.ndf), the batch sizes or eval.num_fakes, "
    "ask for fewer pictures at once, or close other programs."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find the best FastGAN for your pictures: search, ablate, train, evaluate and sample.",
)
# The panels of `--help`, and the commands in each panel, in order.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Search and ablation": {
        "presets": presets,
        "check": check,
        "tune": tune,
        "confirm": confirm,
        "ablate": ablate,
        "learn": learn,
        "status": status,
        "stop": stop,
        "schema": schema,
    },
    "Results": {
        "report": report,
        "compare": compare,
        "vote": vote,
        "wandb-report": wandb_report,
        "clean": clean,
    },
    "Generators": {
        "train": train,
        "summary": summary,
        "evaluate": evaluate,
        "sample": generator.sample,
        "interpolate": video.interpolate,
        "evolve": video.evolve,
        "mix": generator.mix,
        "invert": generator.invert,
        "neighbours": generator.neighbours,
        "export": generator.export,
    },
    "Data and weights": {"data": data},
}
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(command)
app.add_typer(weights_app, name="weights", rich_help_panel="Data and weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Add the options that do not belong to a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in `arguments` (by default, `sys.argv`); print errors without a traceback.

    The exit status is 2 for a UserError. It is 1 for a diverged training, a failed run or an
    out-of-memory error. For an interrupted run, it is the `status` of the InterruptedRunError.

    The command continues even if the program that reads its output has ended (e.g. in a pipe).
    """
    words = [str(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    with output_may_close():
        _run(words)


def _run(words: list[str]) -> None:
    try:
        app(args=words, prog_name="fastgan-ray", obj=words)
    except UserError as error:
        _print_error("error: ", str(error))
        sys.exit(2)
    except InterruptedRunError as error:
        _print_error("stopped: ", f"{error}. Continue with:\n{_resume_command(words)}")
        sys.exit(error.status)
    except DivergedError as error:
        _print_error("diverged: ", str(error))
        sys.exit(1)
    except FailedRunError as error:
        _print_error("failed: ", str(error))
        sys.exit(1)
    except Exception as error:
        if reason := full_disk(error):
            _print_error(
                "error: ",
                f"{reason}. Free some disk space and try again; what was written before is intact.",
            )
            sys.exit(2)
        if not _is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        _print_error("error: ", f"out of memory ({reason}). {LESS_MEMORY}")
        sys.exit(1)


def _is_out_of_memory(error: Exception) -> bool:
    from fastgan_ray.train.failures import is_out_of_memory

    return is_out_of_memory(error)


def _print_error(label: str, message: str) -> None:
    text = Text.assemble((label, "bold red"), message)
    Console(stderr=True).print(text, soft_wrap=True)


def _resume_command(words: list[str]) -> str:
    """Return the command line that resumes a run; `words` are the arguments that started it."""
    if "--from" in words:  # leave it out: the search has stored the earlier search's trials
        at = words.index("--from")
        words = [*words[:at], *words[at + 2 :]]
    words = [word for word in words if word != "--overwrite" and not word.startswith("--from=")]
    has_option = any(word in words[:1] for word in ("tune", "ablate", "train"))
    resume = ["--resume"] if has_option and "--resume" not in words else []
    return shlex.join(["fastgan-ray", *words, *resume])
