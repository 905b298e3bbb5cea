"""Weights & Biases, from the driver: one run a trial, complete on disk however the trial ends.

Logging inside a trial would lose the runs of trials that the scheduler stops: they get less than a
second to finish. The driver outlives them.
"""

from __future__ import annotations

import math
import netrc
import numbers
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS

from fastgan_ray.metrics.names import value_of
from fastgan_ray.tune.progress import BAD_ENDS, cell_of, reason_of, run_of, state_word

if TYPE_CHECKING:
    import wandb

Mode = Literal["auto", "online", "offline", "disabled"]
# Nothing of the machine or the source goes to W&B, no call waits longer than these seconds, and
# what was logged reaches the disk within two seconds, should the driver be killed.
SETTINGS: dict[str, Any] = {
    "console": "off",
    "quiet": True,
    "silent": True,
    "init_timeout": 10.0,
    "login_timeout": 10.0,
    "finish_timeout": 15.0,
    "finish_timeout_raises": True,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 2.0,
}
# Numbers of a result that say nothing about the training.
NOT_OURS = {*AUTO_RESULT_KEYS, "done", "iterations_since_restore"}
# Files that a result names: samples, and those most like a training picture beside it.
PICTURES = ("grid", "pairs")
SUMMARY = ("reason", "kimg", "seconds", "images_per_second", "params_g", "params_d")


class WandbLog(Callback):
    """Logs each trial's configuration, curves, sample grids and end to W&B.

    Runs lie in `folder`/wandb. "auto" is online if W&B would find a login, else offline. W&B never
    stops a search: when it fails online, the log goes on offline; when that fails, it ends. Each is
    told in one line on stderr.
    """

    def __init__(self, folder: Path, project: str, group: str, mode: Mode, metric: str) -> None:
        self.folder = folder
        self.project = project
        self.group = group
        self.metric = metric
        self.mode = choose_mode(mode, os.environ)
        self._runs: dict[str, wandb.Run] = {}
        self._tried_online: set[str] = set()
        self._known: dict[str, dict[str, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Runs are of this process. A restored search opens them again under the same ids.
        return {**self.__dict__, "_runs": {}, "_tried_online": set()}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Open the trial's run."""
        self._guarded(self._open, trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        """Log an evaluation."""
        self._known[trial.trial_id] = {**self._known.get(trial.trial_id, {}), **result}
        self._guarded(self._log, trial, result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Finish the run of a trial that ended or was stopped."""
        self._guarded(self._finish, trial, "TERMINATED")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Finish the run of a trial whose process failed."""
        self._guarded(self._finish, trial, "ERROR")

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Finish what is still open: trials that an interrupt cut off."""
        for trial in trials:
            self._guarded(self._finish, trial, trial.status)

    def _open(self, trial: Trial) -> wandb.Run:
        if trial.trial_id in self._runs:
            return self._runs[trial.trial_id]
        if self.mode == "online" and not logged_in(os.environ):
            raise RuntimeError("not logged in; `wandb login` does that")
        import wandb

        # W&B keeps the id of a run that it failed to open, and refuses it from then on.
        suffix = "-offline" if trial.trial_id in self._tried_online else ""
        identifier = f"{search_id(self.folder / 'wandb')}-{trial.trial_id}{suffix}"
        if self.mode == "online":
            self._tried_online.add(trial.trial_id)
        known, cell = wandb.Settings.model_fields, cell_of(trial)
        wandb.setup(settings=wandb.Settings(silent=True))
        run = wandb.init(
            project=self.project,
            group=self.group,
            id=identifier,
            name=" ".join([trial.trial_id, *map(str, cell.values())]),
            dir=str(self.folder),
            config={**run_of(trial), **({"cell": cell} if cell else {})},
            mode="online" if self.mode == "online" else "offline",
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**{key: SETTINGS[key] for key in SETTINGS if key in known}),
        )
        run.define_metric("kimg", hidden=True)
        run.define_metric("*", step_metric="kimg")
        self._runs[trial.trial_id] = run
        return run

    def _log(self, trial: Trial, result: Mapping[str, Any]) -> None:
        run, row, images_shown = self._open(trial), log_row(result), round(1000 * result["kimg"])
        if images_shown <= run.step:
            return  # a resumed trial repeats its rows
        for key in PICTURES:
            picture = result.get(key)
            if picture and (path := Path(trial.path or "", picture)).is_file():
                import wandb

                row[key] = wandb.Image(str(path), caption=caption(result, self.metric))
        run.log(row, step=images_shown)

    def _finish(self, trial: Trial, status: str) -> None:
        stored = trial.last_result if trial.has_reported_at_least_once else {}
        known = {**stored, **self._known.pop(trial.trial_id, {})}
        run = self._runs.pop(trial.trial_id, None)
        if run is None:
            return
        known["reason"] = reason_of(trial, known)
        state = state_word(status, known, run_of(trial)["train"]["total_kimg"])
        run.summary.update(summary(state, known, self.metric))
        run.finish(exit_code=1 if state in BAD_ENDS else 0)

    def _guarded(self, call: Callable[..., object], *arguments: object) -> None:
        """The one place where W&B's failures end: it may raise nearly anything."""
        if self.mode == "disabled":
            return
        try:
            call(*arguments)
        except Exception as error:
            online = self.mode == "online"
            self.mode = "offline" if online else "disabled"
            then = "logging offline from here" if online else "logging no more"
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            print(f"W&B failed, {then}; the search goes on. {reason}", file=sys.stderr)
            self._guarded(call, *arguments)


def choose_mode(mode: Mode, environ: Mapping[str, str]) -> Literal["online", "offline", "disabled"]:
    """What "auto" means here: WANDB_MODE if set, else online with a login and offline without."""
    if mode != "auto":
        return mode
    if environ.get("WANDB_MODE") in ("online", "offline", "disabled"):
        return cast(Literal["online", "offline", "disabled"], environ["WANDB_MODE"])
    return "online" if logged_in(environ) else "offline"


def logged_in(environ: Mapping[str, str]) -> bool:
    """Whether W&B would find a key: in the environment or, for its server, in netrc."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    home = Path(environ.get("HOME", Path.home()))
    path = Path(environ.get("NETRC", home / ".netrc"))
    try:
        return netrc.netrc(path).authenticators(server) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def log_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result's finite numbers, without those that Ray adds, as plain int and float."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        if key in NOT_OURS or isinstance(value, bool) or not isinstance(value, numbers.Real):
            continue
        if math.isfinite(value):
            row[key] = int(value) if isinstance(value, numbers.Integral) else float(value)
    return row


def caption(result: Mapping[str, Any], metric: str) -> str:
    """What stands under a sample grid: position and metric."""
    value = value_of(result, metric)
    return f"{result['kimg']:g} kimg" + ("" if value is None else f", {metric} {value:.4g}")


def summary(state: str, known: Mapping[str, Any], metric: str) -> dict[str, float | int | str]:
    """How a trial ended, from the last value of everything that it reported."""
    return {"state": state, **{key: known[key] for key in (metric, *SUMMARY) if key in known}}


def search_id(folder: Path) -> str:
    """What sets a search's runs apart in their W&B project; made once and kept in `folder`."""
    path = folder / "search_id"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()


def sync_line(folder: Path) -> str | None:
    """The shell command that uploads what was logged offline in `folder`; None if nothing was."""
    if not any(folder.glob("wandb/offline-run-*")):
        return None
    program = "wandb" if shutil.which("wandb") else f"{shlex.quote(sys.executable)} -m wandb"
    return f"{program} sync {shlex.quote(str(folder))}/wandb/offline-run-*"
