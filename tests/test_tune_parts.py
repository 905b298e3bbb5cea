"""The parts of the search that need no Ray: resources, outcomes, a trial's history, verdicts."""

from __future__ import annotations

import pytest
import torch

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.errors import DivergedError, UserError
from fastgan_ray.report.rows import read_rows
from fastgan_ray.search.spec import Metric
from fastgan_ray.tune.history import append_row, resume_point
from fastgan_ray.tune.resources import check_feasible, demand, fitting, memory_gb
from fastgan_ray.tune.results import choose_best, judge
from fastgan_ray.tune.trainable import classify

GPU_NODE = [{"CPU": 8.0, "GPU": 1.0}]
CPU_NODE = [{"CPU": 2.0}]


def config(**sections):
    return RunConfig.model_validate(sections)


def test_larger_trials_ask_for_more():
    sizes = [memory_gb(config(model={"resolution": r})) for r in (32, 128, 256, 1024)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    small, large = ({"resolution": r} for r in (128, 1024))
    assert demand(config(model=small), GPU_NODE, 40)["GPU"] < 1
    assert (
        demand(config(model=large), GPU_NODE, 40)["GPU"]
        > demand(config(model=small), GPU_NODE, 40)["GPU"]
    )
    assert memory_gb(config(train={"batch_size": 32})) > memory_gb(config())
    assert memory_gb(config(model={"ngf": 8})) < memory_gb(config())
    dcgan = {"architecture": "dcgan", "resolution": 64}
    assert memory_gb(config(model={**dcgan, "dcgan_width": 512})) > memory_gb(config(model=dcgan))
    assert memory_gb(config(model={**dcgan, "ngf": 8})) == memory_gb(config(model=dcgan))


def test_gpus_only_where_there_are_some():
    assert demand(config(), CPU_NODE, 16) == {"CPU": 1.0, "GPU": 0.0}
    assert demand(config(train={"device": "cpu"}), GPU_NODE, 16)["GPU"] == 0
    assert demand(config(resources={"gpus": 0.3}), GPU_NODE, 16)["GPU"] == 0.3


def test_a_trial_must_fit_one_machine():
    two = [{"CPU": 2.0}, {"CPU": 2.0}]
    check_feasible([{"CPU": 2.0, "GPU": 0.0}], two)
    with pytest.raises(UserError, match="needs 3 CPUs"):
        check_feasible([{"CPU": 3.0, "GPU": 0.0}], two)
    with pytest.raises(UserError, match="1 GPUs"):
        check_feasible([{"CPU": 1.0, "GPU": 1.0}], two)
    assert fitting([{"CPU": 1.0, "GPU": 0.0}], two) == 4
    assert fitting([{"CPU": 1.0, "GPU": 0.6}], [{"CPU": 8.0, "GPU": 2.0}]) == 2


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


def ended(name, value, state="finished", error=None):
    return {"trial_id": name, "state": state, "value": value, "error": error}


def test_best_is_a_finished_trial_if_any_is():
    records = [ended("0", 5.0), ended("1", 1.0, "stopped"), ended("2", None, "diverged")]
    lower, higher = Metric("m", "minimize"), Metric("m", "maximize")
    assert choose_best(records, lower)["trial_id"] == "0"
    assert choose_best(records[1:], lower)["trial_id"] == "1"
    assert choose_best(records[2:], lower) is None
    worse = ended("3", 6.0)
    assert judge(records[0], worse, lower)[0] is True
    assert judge(worse, records[0], higher)[0] is True
    assert judge(records[0], records[0], lower)[0] is False
    assert judge(records[0], None, lower)[0] is None
    assert "as far as this space contains it" in judge(records[0], worse, lower, whole=False)[1]


def test_a_verdict_says_when_noise_may_explain_it():
    lower, best = Metric("m", "minimize"), ended("0", 5.0, error=0.3)
    assert "noise" not in judge(best, ended("1", 6.0, error=0.2), lower)[1]
    close = judge(best, ended("1", 5.5, error=0.4), lower)
    assert (
        close[0] is True and "within the noise of the evaluation (standard error 0.5)" in close[1]
    )
