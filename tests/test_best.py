"""The best moment of a training: which checkpoints stay, and the value measured again."""

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import tiny

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.latent.measure import rank
from fastgan_ray.metrics.evaluate import evaluate, with_other_latents
from fastgan_ray.metrics.names import GOALS, final_value, metric_family, run_metric, searchable
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.train.best import best_checkpoints, continue_from, keep_best
from fastgan_ray.train.find_checkpoint import find_checkpoint
from fastgan_ray.train.loop import train
from fastgan_ray.tune.driver.records import make_record
from fastgan_ray.tune.driver.results import choose_best
from fastgan_ray.tune.driver.results import keep_best as hand_over
from fastgan_ray.tune.storage.disk import checkpoint_gb, trials_within

ABLATION = """
metric: {name: kd_efficientnet_lite0}
seeds: 2
base: {eval.extractor: efficientnet_lite0}
baseline: {}
arms: {narrow: {model.ngf: 8}}
"""
FD = "fd_efficientnet_lite0"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 8)


@pytest.fixture
def config(pictures):
    return partial(settings, pictures)


def run(config, folder: Path, resume_from: Path | None = None) -> list[dict]:
    recorder = tiny.Recorder(folder)
    train(config, recorder, resume_from)
    return recorder.rows


def metadata(checkpoint: Path) -> dict:
    return json.loads((checkpoint / "metadata.json").read_text())


def evaluated(folder: Path, kimg: float, value: float, metric: str = FD, **more) -> Path:
    """A checkpoint folder as an evaluation leaves it."""
    checkpoint = folder / f"checkpoint-{round(kimg * 1000):09d}"
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir(parents=True)
    entries = {"kimg": kimg, "selection": {"metric": metric, "value": value}, **more}
    (checkpoint / "metadata.json").write_text(json.dumps(entries))
    (checkpoint / "ema.safetensors").write_text(f"weights at {kimg:g}, value {value:g}")
    return checkpoint


def kept(folder: Path) -> list[float]:
    """The kimg of the best checkpoints, the best first; their other files belong to them."""
    for path in best_checkpoints(folder):
        entries = metadata(path)
        expected = f"weights at {entries['kimg']:g}, value {entries['selection']['value']:g}"
        assert (path / "ema.safetensors").read_text() == expected
    return [metadata(path)["kimg"] for path in best_checkpoints(folder)]


@pytest.mark.parametrize(
    ("goal", "values", "count", "expected"),
    [
        ("minimize", [5, 3, 4], 1, [2]),
        ("minimize", [5, 3, 4], 2, [2, 3]),
        ("minimize", [5, 3, 4, 1, 2], 3, [4, 5, 2]),
        ("maximize", [5, 3, 4], 2, [1, 3]),
        ("minimize", [3, 3, 3], 1, [1]),  # the earlier one of equals
        ("minimize", [5, 4, 3], 0, []),
    ],
)
def test_the_best_checkpoints_stay_in_order(tmp_path, goal, values, count, expected):
    for kimg, value in enumerate(values, 1):
        keep_best(evaluated(tmp_path, kimg, value), count, goal)
    assert kept(tmp_path) == expected
    names = [path.name for path in best_checkpoints(tmp_path)]
    assert names == ["checkpoint-best", "checkpoint-best-2", "checkpoint-best-3"][: len(expected)]
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_made_again_replaces_the_old_one_and_can_lose_its_rank(tmp_path):
    for kimg, value in ((1, 1.0), (2, 2.0), (3, 3.0)):
        keep_best(evaluated(tmp_path, kimg, value), 3, "minimize")
    keep_best(evaluated(tmp_path, 1, 9.0), 3, "minimize")
    assert kept(tmp_path) == [2, 3, 1]
    keep_best(evaluated(tmp_path, 4, 0.0), 2, "minimize")  # train.keep_best was 3 before
    assert kept(tmp_path) == [4, 2]


def test_values_of_another_metric_or_protocol_are_not_compared(tmp_path):
    keep_best(evaluated(tmp_path, 1, 1.0), 1, "minimize")
    keep_best(evaluated(tmp_path, 2, 2.0, "kd_efficientnet_lite0"), 1, "minimize")
    assert kept(tmp_path) == [2]
    other = {"protocol": {"num_fakes": 9}}
    keep_best(evaluated(tmp_path, 3, 5.0, "kd_efficientnet_lite0", **other), 1, "minimize")
    assert kept(tmp_path) == [3]


def test_best_checkpoints_from_after_the_point_of_a_resume_are_forgotten(tmp_path):
    for kimg, value in ((1, 3.0), (2, 2.0), (3, 1.0)):
        keep_best(evaluated(tmp_path, kimg, value), 2, "minimize")
    continue_from(tmp_path, tmp_path, 2)
    assert [metadata(path)["kimg"] for path in best_checkpoints(tmp_path)] == [2]
    continue_from(tmp_path, tmp_path / "other", 3)
    assert [metadata(path)["kimg"] for path in best_checkpoints(tmp_path / "other")] == [2]


