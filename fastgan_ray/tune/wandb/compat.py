"""Wrap the parts of W&B that are private, undocumented or depend on its version.

Each entry says why it is needed. `tests/test_compat.py` checks each entry with the installed W&B.
If W&B changes, the test fails and says what breaks.
"""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import wandb

# Settings of every W&B run, for three purposes: W&B gets no information about the machine or the
# source code; no call waits longer than these timeouts (in seconds); logged data is on disk after
# two seconds, so a killed driver loses little. W&B calls settings with the prefix x_ experimental,
# but has no others with these effects.
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
# Patterns of the names of run folders, for runs that started offline and online.
OFFLINE, ONLINE = "offline-run-*", "run-*"


def settings() -> wandb.Settings:
    """Return the settings of every run; settings unknown to the installed W&B are left out."""
    import wandb

    known = wandb.Settings.model_fields
    return wandb.Settings(**{name: SETTINGS[name] for name in SETTINGS if name in known})


def run_folder(run: wandb.Run) -> Path:
    """Return the folder of a run; `wandb sync` takes this folder as its argument.

    `run.dir` is a subfolder of this folder.
    """
    return Path(run.dir).parent


def run_folders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders of all runs that started with dir=`folder`, sorted.

    `pattern` is OFFLINE or ONLINE.
    """
    return sorted((folder / "wandb").glob(pattern))


def logged_in(environ: Mapping[str, str]) -> bool:
    """Return whether W&B would find an API key in the environment or in the netrc file.

    `wandb.login` cannot tell this: it would ask the user for a key, or contact the server.
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
