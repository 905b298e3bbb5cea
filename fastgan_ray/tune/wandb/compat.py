"""Wrap the parts of W&B that are private, undocumented or different in other versions.

Comments and docstrings say why each part is needed. `tests/test_compat.py` checks each part with
the installed W&B. If W&B changes, a test fails and says what no longer works.
"""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import wandb

# Settings of every W&B run. They have three purposes. W&B gets no information about the machine or
# the source code. No call waits longer than these timeouts (in seconds). Logged data is on disk
# after two seconds, so a driver that is killed loses little. According to W&B, settings with the
# prefix x_ are experimental, but no other settings have these effects.
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
    """Return the settings of every W&B run: those in `SETTINGS` that the installed W&B knows."""
    import wandb

    known = wandb.Settings.model_fields
    return wandb.Settings(**{name: SETTINGS[name] for name in SETTINGS if name in known})


def run_folder(run: wandb.Run) -> Path:
    """Return the folder of a W&B run, as `wandb sync` needs it.

    `run.dir` is only a subfolder of this folder.
    """
    return Path(run.dir).parent


def run_folders(folder: Path, pattern: str) -> list[Path]:
    """Return the sorted folders of all W&B runs that were opened with the argument dir=`folder`.

    `pattern` is OFFLINE or ONLINE, and selects runs that started in this mode.
    """
    return sorted((folder / "wandb").glob(pattern))


def logged_in(environ: Mapping[str, str]) -> bool:
    """Return whether W&B would find an API key in the environment or in the netrc file.

    `wandb.login` is not used because it would ask the user for a key, or contact the server.
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
