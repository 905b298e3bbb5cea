"""cluster/local.yaml as a person uses it: up, a search as a job, a node lost, results, down."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from machines import ROOT, Machine, free_port, home_of, kill, wait_for

from fastgan_ray.report.data.rows import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TOKEN = "0123456789abcdef" * 4
SEARCH = """
name: tiny
method: random
metric: {name: fd_efficientnet_lite0, goal: minimize}
run_cap: 2
base:
  data: {path: fluent-heads}
  model: {resolution: 32, nz: 8, ndf: 4, decoder_width: 2}
  train: {batch_size: 4, total_kimg: 0.6, reconstruction: l1}
  eval: {extractor: efficientnet_lite0, num_fakes: 4, every_kimg: 0.1}
parameters:
  model.ngf: {values: [2, 4]}
"""


class Cluster:
    """What a person types, at a desk with a home of its own."""

    def __init__(self, desk: Path, machines: list[Machine]) -> None:
        self.desk = desk
        self.file = desk / "local.yaml"
        self.dashboard = free_port()
        config = yaml.safe_load((ROOT / "cluster" / "local.yaml").read_text())
        head, worker = machines
        gcs = free_port()
        # A worker's files are where the head's are, and on one machine the same, unless told.
        changes = {
            "--port=6379": f"--port={gcs} --dashboard-port={self.dashboard} "
            f"--ray-client-server-port={free_port()} {self.own()}",
            "--address=$RAY_HEAD_IP:6379": f"--address=$RAY_HEAD_IP:{gcs} {self.own()} "
            f"--temp-dir={worker.home}/t/ray",
            "/mnt/fastgan": str(desk / "shared"),
        }
        for part in ("head_start_ray_commands", "worker_start_ray_commands"):
            for before, after in changes.items():
                config[part] = [command.replace(before, after) for command in config[part]]
        config["cluster_name"] = desk.name
        config["provider"] = {
            "type": "local",
            "head_ip": head.address,
            "worker_ips": [worker.address],
        }
        config["auth"] = {
            "ssh_user": psutil.Process().username(),
            "ssh_private_key": str(desk / "key"),
        }
        config["setup_commands"] = config["setup_commands"][1:]  # what the first installs is here
        self.file.write_text(yaml.safe_dump(config))
        home = desk / "home"
        (home / ".ray").mkdir(parents=True)
        (home / ".ray" / "auth_token").write_text(TOKEN)
        self.environment = {
            **os.environ,
            "PATH": f"{desk}/bin{os.pathsep}{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "RAY_TMPDIR": f"{home}/t",
            "RAY_AUTH_MODE": "token",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard}",
        }

    def own(self) -> str:
        """What sets a node apart from the other, and from what else runs on this machine."""
        return f"--dashboard-agent-listen-port={free_port()} --num-cpus=1"

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["ray", *command],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> str:
        process = self.start(*command)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def up(self) -> None:
        """`ray up`; again where a node misses the 30 s that Ray gives it, as on a busy machine."""
        for left in (2, 1, 0):
            process = self.start("up", "-y", str(self.file), "--no-config-cache")
            output, _ = process.communicate(timeout=300)
            if process.returncode == 0:
                return
            assert left and "timed out during startup" in output, output

    def nodes(self) -> list[dict[str, Any]]:
        """What the dashboard says of every living node; it is asked as Ray's own clients ask."""
        found = self.ask({"Authorization": f"Bearer {TOKEN}"})
        return [node["raylet"] for node in found if node["raylet"].get("state") == "ALIVE"]

    def ask(self, headers: dict[str, str]) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.dashboard}/nodes?view=summary"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return json.load(answer)["data"]["summary"]


def training(machine: Machine) -> list[Path]:
    """The folders of trials that `machine` runs and that have a checkpoint."""
    folders = []
    for process in machine.processes():
        try:
            if process.cmdline()[0].startswith("ray::ImplicitFunc"):
                held = [Path(file.path) for file in process.open_files()]
                folders += [path.parent for path in held if path.name == ".lock"]
        except (psutil.Error, IndexError):
            continue
    return [folder for folder in folders if list(folder.glob("checkpoint-*"))]


def listening(machines: list[Machine], port: int) -> set[str]:
    """The addresses on which the machines' processes listen at a port."""
    found = set()
    for process in (process for machine in machines for process in machine.processes()):
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                if (connection.status, connection.laddr.port) == (psutil.CONN_LISTEN, port):
                    found.add(connection.laddr.ip)
    return found


def test_a_search_on_two_machines_outlives_one(desk, machines):
    cluster, shared = Cluster(desk, machines), desk / "shared"
    shared.mkdir()
    (shared / "tiny.yaml").write_text(SEARCH)
    head, worker = machines
    cluster.up()
    wait_for(lambda: len(cluster.nodes()) == 2, "both nodes")
    assert listening(machines, cluster.dashboard) == {"127.0.0.1"}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            cluster.ask(headers)
        assert refused.value.code in (401, 403)
        refused.value.close()

    what = ["python", "-m", "fastgan_ray.tune", "--address", "auto", "--wandb", "off"]
    where = ["--config", str(shared / "tiny.yaml"), "--runs", str(shared / "runs")]
    job = cluster.start("job", "submit", "--working-dir", str(ROOT), "--", *what, *where)

    def on_the_worker() -> list[Path]:
        assert job.poll() is None, job.communicate()[0]
        return training(worker)

    (lost,) = wait_for(on_the_worker, "a checkpoint of the worker's trial")
    before = read_rows(lost)
    kill(worker.processes())
    output, _ = job.communicate(timeout=600)
    assert job.returncode == 0, output
    assert "SUCCEEDED" in output.upper()
    assert (
        "Best: fd_efficientnet_lite0" in output
        and "Best checkpoint of the best training: " in output
    )

    summary = json.loads((shared / "runs" / "tiny" / "summary.json").read_text())
    assert [trial["state"] for trial in summary["trials"]] == ["finished", "finished"]
    assert read_rows(lost)[: len(before)] == before, "it began anew"

    cluster.run("rsync-down", str(cluster.file), f"{shared}/runs/tiny/", f"{desk}/fetched/")
    assert json.loads((desk / "fetched" / "summary.json").read_text()) == summary
    assert (desk / "fetched" / "best" / "checkpoint" / "metadata.json").is_file()
    for path in (p for p in (desk / "fetched").rglob("*") if p.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path

    cluster.run("down", "-y", str(cluster.file))
    wait_for(lambda: not [*head.processes(), *worker.processes()], "all processes to end")
    assert not [p for p in psutil.process_iter() if home_of(p) == cluster.environment["HOME"]]
