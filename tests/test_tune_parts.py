"""The parts of the search that need no Ray: resources, outcomes, a trial's history, verdicts."""

from __future__ import annotations

import pytest
import torch

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import DivergedError, UserError
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.cost.memory import gpu_gb_of, host_gb_of
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.train.device import device_of, limit_gpu_memory
from fastgan_ray.tune.driver.results import choose_best, compare_with_default
from fastgan_ray.tune.ray.gpus import GPU_CAPABILITY, GPU_GB
from fastgan_ray.tune.ray.resources import (
    Request,
    can_reuse_process,
    check_feasible,
    check_memory,
    demands,
    max_concurrent,
    request,
)
from fastgan_ray.tune.trial.folder import append_row, reset_if_other_point, resume_point
from fastgan_ray.tune.trial.outcome import classify

GPU_NODE = [{"CPU": 8.0, "GPU": 1.0}]
CPU_NODE = [{"CPU": 2.0}]
LARGE = [{**GPU_NODE[0], GPU_GB: 40.0, GPU_CAPABILITY: 8.0}]
TWO_NODES = [{"CPU": 2.0}, {"CPU": 2.0}]


def config(**sections):
    return RunConfig.model_validate(sections)


def test_larger_trials_ask_for_more():
    sizes = [gpu_gb_of(config(model={"resolution": r})) for r in (32, 128, 256, 1024)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    small, large = ({"resolution": r} for r in (128, 1024))
    assert demands(config(model=small), LARGE)[0]["GPU"] < 1
    assert (
        demands(config(model=large), LARGE)[0]["GPU"]
        > demands(config(model=small), LARGE)[0]["GPU"]
    )
    assert gpu_gb_of(config(train={"batch_size": 32})) > gpu_gb_of(config())
    assert gpu_gb_of(config(model={"ngf": 8})) < gpu_gb_of(config())
    dcgan = {"architecture": "dcgan", "resolution": 64}
    assert gpu_gb_of(config(model={**dcgan, "dcgan_width": 512})) > gpu_gb_of(config(model=dcgan))
    assert gpu_gb_of(config(model={**dcgan, "ngf": 8})) == gpu_gb_of(config(model=dcgan))


def test_gpus_only_where_there_are_some():
    assert demands(config(), CPU_NODE) == [{"CPU": 1.0, "GPU": 0.0}]
    assert demands(config(train={"device": "cpu"}), GPU_NODE)[0]["GPU"] == 0
    assert demands(config(resources={"gpus": 0.3}), GPU_NODE)[0]["GPU"] == 0.3


def test_memory_that_is_there_limits_how_many_run_and_how_large_they_are():
    small, large = config(model={"ngf": 8}), config(model={"ngf": 256})
    nodes = [{"CPU": 64.0, "memory": 10e9}, {"CPU": 64.0, "memory": 5e9}]
    assert check_memory([small], [{"CPU": 2.0}]) == (None, "")
    few, warning = check_memory([small], nodes)
    assert few == sum(int(gb / (0.8 * host_gb_of(small))) for gb in (10, 5)) and not warning
    limit, warning = check_memory([small, large], [{"CPU": 1.0, "memory": 4e9}])
    assert limit and "1 of 2" in warning and "could not be trained" in warning
    with pytest.raises(UserError, match=r"memory, and no machine has more than 4\.0 GB"):
        check_memory([large], [{"CPU": 1.0, "memory": 4e9}])
    with pytest.raises(UserError, match=r"memory, and no GPU has more than 2\.0 GB"):
        check_memory([config()], [{**GPU_NODE[0], GPU_GB: 2.0}])


def test_a_trial_must_fit_one_machine():
    check_feasible([Request([{"CPU": 2.0, "GPU": 0.0}])], TWO_NODES)
    with pytest.raises(UserError, match="needs 3 CPUs"):
        check_feasible([Request([{"CPU": 3.0, "GPU": 0.0}])], TWO_NODES)
    with pytest.raises(UserError, match="1 GPUs"):
        check_feasible([Request([{"CPU": 1.0, "GPU": 1.0}])], TWO_NODES)
    assert max_concurrent([Request([{"CPU": 1.0, "GPU": 0.0}])], TWO_NODES) == 4
    assert max_concurrent([Request([{"CPU": 1.0, "GPU": 0.6}])], [{"CPU": 8.0, "GPU": 2.0}]) == 2


def gpu_node(kind, gb, capability, count=1.0):
    name = f"accelerator_type:{kind}"
    return {"CPU": 8.0, "GPU": count, name: 1.0, GPU_GB: gb, GPU_CAPABILITY: capability}


def test_cards_without_bfloat16_need_twice_the_maps():
    large = config(model={"resolution": 512}, train={"reconstruction": "l1"})
    turing, ampere = ([gpu_node("X", 11.0, capability)] for capability in (7.5, 8.6))
    assert demands(large, turing)[0]["GPU"] == 1.0
    assert demands(large, ampere)[0]["GPU"] < 1.0
    assert gpu_gb_of(large, 7.5) > 1.4 * gpu_gb_of(large, 8.6)
    asked = config(model={"resolution": 512}, train={"precision": "bf16", "reconstruction": "l1"})
    assert gpu_gb_of(asked, 7.5) == gpu_gb_of(large, 8.6)


def test_the_memory_of_lpips_counts():
    lpips, l1 = (config(train={"reconstruction": kind}) for kind in ("lpips_vgg", "l1"))
    # 8 pictures of 128 x 128 px, 610 values a pixel in two bytes, and the weights of VGG-16.
    assert gpu_gb_of(lpips) - gpu_gb_of(l1) == pytest.approx(0.16 + 0.059, abs=0.01)
    without = config(model={"self_supervision": "none"}, train={"reconstruction": "lpips_vgg"})
    assert gpu_gb_of(without) < gpu_gb_of(l1) + 0.001


def test_each_kind_of_gpu_has_its_own_share():
    nodes = [gpu_node("A10G", 24.0, 8.6), gpu_node("H100", 80.0, 9.0, 2.0)]
    trial = request(config(model={"resolution": 512}), nodes)
    small, large = trial.choices
    assert small["GPU"] > large["GPU"] and {"accelerator_type:A10G", "CPU", "GPU"} == set(small)
    rooms = [min(8, int(1 / small["GPU"])), min(8, 2 * int(1 / large["GPU"]))]
    assert trial.count(nodes) == sum(rooms)
    chosen = [trial.choose(number, nodes) for number in range(sum(rooms))]
    assert [chosen.count(choice) for choice in trial.choices] == rooms
    # What fits the large one alone goes there.
    huge = request(config(model={"resolution": 1024, "ngf": 128}, train={"batch_size": 64}), nodes)
    assert all("accelerator_type:H100" in choice for choice in huge.choices)
    # One kind needs no name, and asked for shares stay as they are.
    assert set(demands(config(), nodes[:1])[0]) == {"CPU", "GPU"}
    assert demands(config(resources={"gpus": 0.3}), nodes) == [{"CPU": 1.0, "GPU": 0.3}]


def test_trials_on_apples_gpu_take_a_share_of_it_and_not_only_a_core():
    mac = [{"CPU": 12.0, "GPU": 1.0, GPU_GB: 12.0, GPU_CAPABILITY: 0.0}]
    for device in ("mps", "auto"):
        trial = request(config(train={"device": device}), mac)
        assert trial.worker["GPU"] > 0
        assert max_concurrent([trial], mac) == int(1 / trial.worker["GPU"] + 1e-9) < 12


def test_no_gpu_means_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(config(resources={"gpus": 0})).type == "cpu"
    assert device_of(config()).type == "cuda"
    with pytest.raises(UserError, match=r"gpus must be null or above 0 if train\.device is cuda"):
        override(RunConfig(), {"resources.gpus": 0, "train.device": "cuda"})


def test_a_process_is_limited_to_its_share(monkeypatch):
    limits = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: limits.append(given)
    )
    for share in (0.25, 1.0, 2.0, 0.0):
        limit_gpu_memory(share)
    assert limits == [(0.25, 0)]


