"""The command line: every command by name, and errors as sentences.

A command's handler loads, builds, calls and prints; the work is done elsewhere. Handlers import
heavy modules themselves, so that `--help` and `check` answer at once.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence

import typer
from rich.console import Console
from rich.text import Text

from fastgan_ray.cli import generator, weights
from fastgan_ray.cli.ablate import ablate
from fastgan_ray.cli.check import check, data_sets
from fastgan_ray.cli.clean import clean
from fastgan_ray.cli.confirm import confirm
from fastgan_ray.cli.evaluate import evaluate
from fastgan_ray.cli.report import compare, report
from fastgan_ray.cli.schema import schema
from fastgan_ray.cli.train import train
from fastgan_ray.cli.tune import tune
from fastgan_ray.cli.wandb import wandb_report
from fastgan_ray.errors import DivergedError, InterruptedRunError, UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find the FastGAN that is best for your pictures: search, ablate, train, evaluate, "
    "sample.",
)
# In the order of `--help`.
COMMANDS: dict[str, Callable[..., None]] = {
    "tune": tune,
    "confirm": confirm,
    "ablate": ablate,
    "train": train,
    "evaluate": evaluate,
    "check": check,
    "schema": schema,
    "data": data_sets,
    "report": report,
    "compare": compare,
    "sample": generator.sample,
    "interpolate": generator.interpolate,
    "mix": generator.mix,
    "invert": generator.invert,
    "neighbours": generator.neighbours,
    "export": generator.export,
    "wandb-report": wandb_report,
    "clean": clean,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(weights.weights_app, name="weights")


def _complain(label: str, message: str) -> None:
    text = Text.assemble((label, "bold red"), message)
    Console(stderr=True).print(text, soft_wrap=True)


def _again(given: list[str]) -> str:
    """The command that goes on with what `given` began."""
    if "--from" in given:  # what is resumed has its start already
        at = given.index("--from")
        given = [*given[:at], *given[at + 2 :]]
    more = [] if "--resume" in given else ["--resume"]
    return shlex.join(["fastgan-ray", *given, *more])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a user's error is one message and exit status 2, never a traceback."""
    try:
        app(args=arguments, prog_name="fastgan-ray")
    except UserError as error:
        _complain("error: ", str(error))
        sys.exit(2)
    except InterruptedRunError as error:
        given = sys.argv[1:] if arguments is None else arguments
        _complain("stopped: ", f"{error}. To go on:\n{_again([str(one) for one in given])}")
        sys.exit(error.status)
    except DivergedError as error:
        _complain("diverged: ", str(error))
        sys.exit(1)
