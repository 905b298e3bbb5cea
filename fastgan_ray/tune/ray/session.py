"""Start Ray on this machine or connect to a cluster, and write Ray's output to a log file."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.state import list_actors
from ray.util.state.exception import RayStateApiException

from fastgan_ray.augment.user_operations import setup_of_processes
from fastgan_ray.errors import UserError
from fastgan_ray.train.signals import hangup_kept_from_children
from fastgan_ray.tune.ray.compat import (
    AUTH_TOKEN,
    DASHBOARD,
    SETTINGS,
    TOKEN_LOADER,
    core_count,
    on_loopback,
    startable_nodes,
)
from fastgan_ray.tune.ray.gpus import describe_nodes, with_assumed_gpus

OBJECT_STORE_BYTES = 128 * 2**20  # small, because trials exchange numbers, not arrays


@contextlib.contextmanager
def connected(address: str | None, nested: bool = False) -> Iterator[list[dict[str, float]]]:
    """Connect to Ray at `address`; yield the resources of each machine.

    If `address` is None, the environment variable RAY_ADDRESS is used. If this variable is not set,
    Ray starts on this machine. If this process is already connected to Ray, the connection is used
    and stays open. A new connection to a cluster also yields the machines that the autoscaler can
    still start.

    `nested` is true if Ray Train runs the trials' workers. Ray Train asks Ray's dashboard which
    processes are alive. Without an answer, Ray Train never frees the resources of a stopped trial's
    workers. Raises UserError if Ray does not answer, or if `nested` is true and the dashboard does
    not answer.
    """
    os.environ.update(SETTINGS)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if ray.is_initialized():
        if nested:
            _require_dashboard()
        yield describe_nodes()
        return
    with on_loopback() if address == "local" else contextlib.nullcontext():
        _start(address, nested)
        try:
            if nested:
                _require_dashboard()
            nodes = describe_nodes()
            startable = startable_nodes() if address != "local" else []
            yield nodes + with_assumed_gpus(startable, nodes)
        finally:
            ray.shutdown()
            if address == "local":
                os.environ.pop(DASHBOARD, None)


def resources_of_this_machine(address: str | None) -> list[dict[str, float]] | None:
    """Return the cores and GPUs that Ray would have if it started on this machine.

    The list has one entry: this machine. Returns None if `connected(address)` would use a Ray
    cluster that has already started. This function does not start Ray, because a start takes ten
    seconds.
    """
    if (address or os.environ.get("RAY_ADDRESS") or "local") != "local" or ray.is_initialized():
        return None
    import torch

    gpus = torch.cuda.device_count() or int(torch.backends.mps.is_available())
    return [{"CPU": core_count(), "GPU": float(gpus)}]


@contextlib.contextmanager
def silenced(log: Path) -> Iterator[None]:
    """Within this context, write standard output and Ray's log messages to the file `log`."""
    logger = logging.getLogger("ray")
    before = logger.handlers, logger.propagate
    with log.open("a") as file, contextlib.redirect_stdout(file):
        logger.handlers, logger.propagate = [logging.StreamHandler(file)], False
        try:
            yield
        finally:
            logger.handlers, logger.propagate = before


def set_token() -> None:
    """Set the token by which Ray's processes authenticate, unless RAY_AUTH_TOKEN is already set.

    Without a token, anyone who can reach Ray's ports can run code as this user. Ray itself would
    store a token in the home folder; this function writes no file. A process reads its token only
    once. It may have read the token of an earlier Ray session, so this function clears Ray's cached
    copy.
    """
    os.environ.setdefault(AUTH_TOKEN, secrets.token_hex(32))
    TOKEN_LOADER.instance().reset_cache()


def _require_dashboard() -> None:
    try:
        list_actors(ray.get_runtime_context().gcs_address, limit=1)
    except (RayStateApiException, ConnectionError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            "resources.workers: trials with several workers need Ray's dashboard, but it does not "
            f"answer ({reason}). Start Ray with "
            "--include-dashboard=true, or set resources.workers to 1."
        ) from error


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(address: str, dashboard: bool) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        set_token()
        if dashboard:
            # Without an address of its own, this Ray would use the dashboard of another Ray that
            # runs on this machine.
            quiet["dashboard_port"] = _free_port()
            os.environ[DASHBOARD] = f"http://127.0.0.1:{quiet['dashboard_port']}"
        size = OBJECT_STORE_BYTES
        with hangup_kept_from_children():
            ray.init(
                "local",
                include_dashboard=dashboard,
                object_store_memory=size,
                runtime_env=_registered_operations(),
                **quiet,
            )
        return
    try:
        environment = {"env_vars": SETTINGS, **_registered_operations()}
        ray.init(address, runtime_env=environment, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--address {address}: Ray does not answer ({error}). Start it with "
            "`ray start --head`. To use this machine, leave out --address and unset RAY_ADDRESS."
        ) from error


def _registered_operations() -> dict[str, Any]:
    """Return settings of Ray's runtime environment that register the user's augmentations.

    Returns {} if the user has registered no augmentation.
    """
    setup = setup_of_processes()
    return {} if setup is None else {"worker_process_setup_hook": setup}
