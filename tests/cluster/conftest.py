"""What the cluster tests stand on, or a word on what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from machines import SSHD_FOLDERS, Machine, free_port, home_of, kill, script, start_sshd

NEEDS = (
    "the cluster tests need OpenSSH's server and client, rsync, and Linux: "
    "apt-get install openssh-server openssh-client rsync ({} not found)"
)


@pytest.fixture(scope="session")
def desk() -> Iterator[Path]:
    """A short folder, as sockets in it need, for two machines and the one that gives commands."""
    for name in ("sshd", "ssh", "ssh-keygen", "rsync"):
        if shutil.which(name, path=SSHD_FOLDERS) is None:
            pytest.fail(NEEDS.format(name), pytrace=False)
    if not sys.platform.startswith("linux"):
        pytest.fail(NEEDS.format("Linux"), pytrace=False)
    folder = Path(tempfile.mkdtemp(prefix="fgr-"))
    yield folder
    kill(p for p in psutil.process_iter() if (home_of(p) or "").startswith(f"{folder}/"))
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def machines(desk: Path) -> Iterator[list[Machine]]:
    """The machines, each with its sshd; the first keys of `desk` open them."""
    port = free_port()
    for name in ("key", "host_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(desk / name)], check=True
        )
    ssh = shutil.which("ssh")
    # Ray knows no port of ssh but 22, and ssh no home but the account's; Ray finds this first.
    options = f"-F /dev/null -p {port} -i {desk}/key"
    script(desk / "bin" / "ssh", f'#!/bin/sh\nexec {ssh} {options} "$@"\n')
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    found = [Machine(f"127.0.0.{n}", desk / f"node{n}") for n in (1, 2)]
    daemons = [start_sshd(desk, machine, port) for machine in found]
    yield found
    for daemon in daemons:
        daemon.terminate()
        daemon.wait(20)
