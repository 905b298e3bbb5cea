"""Everything of W&B that is private, undocumented or bound to its version.

Each entry says why it is needed. `tests/test_compat.py` checks each against the W&B that is
installed, and fails with a sentence when W&B changes.
"""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import wandb

# Nothing of the machine or the source goes to W&B, no call waits longer than these seconds, and
# what was logged reaches the disk within two seconds, should the driver be killed. W&B calls the
# settings that begin with x_ experimental; no others do this.
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
# The names of runs' folders, by how they were started.
OFFLINE, ONLINE = "offline-run-*", "run-*"


def settings() -> wandb.Settings:
    """Return the settings of every run, without those that this W&B does not know."""
    import wandb

    known = wandb.Settings.model_fields
    return wandb.Settings(**{name: SETTINGS[name] for name in SETTINGS if name in known})


def run_folder(run: wandb.Run) -> Path:
    """Return the folder of a run's files, which `wandb sync` takes; `run.dir` is a folder in it."""
    return Path(run.dir).parent


def run_folders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders of the runs that were started with dir=`folder`, OFFLINE or ONLINE."""
    return sorted((folder / "wandb").glob(pattern))


def logged_in(environ: Mapping[str, str]) -> bool:
    """Return whether W&B would find a key: in the environment or, for its server, in netrc.

    `wandb.login` would ask for one, or ask the server.
    """
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    home = Path(environ.get("HOME", Path.home()))
    path = Path(environ.get("NETRC", home / ".netrc"))
    try:
        return netrc.netrc(path).authenticators(server) is not None
    except (OSError, netrc.NetrcParseError):
        return False
