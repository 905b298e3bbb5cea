"""Open and close W&B runs: project, mode, group, and what happens if W&B fails."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.rows import PREFIX
from fastgan_ray.train.signals import hangup_kept_from_children
from fastgan_ray.tune.wandb.compat import (
    OFFLINE,
    ONLINE,
    logged_in,
    run_folder,
    run_folders,
    settings,
)

if TYPE_CHECKING:
    import wandb

Mode = Literal["auto", "online", "offline", "off"]
ActualMode = Literal["online", "offline", "off"]
# {value of the environment variable WANDB_MODE: mode}. W&B has several names for a mode.
MODES: dict[str, ActualMode] = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "off",
    "off": "off",
}
PROJECT = "fastgan-ray"
MAX_TITLE = 128  # characters
UNSENT = "unsent"  # this file is in an online run's folder until the upload is complete


class SilentServerError(Exception):
    """The exception for a W&B run that was opened online, but could not be uploaded to its end."""


class Session:
    """The W&B runs of one search, in `folder`/wandb, with the same project and group.

    `choose_mode` explains the mode "auto". `confirms` says whether the runs belong to a
    confirmation. Failures of W&B never stop a search. If online logging fails, logging continues
    offline. If offline logging also fails, nothing more is logged. For each failure, one line is
    printed on stderr.
    """

    def __init__(
        self, folder: Path, project: str, group: str, mode: Mode, confirms: bool = False
    ) -> None:
        self.folder = folder
        self.project = project
        self.group = group
        self.mode = choose_mode(mode, os.environ)
        # W&B's job types of the trials' runs and of a confirmation's outcome.
        self.trial_job = "confirmation" if confirms else "trial"
        self.outcome_job = "confirmation-outcome" if confirms else None
        self._tried_online: set[str] = set()

    def attempt(self, call: Callable[..., object], *arguments: object) -> None:
        """Call `call(*arguments)`, which uses W&B; catch every exception.

        If the mode is "online" and the call fails, the mode becomes "offline", and `call` is called
        again. If it fails in the mode "offline", the mode becomes "off". In the mode "off", do
        nothing. If the server does not answer at the end of a run that was opened online, the mode
        becomes "offline", also if it already is because of another run.
        """
        if self.mode == "off":
            return
        try:
            call(*arguments)
        except SilentServerError as error:
            if self.mode == "online":
                text = "W&B failed, so the rest is logged offline; the training continues."
                print(f"{text} {error}", file=sys.stderr)
            self.mode = "offline"
        except Exception as error:
            online = self.mode == "online"
            self.mode = "offline" if online else "off"
            consequence = (
                "so the rest is logged offline" if online else "so nothing more is logged to W&B"
            )
            print(
                f"W&B failed, {consequence}; the training continues. {_reason(error)}",
                file=sys.stderr,
            )
            self.attempt(call, *arguments)

    def can_reopen(self, name: str) -> bool:
        """Return whether the W&B run `name` can be opened again with the same id.

        This is impossible if the session opened the run online, but stopped online logging after a
        failure.
        """
        return self.mode == "online" or name not in self._tried_online

    def open(
        self, name: str, job: str, title: str, config: Mapping[str, Any], tags: Sequence[str] = ()
    ) -> wandb.Run:
        """Open the W&B run `name`; continue it if it already exists.

        `job` is the run's job type in W&B, and `title` is its display name. All charts of the run
        have kimg as the x axis. Raises RuntimeError if the mode is online and there is no login.
        """
        if self.mode == "online" and not logged_in(os.environ):
            raise RuntimeError("not logged in; run `wandb login`")
        import wandb

        # If W&B fails to open a run, this process cannot use the same id again.
        suffix = "" if self.can_reopen(name) else "-offline"
        if self.mode == "online":
            self._tried_online.add(name)
        mode: Literal["online", "offline"] = "online" if self.mode == "online" else "offline"
        with environment("WANDB_MODE", mode):  # W&B fails if the variable has another value
            with hangup_kept_from_children():
                wandb.setup(settings=wandb.Settings(silent=True))  # starts W&B's process
            run = wandb.init(
                project=self.project,
                group=self.group,
                job_type=job,
                id=f"{search_id(self.folder / 'wandb')}-{name}{suffix}",
                name=shortened(title),
                tags=list(tags),
                dir=str(self.folder),
                config=dict(config),
                mode=mode,
                resume="allow",
                reinit="create_new",
                settings=settings(),
            )
        if not run.offline:
            (run_folder(run) / UNSENT).touch()
        run.define_metric("kimg", hidden=True)
        run.define_metric("*", step_metric="kimg")
        return run


def log_with_numbers(
    run: wandb.Run, row: Mapping[str, Any], step: int, numbers: Sequence[Mapping[str, Any]]
) -> None:
    """Log an evaluation, and the training numbers between the last logged step and the evaluation.

    `row` has the evaluation's numbers. `step` is the number of training images at the evaluation.
    `numbers` are the training numbers, such as losses, with their kimg. They are logged before the
    evaluation, because W&B rejects a step that is lower than the last logged step.
    """
    at_evaluation: Mapping[str, Any] = {}
    for entry in numbers:
        entry_step = round(1000 * entry["kimg"])
        values = {f"{PREFIX}{name}": value for name, value in entry.items() if name != "kimg"}
        if entry_step == step:
            at_evaluation = values
        elif run.step < entry_step < step:
            run.log({"kimg": entry["kimg"], **values}, step=entry_step)
    run.log({**row, **at_evaluation}, step=step)


def close(run: wandb.Run, exit_code: int = 0) -> None:
    """Finish a W&B run; raise SilentServerError if the upload takes longer than W&B's timeout.

    The run is on the disk in both cases.
    """
    folder = run_folder(run)
    try:
        run.finish(exit_code=exit_code)
    except Exception as error:
        if run.offline:
            raise
        raise SilentServerError(_reason(error)) from error
    (folder / UNSENT).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return the type and the text of an error in one line of at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def require_mode(mode: str) -> None:
    """Raise UserError if `mode` is not one of the values of `Mode`."""
    if mode not in get_args(Mode):
        raise UserError(f"wandb: must be one of {', '.join(get_args(Mode))} (got {mode!r})")


def choose_mode(mode: Mode, environ: Mapping[str, str]) -> ActualMode:
    """Return `mode`, or the mode that "auto" means.

    "auto" means the mode in the environment variable WANDB_MODE. If the variable is not set, "auto"
    means online if W&B finds a login, otherwise offline. If the variable has an unknown value, a
    message is printed on stderr, and the mode is offline.
    """
    if mode != "auto":
        return mode
    value = environ.get("WANDB_MODE", "").strip().lower()
    if value and value not in MODES:
        print(
            f"WANDB_MODE must be one of {', '.join(MODES)} (got {value!r}), so W&B logs offline",
            file=sys.stderr,
        )
        return "offline"
    return MODES[value] if value else "online" if logged_in(environ) else "offline"


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable of this process within this context."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def shortened(title: str) -> str:
    """Shorten the title of a W&B run to the length that W&B accepts."""
    return title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 3]}..."


def project_name(environ: Mapping[str, str]) -> str:
    """Return the W&B project of every run: WANDB_PROJECT if it is set, otherwise PROJECT."""
    return environ.get("WANDB_PROJECT") or PROJECT


def search_id(folder: Path) -> str:
    """Return a random id of the search; it makes the ids of the search's W&B runs unique.

    The first call creates the id and stores it in `folder`. Later calls return the stored id.
    """
    path = folder / "search_id"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, secrets.token_hex(4))
    return path.read_text()


def sync_line(folder: Path) -> str | None:
    """Return the command that uploads all offline and all incomplete online runs in `folder`.

    Returns None if there are no such W&B runs.
    """
    offline, online = run_folders(folder, OFFLINE), run_folders(folder, ONLINE)
    runs = [f"{shlex.quote(str(offline[0].parent))}/{OFFLINE}"] if offline else []
    runs += [shlex.quote(str(path)) for path in online if (path / UNSENT).is_file()]
    if not runs:
        return None
    program = "wandb" if shutil.which("wandb") else f"{shlex.quote(sys.executable)} -m wandb"
    return f"{program} sync {' '.join(runs)}"
