"""GPUs in a search: which a trial sees, and one where trials keep dying. The GPUs are made up."""

from __future__ import annotations

import gc
import json
import warnings
from pathlib import Path

import pytest
import ray
import tune_objectives as objectives
from ray.cluster_utils import Cluster
from test_tune_search import make_spec, ran

from fastgan_ray.tune.driver.bad_machines import Death, count_places, is_bad
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.compat import SETTINGS
from fastgan_ray.tune.ray.gpus import ASSUMED, GPU_CAPABILITY, GPU_GB, describe_nodes
from fastgan_ray.tune.ray.session import set_token
from fastgan_ray.tune.search import run_search


@pytest.fixture
def two_gpus(monkeypatch):
    """A Ray that believes in two GPUs."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    set_token()
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
def test_a_gpu_on_which_trials_die_is_named_and_left_out(two_gpus, tmp_path, capsys):
    options = TuneOptions(tmp_path, wandb="off", max_concurrent=2)
    space = "\n  model.ngf: {values: [64, 8, 16, 32, 4, 2]}"
    spec = make_spec(6, "grid", space, early=False, extra=", resources: {gpus: 1}")
    folder = run_search(spec, options, objectives.on_a_bad_gpu)
    trials = json.loads((folder / "summary.json").read_text())["trials"]
    assert {trial["state"] for trial in trials} <= {"finished", "stopped"}
    lines = [line for trial in trials for line in ran(tmp_path, trial["trial_id"])]
    assert 3 <= lines.count("gpu 1") <= 6 and lines.count("gpu 0") >= 6
    printed = " ".join(capsys.readouterr().out.split())
    assert "GPU 1 of " in printed and "ECC error" in printed
    assert "No more trials start here." in printed


@pytest.mark.slow
def test_a_trial_without_gpus_sees_none(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    options = TuneOptions(tmp_path, wandb="off", quiet=True)
    spec = make_spec(1, "grid", "\n  model.ngf: {value: 8}", extra=", resources: {gpus: 0}")
    run_search(spec, options, objectives.visible_gpus)
    assert "visible ''" in ran(tmp_path, "00000")


def test_deaths_speak_against_a_place_only_if_several_trials_die():
    killed, other = Death("00001", False), Death("00002", False)
    assert not is_bad([killed] * 5) and not is_bad([killed, other])
    assert is_bad([killed, killed, other])
    # A fault of the machine is not the trial's.
    assert is_bad([Death("00001", True)] * 3) and not is_bad([Death("00001", True)] * 2)
    assert count_places([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0}]) == 4
    assert count_places([{"CPU": 8.0}, {"CPU": 8.0}]) == 2


def look() -> dict[str, float]:
    """What a machine answers: in the tests, what its environment says."""
    import os

    memory = os.environ["TEST_GPU_GB"]
    return {GPU_GB: float(memory), GPU_CAPABILITY: 9.0} if memory else {}


@pytest.fixture
def mixed_cluster(monkeypatch):
    """A head without GPUs and four machines of three kinds."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    set_token()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for kind, memory in (("A10G", "24"), ("H100", "80"), ("H100", "81"), ("T4", "")):
        cluster.add_node(
            num_cpus=1,
            num_gpus=1,
            resources={f"accelerator_type:{kind}": 1},
            env_vars={"TEST_GPU_GB": memory},
        )
    ray.init(cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # about processes that Ray has killed
        del cluster
        gc.collect()


@pytest.mark.slow
def test_each_kind_of_machine_is_asked_once(mixed_cluster):
    nodes = describe_nodes(look)
    found = {
        next(name for name in node if name.startswith("accelerator_type:")): node[GPU_GB]
        for node in nodes
        if node.get("GPU")
    }
    assert found.pop("accelerator_type:H100") in (80.0, 81.0)
    assert found == {"accelerator_type:A10G": 24.0, "accelerator_type:T4": ASSUMED[GPU_GB]}
    memories = {node[GPU_GB] for node in nodes if "accelerator_type:H100" in node}
    assert len(memories) == 1
    assert all(GPU_GB not in node for node in nodes if not node.get("GPU"))
