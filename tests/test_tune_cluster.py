"""A search on several machines, of which one is lost."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import tune_objectives as objectives
from ray.cluster_utils import Cluster
from ray.util import placement_group_table
from test_tune_search import make_spec, ran

from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected, set_token
from fastgan_ray.tune.search import run_search


@pytest.fixture
def cluster(monkeypatch):
    """A head without work for trials, and two nodes with a core each."""
    set_token()
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        found.add_node(num_cpus=1)
    found.wait_for_nodes()
    yield found
    found.shutdown()


@pytest.mark.slow
def test_a_trial_moves_when_its_node_is_lost(cluster, tmp_path):
    lost = []

    def lose_a_node():
        """The one on which the trial waits."""
        log = tmp_path / "t" / "trials" / "00000" / "ran.txt"
        deadline = time.monotonic() + objectives.PATIENCE
        while not (log.is_file() and "waiting" in log.read_text()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
        name = ran(tmp_path, "00000")[0].removeprefix("on ")
        (node,) = (one for one in cluster.worker_nodes if one.node_id == name)
        cluster.remove_node(node, allow_graceful=False)
        lost.append(f"on {name}")

    killer = threading.Thread(target=lose_a_node)
    killer.start()
    options = TuneOptions(tmp_path, wandb="off", address=cluster.address, quiet=True)
    with connected(cluster.address):
        folder = run_search(make_spec(1, early=False), options, objectives.on_a_node)
        assert lost, (folder / "summary.json").read_text()
        killer.join()
        groups = placement_group_table().values()
        assert {group["state"] for group in groups} == {"REMOVED"}
    (trial,) = json.loads((folder / "summary.json").read_text())["trials"]
    assert trial["state"] == "finished"
    log = ran(tmp_path, "00000")
    places = [line for line in log if line.startswith("on ")]
    assert len(places) == 2 and places[0] == lost[0] != places[1]
    assert log[log.index(places[1]) + 1 :] == ["begin at 1", *(f"{kimg}" for kimg in range(2, 9))]
