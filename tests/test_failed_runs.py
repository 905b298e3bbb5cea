"""Runs without a result: they fail, with the reason, and do not go on failing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tune_objectives as objectives
from fake_trials import fake_trial, report
from test_tune_search import make_spec

from fastgan_ray.cli.main import main
from fastgan_ray.errors import FailedRunError
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.tune.ablation import run_ablation
from fastgan_ray.tune.driver.closing import failure_of
from fastgan_ray.tune.driver.repeated_failures import RepeatedFailures
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search

SPACE = "\n  model.ngf: {values: [8, 16, 32, 64, 128, 256]}"


def feed(failures: RepeatedFailures, *ends: tuple[int, str]) -> str:
    """Report ends of trials: (number, reason), or an evaluation for the reason ""."""
    for number, reason in ends:
        row = report(1.0, outcome="failed", reason=reason) if reason else report(1.0, 5.0)
        failures.trial_reported(fake_trial(number), row)
    return failures.describe()


def test_three_failures_in_a_row_for_the_same_reason_are_enough():
    ends = [(n, f"OSError: /x/trials/{n:05d} at 0x{n}f") for n in range(3)]
    assert not feed(RepeatedFailures(), *ends[:2])
    assert feed(RepeatedFailures(), *ends) == (
        "3 trials in a row failed for the same reason: OSError: /x/trials/00002 at 0x2f"
    )
    assert feed(RepeatedFailures(), *ends[:2], (7, ""), *ends[2:]) == ""
    assert feed(RepeatedFailures(), *ends[:2], (7, "another"), *ends[2:]) == ""
    assert feed(RepeatedFailures(), ends[0], ends[0], ends[0]) == "", "the same trial counts once"
    assert feed(RepeatedFailures(4), *ends) == ""
    diverged = SimpleNamespace(trial_id="00009")
    failures = RepeatedFailures()
    feed(failures, *ends[:2])
    failures.trial_reported(diverged, report(1.0, outcome="diverged", reason="nan"))
    assert feed(failures, ends[2]) == ""


def test_a_search_has_failed_if_no_trial_has_a_value():
    def trial(state: str, value: float | None, reason: str = "why") -> dict[str, Any]:
        return {"state": state, "value": value, "reason": reason}

    bad = [trial("diverged", None, "nan"), trial("out_of_memory", None), trial("diverged", None)]
    text = failure_of({"trials": [bad[0], *bad]})
    assert text == "no trial has a value; 2 of 4 trials diverged: nan"
    assert failure_of({"trials": [*bad, trial("stopped", 3.0)]}) == ""
    assert failure_of({"trials": []}) == "no trial has started, so there is no result"
    early = {"trials": [trial("finished", 3.0)], "ended_early": "3 trials in a row failed"}
    assert failure_of(early).startswith("ended early, because 3 trials in a row failed")


@pytest.fixture(scope="module")
def ray_session():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with connected(None):
            yield


@pytest.mark.slow
def test_a_search_whose_trials_all_fail_ends_early_with_the_reason(ray_session, tmp_path):
    spec = make_spec(6, "grid", SPACE, early=False)
    options = TuneOptions(tmp_path, max_concurrent=1, wandb="off", quiet=True)
    reason = "3 trials in a row failed for the same reason: ValueError: no GPU 0"
    with pytest.raises(FailedRunError, match=f"t: ended early, because {reason}"):
        run_search(spec, options, objectives.broken)
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())
    assert [trial["state"] for trial in summary["trials"]] == 3 * ["failed"]
    assert summary["ended_early"] == reason and summary["best"] is None
    # The cause is mended: the other trials run.
    resumed = TuneOptions(tmp_path, max_concurrent=1, wandb="off", quiet=True, resume=True)
    run_search(spec, resumed, objectives.smooth)
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())
    states = [trial["state"] for trial in summary["trials"]]
    assert states == [*3 * ["failed"], *3 * ["finished"]] and "ended_early" not in summary


@pytest.mark.slow
def test_an_ablation_without_a_value_has_failed_too(ray_session, tmp_path):
    text = """
name: t
metric: {name: fd_efficientnet_lite0}
baseline: small
seeds: 2
base: {eval: {extractor: efficientnet_lite0, every_kimg: 1}, train: {total_kimg: 2}}
arms: {small: {model.ngf: 8}, smaller: {model.ngf: 4}}
"""
    options = TuneOptions(tmp_path, max_concurrent=1, wandb="off", quiet=True)
    with pytest.raises(FailedRunError, match="ended early, because 3 trials in a row"):
        run_ablation(ablation_from_text(text, "t.yaml"), options, objectives.broken)


def test_a_failed_run_has_status_1(monkeypatch, capsys):
    def failed(*arguments: object) -> None:
        raise FailedRunError("runs/demo: no trial has a value; 3 of 3 diverged: nan")

    monkeypatch.setattr("fastgan_ray.tune.search.run_search", failed)
    root = Path(__file__).parent.parent
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--config", str(root / "search_spaces" / "demo.yaml")])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "failed: runs/demo: no trial has a value; 3 of 3 diverged: nan\n"
    )
