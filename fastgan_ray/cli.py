"""Every command. A handler loads, builds, calls and prints; the work is done elsewhere.

Heavy modules are imported by the handlers, so that `--help` and `check` answer at once.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.cli_check import check_app
from fastgan_ray.cli_clean import clean_app
from fastgan_ray.cli_latent import latent_app, progress_console
from fastgan_ray.cli_options import (
    RUNS,
    Address,
    AsJson,
    Assignments,
    Data,
    DiskGb,
    DryRun,
    Embedded,
    MaxConcurrent,
    Name,
    Resume,
    Runs,
    Wandb,
    overrides,
    place_of,
)
from fastgan_ray.cli_report import report_app
from fastgan_ray.cli_wandb import wandb_app
from fastgan_ray.cli_weights import weights_app
from fastgan_ray.errors import DivergedError, InterruptedRunError, UserError
from fastgan_ray.progress import track_on

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find the FastGAN that is best for your pictures: search, ablate, train, evaluate, "
    "sample.",
)
app.add_typer(check_app)
app.add_typer(weights_app, name="weights")
app.add_typer(report_app)
app.add_typer(latent_app)
app.add_typer(wandb_app)
app.add_typer(clean_app)
console = Console()
STOPPING = "Stopping once this step is saved; the same signal again ends it at once."


@app.command()
def tune(
    config: Annotated[Path, typer.Option(help="Search file (YAML), as in search_spaces/.")],
    data: Data = None,
    name: Name = None,
    runs: Runs = RUNS,
    resume: Resume = False,
    max_concurrent: MaxConcurrent = None,
    disk_gb: DiskGb = None,
    wandb: Wandb = "auto",
    address: Address = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder of another search, of other pictures or a smaller size: its best points "
            "are tried first, and its trials guide the sampler at the start.",
        ),
    ] = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    dry_run: DryRun = False,
) -> None:
    """Search for the best configuration on your pictures, in parallel, on Ray."""
    from fastgan_ray.plan import print_facts, search_facts
    from fastgan_ray.search.spec import load_search

    spec = load_search(config, overrides(data, assign, embedded))
    if dry_run:
        print_facts(search_facts(spec, track_on(progress_console)), console)
        return
    from fastgan_ray.tune.experiment import TuneOptions
    from fastgan_ray.tune.run import run_search

    options = TuneOptions(
        *place_of(runs),
        name,
        resume,
        max_concurrent,
        wandb,
        address,
        source=source,
        disk_gb=disk_gb,
    )
    run_search(spec, options)


@app.command()
def confirm(
    run: Annotated[Path, typer.Argument(help="Folder of a search that has ended, as runs/demo.")],
    top: Annotated[
        int | None, typer.Option(min=1, max=20, help="How many of the best trials; default: 2.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=100, help="Fresh seeds for each; default: 3.")
    ] = None,
    max_concurrent: MaxConcurrent = None,
    wandb: Wandb = "auto",
    address: Address = None,
) -> None:
    """Train a search's best trials and the published default anew: does the winner hold up?

    What has been trained already is kept: the command goes on with it, or adds trials and seeds.
    """
    from fastgan_ray.tune.experiment import TuneOptions
    from fastgan_ray.tune.run import confirm_run

    options = TuneOptions(max_concurrent=max_concurrent, wandb=wandb, address=address)
    confirm_run(run.expanduser().resolve(), top, seeds, options)


@app.command()
def ablate(
    config: Annotated[
        Path, typer.Option(help="Ablation file (YAML), as in search_spaces/ablation_*.yaml.")
    ],
    data: Data = None,
    seeds: Annotated[
        str | None, typer.Option(help="A count, or seeds and ranges as in 0-2,7; the file's else.")
    ] = None,
    name: Name = None,
    runs: Runs = RUNS,
    resume: Resume = False,
    max_concurrent: MaxConcurrent = None,
    disk_gb: DiskGb = None,
    wandb: Wandb = "auto",
    address: Address = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    dry_run: DryRun = False,
) -> None:
    """Train every arm with every seed beside a baseline, and say which is better."""
    from fastgan_ray.plan import ablation_facts, print_facts
    from fastgan_ray.search.ablation import load_ablation, parse_seeds

    chosen = parse_seeds(seeds) if seeds is not None else None
    spec = load_ablation(config, overrides(data, assign, embedded), chosen)
    if dry_run:
        print_facts(ablation_facts(spec, track_on(progress_console)), console)
        return
    from fastgan_ray.tune.ablate import run_ablation
    from fastgan_ray.tune.experiment import TuneOptions

    options = TuneOptions(
        *place_of(runs), name, resume, max_concurrent, wandb, address, disk_gb=disk_gb
    )
    run_ablation(spec, options)


@app.command()
def train(
    config: Annotated[
        Path | None, typer.Option(help="Run configuration (YAML), as in runs/x/best/config.yaml.")
    ] = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and grids.")] = Path(
        "runs/train"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT's checkpoint.")] = False,
    assign: Assignments = None,
    embedded: Embedded = False,
    dry_run: DryRun = False,
) -> None:
    """Train one generator; without --config the published FastGAN at 256 px."""
    from fastgan_ray.config.override import override
    from fastgan_ray.config.schema import RunConfig
    from fastgan_ray.config.yaml_io import dump_run_config, load_run_config

    run = load_run_config(config) if config else RunConfig()
    run = override(run, overrides(data, assign, embedded))
    if dry_run:
        typer.echo(dump_run_config(run))
        return
    from fastgan_ray.latent.load import find_checkpoint
    from fastgan_ray.metrics.names import metric_name
    from fastgan_ray.metrics.weights import require_weights
    from fastgan_ray.terminal import TerminalReporter
    from fastgan_ray.train.checkpoint import interrupted
    from fastgan_ray.train.interrupt import say_at_once, stopping
    from fastgan_ray.train.loop import train as train_alone
    from fastgan_ray.train.together import train_together

    require_weights(run)
    start = (interrupted(out) or find_checkpoint(out)) if resume else None
    if start is None:
        _make_new(out)
    train_by = train_together if run.resources.workers > 1 else train_alone
    with stopping(lambda stop: say_at_once(STOPPING)) as stop:
        reporter = TerminalReporter(out, run.train.total_kimg, metric_name(run.eval), console, stop)
        try:
            train_by(run, reporter, start, track=track_on(progress_console))
        except InterruptedRunError as error:
            raise stop.error(str(error)) from error


@app.command()
def evaluate(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Checkpoints, run folders or published .pth files.")
    ],
    data: Data = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    by: Annotated[
        str | None,
        typer.Option(help="Metric that ranks; default: that of their searches, else Frechet's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure generators against a data set, the best first; several only by one protocol."""
    from fastgan_ray.latent.measure import rank
    from fastgan_ray.metrics.names import with_error, without_errors
    from fastgan_ray.report.run_folder import searched_metric

    searched = {path: searched_metric(path) for path in checkpoints}
    track = track_on(progress_console)
    results = rank(searched, overrides(data, assign, embedded), by, track)
    if as_json:
        typer.echo(json.dumps(results, indent=1))
        return
    table = Table()
    table.add_column("metric", overflow="fold")
    for result in results:
        table.add_column(result["checkpoint"], justify="right", overflow="fold")
    for key in without_errors(results[0]["metrics"]):
        table.add_row(key, *(with_error(result["metrics"], key) for result in results))
    console.print(table)
    console.print("  ± is the standard error over generated and real pictures", highlight=False)
    if len(results) > 1:
        console.print(f"  the best first, by {results[0]['by']}", highlight=False)
    for key, value in results[0]["protocol"].items():
        console.print(f"  {key}: {value}", highlight=False)


def _make_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: already there; choose another --out, or go on with --resume")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}); choose another --out") from error


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