def test_workers_may_be_on_different_machines_but_must_all_have_room():
    four = Request([{"CPU": 1.0, "GPU": 0.0}], workers=4, nested=True)
    check_feasible([four], TWO_NODES)
    assert four.count(TWO_NODES) == 1
    assert four.count([{"CPU": 3.0}, {"CPU": 4.0}, {"CPU": 2.0}]) == 2
    with pytest.raises(UserError, match=r"5 workers of 1 CPUs, 0 GPUs.*2 CPUs, 0 GPUs; 2 CPUs"):
        check_feasible([Request([{"CPU": 1.0, "GPU": 0.0}], workers=5)], TWO_NODES)
    with pytest.raises(UserError, match="3 CPUs, 0 GPUs for each worker, but no machine has that"):
        check_feasible([Request([{"CPU": 3.0, "GPU": 0.0}], workers=2)], TWO_NODES)


def test_nested_trials_are_never_more_than_their_workers_have_room():
    """Ray Tune sees nothing of what these take, and would start them all."""
    flat, nested = (Request([{"CPU": 1.0, "GPU": 0.0}], workers, workers > 1) for workers in (1, 2))
    assert max_concurrent([flat], TWO_NODES, wanted=9) == 9  # the others wait in Ray Tune
    assert max_concurrent([nested], TWO_NODES, wanted=9) == max_concurrent([nested], TWO_NODES) == 2
    assert max_concurrent([flat, nested], TWO_NODES) == 2
    assert max_concurrent([nested], TWO_NODES, wanted=1) == 1


def test_a_gpus_and_several_workers_processes_are_not_for_the_next_trial():
    assert can_reuse_process(Request([{"CPU": 1.0, "GPU": 0.0}]))
    assert not can_reuse_process(Request([{"CPU": 1.0, "GPU": 0.3}]))
    assert not can_reuse_process(Request([{"CPU": 1.0, "GPU": 0.0}], 2, nested=True))


