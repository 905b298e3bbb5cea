"""Two machines that are one: an sshd on 127.0.0.1 and one on 127.0.0.2, each with its own home."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
# Debian's sshd is no command of plain users' PATH.
SSHD_FOLDERS = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
PATIENCE = 300.0  # seconds after which something is stuck; passing does not wait

# `ray stop` ends every Ray of a machine. These two share theirs with each other, and with whatever
# else runs on it, so that here it ends what belongs to the home that it is called from.
RAY = """#!/bin/sh
[ "$1" = stop ] || exec {ray} "$@"
exec {python} -c 'import sys; sys.path.insert(0, "{here}"); import machines; machines.end_home()'
"""


@dataclass(frozen=True)
class Machine:
    """One of the two: what is reached at `address` runs in `home`."""

    address: str
    home: Path

    def processes(self) -> list[psutil.Process]:
        """Everything that runs there."""
        return [process for process in psutil.process_iter() if home_of(process) == str(self.home)]


def home_of(process: psutil.Process) -> str | None:
    """The HOME that a process was started with; None of one that is gone, or another user's."""
    try:
        return process.environ().get("HOME")
    except (psutil.Error, OSError):
        return None


def end_home() -> None:
    """Kill what runs in this process's home, but for the session that asks for it."""
    own = psutil.Process()
    spared = {own, *own.parents()}
    kill(p for p in psutil.process_iter() if p not in spared and home_of(p) == os.environ["HOME"])


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL; processes that are gone already are no error."""
    doomed = list(processes)
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(doomed, timeout=20)


def wait_for(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> object:
    """What the condition gives as soon as that is something."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(0.2)
    return found


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def script(path: Path, text: str) -> None:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def start_sshd(desk: Path, machine: Machine, port: int) -> subprocess.Popen[bytes]:
    """A daemon that takes the key, and no password, at the machine's address."""
    bin_folder = machine.home / "fastgan-ray-env" / "bin"
    facts = {"ray": Path(sys.executable).with_name("ray"), "python": sys.executable}
    script(bin_folder / "ray", RAY.format(**facts, here=Path(__file__).parent))
    script(bin_folder / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    # Ray kills jobs where memory runs out, and here that may be somebody else's.
    (machine.home / ".bashrc").write_text(
        f"export PATH={desk}/bin:$PATH RAY_TMPDIR={machine.home}/t PYTHONPATH={ROOT} "
        "RAY_memory_monitor_refresh_ms=0\n"
    )
    config = machine.home / "sshd_config"
    config.write_text(
        f"""ListenAddress {machine.address}
Port {port}
HostKey {desk}/host_key
AuthorizedKeysFile {desk}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME={machine.home}
"""
    )
    sshd = shutil.which("sshd", path=SSHD_FOLDERS)
    with (machine.home / "sshd.log").open("w") as log:
        daemon = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=log)

    def answers() -> bool:
        assert daemon.poll() is None, (machine.home / "sshd.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex((machine.address, port)) == 0

    wait_for(answers, f"sshd at {machine.address}", 20)
    return daemon