@pytest.fixture(scope="module")
def collapsed(pictures, tmp_path_factory):
    """The folder and the rows of a training that collapses at its end."""
    folder = tmp_path_factory.mktemp("collapsed") / "run"
    return folder, collapse(partial(settings, pictures), folder)


def settings(pictures, **changes):
    return tiny.config(**{"data.path": str(pictures), "eval.num_fakes": 32, **changes})


def collapse(config, folder: Path) -> list[dict]:
    """A training whose learning rates are raised for the last 16 images."""
    quick = {"train.ema_halflife_kimg": 0.001, "train.lr_g": 2e-3, "train.lr_d": 2e-3}
    quick |= {"eval.every_kimg": 0.032}
    rows = run(config(**quick, **{"train.total_kimg": 0.064}), folder)
    last = folder / "checkpoint-000000064"
    entries = metadata(last)
    entries["config"]["train"] |= {"lr_g": 0.5, "lr_d": 0.5}
    write_atomically(last / "metadata.json", json.dumps(entries))
    rates = {"train.lr_g": 0.5, "train.lr_d": 0.5}
    raised = config(**{**quick, **rates, "train.total_kimg": 0.08})
    return rows + run(raised, folder, last)


def test_a_training_that_collapses_yields_its_best_checkpoint_measured_again(collapsed):
    folder, rows = collapsed
    values = [row[FD] for row in rows]
    best, last = min(range(3), key=values.__getitem__), rows[-1]
    assert best < 2 and values[2] > 1.2 * values[best], values
    assert last["best/kimg"] == rows[best]["kimg"]
    assert last["best/selected"] == values[best]
    assert last[f"best/{FD}"] == final_value(last, FD) != values[best]
    assert last[f"best/{FD}"] < values[2]
    assert {path.name for path in folder.glob("checkpoint-*")} == {
        "checkpoint-000000080",
        "checkpoint-best",
    }
    assert find_checkpoint(folder) == folder / "checkpoint-best"
    assert find_checkpoint(folder, "last") == folder / "checkpoint-000000080"
    assert metadata(folder / "checkpoint-best")["measured_again"][FD] == last[f"best/{FD}"]


def test_the_second_number_can_be_measured_by_evaluate(config, collapsed):
    folder, rows = collapsed
    seed = with_other_latents(config().eval).seed
    assert seed != config().eval.seed
    (result,) = rank({folder: None}, {"eval.seed": seed})
    assert result["metrics"][FD] == pytest.approx(rows[-1][f"best/{FD}"], rel=1e-3)
    (result,) = rank({folder: None}, {}, which="last")
    assert result["metrics"][FD] == pytest.approx(rows[-1][FD], rel=1e-3)