def test_several_workers_have_a_gpu_each():
    settings = {"model": {"resolution": 128}}
    alone, together = (
        request(config(**settings, resources={"workers": workers}), LARGE) for workers in (1, 2)
    )
    assert alone.worker["GPU"] < 1 and not alone.nested
    assert together.worker["GPU"] == 1 and together.nested
    assert request(config(resources={"backend": "ray_train"}), LARGE).nested


@pytest.mark.parametrize(
    ("resources", "rule"),
    [
        ({"workers": 3}, r"multiple of workers.*batch_size 8, workers 3"),
        ({"workers": 2, "gpus": 0.5}, r"null, 0 or 1 if workers is above 1.*gpus 0\.5"),
        ({"workers": 2, "backend": "flat"}, "backend flat has only one process, but workers is 2"),
    ],
)
def test_workers_that_do_not_go_together_with_the_rest(resources, rule):
    given = {f"resources.{name}": value for name, value in resources.items()}
    with pytest.raises(UserError, match=f"resources: .*{rule}"):
        override(RunConfig(), given)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DivergedError("x"), "diverged"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "out_of_memory"),
        (RuntimeError("size mismatch"), "failed"),
        (UserError("no pictures"), "failed"),
    ],
)
def test_outcome_of_an_exception(error, outcome):
    assert classify(error)[0] == outcome
    assert classify(error)[1]


def test_history_goes_back_to_the_newest_checkpoint_there_is(tmp_path):
    for kimg, outcome in ((1.0, "running"), (2.0, "running")):
        append_row(tmp_path, {"kimg": kimg, "outcome": outcome, "checkpoint": f"c{kimg:g}"})
    assert resume_point(tmp_path) == ([], None)
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "metadata.json").write_text("{}")
    rows, checkpoint = resume_point(tmp_path)
    assert [row["kimg"] for row in rows] == [1.0] and checkpoint == tmp_path / "c1"
    append_row(tmp_path, {"kimg": 3.0, "outcome": "finished", "checkpoint": "gone"})
    rows, checkpoint = resume_point(tmp_path)
    assert [row["kimg"] for row in rows] == [1.0, 2.0, 3.0] and checkpoint is None
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kimg": 4.0, "outc')
    assert len(read_rows(tmp_path)) == 3


def test_a_folder_keeps_only_what_is_of_the_trials_own_point(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    reset_if_other_point(tmp_path, {"train.lr_g": 1e-3, "model.ngf": 8})
    append_row(tmp_path, {"kimg": 1.0, "outcome": "running", "checkpoint": "checkpoint-1"})
    (tmp_path / "checkpoint-1").mkdir()
    reset_if_other_point(tmp_path, {"model.ngf": 8, "train.lr_g": 1e-3})
    assert len(read_rows(tmp_path)) == 1
    other = {"model.ngf": 16, "train.lr_g": 1e-3}
    with monkeypatch.context() as patch:  # whoever clears it dies over it
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reset_if_other_point(tmp_path, other)
    reset_if_other_point(tmp_path, other)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "point.json"}


def ended(name, value, state="finished", error=None):
    point = {"model.ngf": int(name)}
    return {"trial_id": name, "state": state, "value": value, "error": error, "point": point}


def test_best_is_a_finished_trial_if_any_is():
    records = [ended("0", 5.0), ended("1", 1.0, "stopped"), ended("2", None, "diverged")]
    lower, higher = Metric(name="m"), Metric(name="m", goal="maximize")
    assert choose_best(records, lower)["trial_id"] == "0"
    assert choose_best(records[1:], lower)["trial_id"] == "1"
    assert choose_best(records[2:], lower) is None
    worse = ended("3", 6.0)
    assert compare_with_default(records[0], worse, lower)[0] is True
    assert compare_with_default(worse, records[0], higher)[0] is True
    assert compare_with_default(records[0], records[0], lower)[0] is False
    assert compare_with_default(records[0], None, lower)[0] is None
    assert (
        "with the nearest values in the search space"
        in compare_with_default(records[0], worse, lower, complete=False)[1]
    )


def test_best_so_far_may_be_a_trial_that_has_not_ended():
    lower = Metric(name="m")
    stopped, running = ended("1", 346.8, "stopped"), ended("2", 267.7, "unfinished") | {"kimg": 2.4}
    assert choose_best([stopped, running], lower) is running
    assert choose_best([stopped, running, ended("3", 300.0)], lower)["trial_id"] == "3"
    _, verdict = compare_with_default(running, ended("0", None, "stopped"), lower)
    assert verdict.startswith("Best so far: m 267.7 by trial 2, at 2.4 kimg.")
    _, verdict = compare_with_default(running, running, lower)
    assert "by trial 2, at 2.4 kimg. This trial is the published default; no other trial" in verdict


def test_a_verdict_says_when_noise_may_explain_it():
    lower, best = Metric(name="m"), ended("0", 5.0, error=0.3)
    assert "noise" not in compare_with_default(best, ended("1", 6.0, error=0.2), lower)[1]
    close = compare_with_default(best, ended("1", 5.5, error=0.4), lower)
    assert (
        close[0] is True and "within the noise of the evaluation (standard error 0.5)" in close[1]
    )
