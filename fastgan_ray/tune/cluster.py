"""Ray itself: its settings, and starting or joining it without a word on the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from fastgan_ray.errors import UserError

# What a killed driver loses is what Ray has not written down: it writes every second. A trial's
# last row has no metric where it diverged. Paths in a configuration stay relative to nothing.
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
OBJECT_STORE_BYTES = 128 * 2**20  # trials exchange numbers, not arrays


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[list[dict[str, float]]]:
    """Ray at `address` (None = RAY_ADDRESS, or else this machine); yields each node's resources.

    A Ray that runs in this process already is used and left running.
    """
    os.environ.update(SETTINGS)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    ours = not ray.is_initialized()
    if ours:
        _start(address)
    try:
        yield node_resources()
    finally:
        if ours:
            ray.shutdown()


@contextlib.contextmanager
def silenced(log: Path) -> Iterator[None]:
    """Send what Ray prints and logs in this process, as of trials that die, to a file."""
    logger = logging.getLogger("ray")
    before = logger.handlers, logger.propagate
    with log.open("a") as file, contextlib.redirect_stdout(file):
        logger.handlers, logger.propagate = [logging.StreamHandler(file)], False
        try:
            yield
        finally:
            logger.handlers, logger.propagate = before


def node_resources() -> list[dict[str, float]]:
    """What each living machine has: {"CPU": 8.0, "GPU": 1.0, ...}."""
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    return [dict(node["Resources"]) for node in list_nodes() if node["Alive"]]


def _start(address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        # Whoever reaches Ray's ports runs code as this user, so Ray asks for a token by default.
        # One of this process's own, unlike Ray's, leaves no file in the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        return
    try:
        ray.init(address, runtime_env={"env_vars": SETTINGS}, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--address {address}: Ray does not answer there ({error}). Start it with "
            "`ray start --head`, or leave the address and RAY_ADDRESS out to use this machine."
        ) from error