def test_only_the_last_checkpoint_stays_without_keep_best(config, tmp_path):
    rows = run(config(**{"train.keep_best": 0}), tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-000000016"]
    assert not [name for name in rows[-1] if name.startswith("best/")]
    assert final_value(rows[-1], FD) == rows[-1][FD]


def test_keeping_the_best_changes_no_step_and_no_other_number(config, tmp_path):
    first = run(config(), tmp_path / "first")
    second = run(config(**{"train.keep_best": 0}), tmp_path / "second")
    times = {"seconds", "images_per_second", "grid", "pairs", "decoded", "peak_memory_gb"}
    for before, after in zip(second, first, strict=True):
        assert all(after[name] == before[name] for name in before.keys() - times)


def test_cheap_evaluations_choose_the_best_by_cheap_values_only(config, tmp_path):
    rows = run(config(**{"eval.early_fakes": 16}), tmp_path / "run")
    assert f"early/{FD}" in rows[0] and f"early/{FD}" not in rows[-1]
    for path in (tmp_path / "run").glob("checkpoint-*"):
        assert metadata(path)["selection"]["metric"] == f"early/{FD}"
    assert f"best/{FD}" in rows[-1] and rows[-1]["best/num_fakes"] == 32
    # They chose by latents of their own, so those of a full evaluation are new for the best one.
    best = tmp_path / "run" / "checkpoint-best"
    (result,) = rank({best: None}, {})
    assert result["metrics"][FD] == pytest.approx(rows[-1][f"best/{FD}"], rel=1e-3)


def test_a_last_checkpoint_that_is_the_best_is_not_measured_twice(config, tmp_path, monkeypatch):
    counts = []

    def counting(*arguments):
        counts.append(evaluate(*arguments).values["num_fakes"])
        return evaluate(*arguments)

    monkeypatch.setattr("fastgan_ray.train.evaluation.evaluate", counting)
    settings = {"eval.early_fakes": 16, "eval.every_kimg": 1.0}  # one evaluation, the last one
    (row,) = run(config(**settings), tmp_path / "run")
    assert counts == [32, 16]
    assert row[f"best/{FD}"] == row[FD] != row["best/selected"]


def test_the_runs_metric_chooses_the_best(config, tmp_path):
    rows = run(config(**{"eval.metric": "coverage", "eval.every_kimg": 0.004}), tmp_path / "run")
    values = [row["coverage_k5"] for row in rows]
    assert rows[-1]["best/kimg"] == rows[values.index(max(values))]["kimg"]
    assert rows[-1]["best/selected"] == max(values)


def test_every_metric_of_a_search_can_be_the_runs_metric(config):
    assert set(GOALS) == set(get_args(EvalConfig.model_fields["metric"].annotation))
    for name, goal in searchable(config().eval).items():
        family = metric_family(name, config().eval)
        assert run_metric(config(**{"eval.metric": family}).eval) == (name, goal)


def test_a_folder_without_checkpoints_names_what_is_missing(tmp_path):
    with pytest.raises(UserError, match="no checkpoint found"):
        find_checkpoint(tmp_path, "last")


class FakeTrial(SimpleNamespace):
    """A trial of Ray, as the driver sees it."""


def ended(last_row: dict, number: int = 0) -> FakeTrial:
    run = tiny.config().model_dump()
    return FakeTrial(
        trial_id=f"{number:05d}",
        status="TERMINATED",
        last_result=last_row,
        config={"point": {}, "run": run},
    )


def test_a_search_ranks_by_the_value_measured_again_and_records_both(collapsed):
    _, rows = collapsed
    last = {**rows[-1], "outcome": "finished", "reason": "", "checkpoint": "checkpoint-000000080"}
    record = make_record(ended(last), FD, ended=True)
    assert record["value"] == record["best_value"] == last[f"best/{FD}"]
    assert record["last_value"] == last[FD]
    assert record["selected_value"] == last["best/selected"]
    assert record["best_kimg"] == last["best/kimg"]
    assert record["error"] == last[f"best/{FD}_se_fakes"]
    steady = make_record(ended({**last, f"best/{FD}": last[FD] - 1}, 1), FD, ended=True)
    best = choose_best([record, steady], Metric(name=FD))
    assert best is (record if record["value"] < steady["value"] else steady)


def test_a_searchs_best_folder_has_the_best_moment_and_the_last(collapsed, tmp_path):
    folder, rows = collapsed
    trial = tmp_path / "trials" / "00000"
    shutil.copytree(folder, trial)
    last = {**rows[-1], "outcome": "finished", "reason": "", "checkpoint": "checkpoint-000000080"}
    record = make_record(ended(last), FD, ended=True)
    hand_over({**record, "source": "trials/00000"}, tmp_path)
    best = tmp_path / "best"
    assert metadata(best / "checkpoint")["kimg"] == rows[-1]["best/kimg"]
    assert metadata(best / "checkpoint-last")["kimg"] == rows[-1]["kimg"]
    assert find_checkpoint(tmp_path) == find_checkpoint(best) == best / "checkpoint"
    assert find_checkpoint(tmp_path, "last") == best / "checkpoint-last"
    grid = Path(metadata(trial / "checkpoint-best")["metrics"]["grid"]).name
    assert (best / "grid.png").read_bytes() == (trial / "grids" / grid).read_bytes()


def test_disk_space_counts_the_best_checkpoints():
    none, two = (tiny.config(**{"train.keep_best": count}) for count in (0, 2))
    whole, _ = checkpoint_gb(none)
    limit = 9 * whole
    assert trials_within(limit, [none], 0) == 2  # 1 + 2 x 4
    assert trials_within(limit + whole, [two], 0) == 1  # 2 + (4 + 2 x 2)
    with pytest.raises(UserError, match="up to 8 checkpoints"):
        trials_within(limit, [two], 0)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ("compare: middle", "compare: must be one of"),
        ("compare: best", "train.keep_best must be at least 1"),
    ],
)
def test_an_ablation_refuses_what_it_cannot_compare(changes, rule):
    with pytest.raises(UserError, match=rule):
        text = ABLATION.replace("base: {", "base: {train.keep_best: 0, ")
        ablation_from_text(f"{text}\n{changes}\n", "a.yaml")
    assert ablation_from_text(ABLATION, "a.yaml").compare == "last"
    assert ablation_from_text(f"{ABLATION}\ncompare: best\n", "a.yaml").compare == "best"


def test_a_files_metric_is_the_metric_of_its_trainings():
    spec = ablation_from_text(ABLATION, "a.yaml")
    assert arm_config(spec, "narrow").eval.metric == "kd"
    base = "{eval: {extractor: efficientnet_lite0, metric: fd}}"
    with pytest.raises(UserError, match=r"eval\.metric is fd; remove eval\.metric"):
        ablation_from_text(ABLATION.replace("{eval.extractor: efficientnet_lite0}", base), "a.yaml")
