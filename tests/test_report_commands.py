"""The commands report and compare, importances, and reports during a search."""

from __future__ import annotations

import json
import webbrowser

import optuna
import pytest
import report_runs
from command_line import call
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fastgan_ray.errors import UserError
from fastgan_ray.report.charts.slices import ENOUGH
from fastgan_ray.report.data.comparison import compare
from fastgan_ray.tune.driver import reports
from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.storage.versions import note_versions
from fastgan_ray.tune.suggest.importance import importances


def test_report_writes_the_file_and_opens_it(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    folder = report_runs.write_search(tmp_path / "x", 3)
    assert call("report", folder, "--open") == 0
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert opened == [(folder / "report.html").as_uri()]
    assert call("report", folder, "--out", tmp_path / "other.html") == 0
    assert (tmp_path / "other.html").is_file()
    assert [path.name for path in tmp_path.glob("**/.*")] == []
    assert call("report", folder, "--out", tmp_path / "new" / "x.html") == 0
    assert call("report", folder, "--out", folder / "report.html" / "x.html") == 2
    assert call("report", tmp_path) == 2
    assert "cannot be" in capsys.readouterr().err


def test_compare_shows_runs_of_one_protocol_side_by_side(tmp_path, capsys):
    a = report_runs.write_search(tmp_path / "a", 4)
    assert call("compare", a, a / "trials" / "00001", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    keys = ("what", "value", "error", "trials")
    assert [first[key] for key in keys] == ["search", 200.0, 2.0, 4]
    assert (second["what"], second["state"], second["trial"]) == ("trial", "stopped", "00001")
    assert first["default"] == 200.0 and first["memorised"] == 0.25
    assert call("compare", a, a / "trials" / "00001") == 0
    assert "200 ± 2" in capsys.readouterr().out


def test_cheap_evaluations_are_not_ranked_with_full_ones(tmp_path):
    """A trial that was stopped has only values of fewer generated pictures."""
    a = report_runs.write_search(tmp_path / "a", 4)
    metrics = a / "trials" / "00001" / "metrics.jsonl"
    early = metrics.read_text().replace(f'"{report_runs.METRIC}', f'"early/{report_runs.METRIC}')
    metrics.write_text(early)
    with pytest.raises(UserError, match=f"early/{report_runs.METRIC}"):
        compare([a, a / "trials" / "00001"])
    (entry,) = compare([a / "trials" / "00001"])
    assert entry["metric"] == f"early/{report_runs.METRIC}"


def test_different_protocols_are_refused_with_what_differs(tmp_path):
    a = report_runs.write_search(tmp_path / "a", 2)
    b = report_runs.write_search(
        tmp_path / "b", 2, protocol=report_runs.PROTOCOL | {"num_fakes": 50_000}
    )
    with pytest.raises(UserError, match="number of generated pictures: 50000 against 4"):
        compare([a, b])
    c = report_runs.write_search(tmp_path / "c", 0)
    with pytest.raises(UserError, match="no trial has a value"):
        compare([a, c])
    d = report_runs.write_ablation(tmp_path / "d")
    with pytest.raises(UserError, match="reference pictures: dogs against cats"):
        compare([d])


def study(folder, count):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    made.optimize(
        lambda trial: trial.suggest_float("x", 0, 1) + 0.001 * trial.suggest_float("y", 0, 1), count
    )


def test_importances_find_what_matters_and_need_trials(tmp_path):
    assert importances(tmp_path) is None
    study(tmp_path, ENOUGH - 1)
    few = importances(tmp_path)
    assert (
        few["values"] == {}
        and f"need {ENOUGH} finished trials; there are {ENOUGH - 1} so far" in few["note"]
    )
    (tmp_path / "study.journal").unlink()
    study(tmp_path, 40)
    result = importances(tmp_path)
    assert list(result["values"]) == ["x", "y"] and result["values"]["x"] > 0.6
    assert sum(result["values"].values()) == pytest.approx(1)
    assert result["trials"] == 40 and "40 finished trials" in result["note"]


def test_a_report_is_written_from_time_to_time_and_its_faults_stop_nothing(tmp_path, monkeypatch):
    now, written, fail = [0.0], [], []

    def write(folder):
        now[0] += 4.0
        if fail:
            raise OSError("disk full")
        written.append(now[0])

    monkeypatch.setattr(reports, "write_report", write)
    report = Reports(tmp_path, clock=lambda: now[0])
    report.refresh()
    report.refresh()
    assert len(written) == 1
    now[0] += 60  # 4 s of writing allow the next one after 80 s
    report.refresh()
    assert len(written) == 1
    now[0] += 20
    report.refresh()
    report.refresh(over=True)
    assert len(written) == 3
    assert report.describe() == f"Report:  {tmp_path / 'report.html'}"
    fail.append(True)
    report.refresh(over=True)
    assert "could not be written (OSError: disk full)" in report.describe()


def test_versions_are_noted_once_until_they_change(tmp_path):
    note_versions(tmp_path)
    note_versions(tmp_path)
    path = tmp_path / "versions.json"
    (known,) = json.loads(path.read_text())
    assert {"torch", "ray", "Python"} <= known.keys()
    path.write_text(json.dumps([known | {"torch": "0"}]))
    note_versions(tmp_path)
    assert [versions["torch"] for versions in json.loads(path.read_text())] == ["0", known["torch"]]
