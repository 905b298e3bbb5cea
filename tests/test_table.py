"""The live table and its plain lines: their text, and the callback."""

import io
import re

from fake_trials import METRIC, eight_trials, fake_trial, report, start, state_of, text_of
from rich.console import Console

from fastgan_ray.report.text import number
from fastgan_ray.search.expected import EXPECTED
from fastgan_ray.tune.driver.live_table import LiveTable
from fastgan_ray.tune.driver.live_table_text import (
    duration,
    headline,
    progress,
    render,
    trial_line,
)
from fastgan_ray.tune.driver.parameters_text import parameters, varied
from fastgan_ray.tune.driver.state import best_of, new_state, observe, with_predictions

# --- the text ---


def test_eighty_columns_show_every_number_whole():
    text = text_of(eight_trials())
    assert all(len(row) <= 80 for row in text.splitlines())
    assert "fewshot: 5 of 8 trials done, 1:40 elapsed, about" in text
    assert "fid5k_full (lower is better), best 300.0 by 00000" in text
    rows = {row[:5]: row for row in text.splitlines() if re.match(r"\d{5} ", row)}
    assert rows["00000"].split()[:5] == ["00000", "finished", "40/40", "300.0*", "45.7"]
    assert rows["00004"].split()[:5] == ["00004", "out_of_memory", "12/40", "60.0", "45.7"]
    assert rows["00005"].split()[:5] == ["00005", "running", "24/40", "50.0", "45.7"]
    assert "ngf=16 lr_g=0.0002" in rows["00000"] and "nz=" not in text
    assert rows["00007"].split()[:3] == ["00007", "pending", "0/40"]


def test_a_wide_terminal_shows_parameters_whole():
    assert "ngf=64 lr_g=0.000375 policy=col,tra,cut" in text_of(eight_trials(), width=120)


def test_a_long_metric_name_fits():
    state = {**eight_trials(), "metric": "fd_efficientnet_lite0"}
    assert re.search(r"kimg +fd +img/s", text_of(state))


def test_a_short_terminal_shows_best_and_running_and_counts_the_rest():
    text = text_of(eight_trials(), rows=3)
    names = re.findall(r"^\d{5}", text, re.MULTILINE)
    assert names == ["00000", "00005", "00006"]
    assert "and 1 stopped, 1 failed, 1 diverged, 1 out_of_memory, 1 pending" in text


def test_brackets_in_values_are_text():
    state = state_of(fake_trial(0, data__path="[red]x[/]"))
    assert "path=[red]x[/]" in text_of(state)


def test_the_best_row_stands_out():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(render(eight_trials(), 200.0))
    bold = [row for row in console.file.getvalue().splitlines() if row.startswith("\x1b[1m0")]
    assert len(bold) == 1 and "00000" in bold[0]


def test_a_line_says_what_happened():
    trial = fake_trial(3, model__ngf=32, train__lr_g=2e-4)
    state = observe(start(), trial, 100.0, status="RUNNING")
    assert trial_line(state, "00003", 100.0) == "[0:00] trial 00003 running, ngf=32 lr_g=0.0002"
    state = observe(state, trial, 150.0, result=report(10.0, 321.09))
    assert trial_line(state, "00003", 150.0) == (
        "[0:50] trial 00003 running, 10/40 kimg, fid5k_full 321.1, 45.7 images/s, ETA 2:30"
    )
    end = report(12.0, outcome="diverged", reason="loss/d is nan")
    trial = fake_trial(3, "TERMINATED", end)
    assert trial_line(observe(state, trial, 160.0), "00003", 160.0) == (
        "[1:00] trial 00003 diverged, 12/40 kimg, fid5k_full 321.1, loss/d is nan"
    )


def test_a_cell_is_shown_complete_even_if_others_share_its_values():
    def running(number, arm):
        trial = fake_trial(number)
        trial.config["point"] = {"arm": arm, "data": "cats", "seed": 0}
        return trial

    state = observe(state_of(running(0, "plain")), running(1, "good"), 100.0)
    line = trial_line(state, "00001", 100.0)
    assert "arm=good" in line and "seed=0" in line


def test_short_forms():
    assert [number(v) for v in (None, 0.01234, 7.06, 123.456)] == [
        "-",
        "0.0123",
        "7.1",
        "123.5",
    ]
    positions = ((0, 4.0), (1.2345, 4.0), (120.08, 400.0), (0.016, 0.03), (0.25, 0.6))
    assert [progress(*position) for position in positions] == [
        "0/4",
        "1.2/4",
        "120/400",
        "0.016/0.03",
        "0.25/0.6",
    ]
    assert [duration(s) for s in (None, 5, 65.9, 3725, 200000)] == [
        "-",
        "0:05",
        "1:05",
        "1:02:05",
        "2d 7h",
    ]
    assert parameters({"a.x": 1, "b.x": 2.0, "a.w": [8, 16]}, ["a.x", "b.x", "a.w", "a.gone"]) == (
        "a.x=1 b.x=2 w=8/16"
    )
    assert varied([{"a": 1}]) == ["a"]
    assert varied([{"a": "x" * 30, "b": 1, "c": 0}, {"a": "", "b": 1, "c": 1}]) == ["c", "a"]
    assert headline(start(total_trials=None), 100.0) == "fewshot: 0 trials done, 0:00 elapsed"


# --- the callback ---


def run_through(table):
    """Call the callback in Ray's order: trials that finish, are stopped and diverge."""
    trials = [fake_trial(i, "PENDING", model__ngf=16 * (i + 1)) for i in range(3)]

    def report_result(trial, result):
        table.on_trial_result(1, trials, trial, result)
        trial.last_result, trial.has_reported_at_least_once = result, True

    table.setup()
    table.on_step_begin(0, trials)
    for trial in trials:
        trial.status = "RUNNING"
        table.on_trial_start(0, trials, trial)
        report_result(trial, report(4.0, 200.0))
    table.on_trial_recover(1, trials, trials[0])
    table.on_trial_start(1, trials, trials[0])
    report_result(trials[0], report(4.0, 200.0))  # repeated after the retry
    report_result(trials[0], report(40.0, 100.0, "finished"))
    report_result(trials[2], report(4.0, outcome="diverged", reason="loss/g is inf"))
    for trial in trials:
        table.on_trial_complete(2, trials, trial)
        trial.status = "TERMINATED"
    table.on_experiment_end(trials)


def test_plain_lines_where_there_is_no_terminal():
    file = io.StringIO()
    run_through(LiveTable("demo", METRIC, "minimize", 3, 40.0, Console(file=file, width=80)))
    lines = [text.split("] ")[-1].rstrip() for text in file.getvalue().splitlines()]
    assert [text.split()[:2] for text in lines[-3:]] == [  # the table
        ["00000", "finished"],
        ["00001", "stopped"],
        ["00002", "diverged"],
    ]
    assert lines[:13] == [
        "trial 00000 running, ngf=16",
        "trial 00000 running, 4/40 kimg, fid5k_full 200.0, 45.7 images/s, ETA 0:00",
        "trial 00001 running, ngf=32",
        "trial 00001 running, 4/40 kimg, fid5k_full 200.0, 45.7 images/s, ETA 0:00",
        "trial 00002 running, ngf=48",
        "trial 00002 running, 4/40 kimg, fid5k_full 200.0, 45.7 images/s, ETA 0:00",
        "trial 00000 pending, 4/40 kimg, fid5k_full 200.0",
        "trial 00000 running, 4/40 kimg, fid5k_full 200.0, 45.7 images/s, ngf=16",
        "trial 00000 running, 40/40 kimg, fid5k_full 100.0, 45.7 images/s",
        "trial 00000 finished, 40/40 kimg, fid5k_full 100.0",
        "trial 00001 stopped, 4/40 kimg, fid5k_full 200.0",
        "trial 00002 diverged, 4/40 kimg, fid5k_full 200.0, loss/g is inf",
        "demo: 3 of 3 trials done, 0:00 elapsed",
    ]


def test_a_terminal_ends_with_the_complete_table_and_failed_trials_above(capsys):
    file = io.StringIO()
    console = Console(file=file, width=80, height=30, force_terminal=True, color_system=None)
    run_through(LiveTable("demo", METRIC, "minimize", 3, 40.0, console))
    last = file.getvalue().split("trial 00002 diverged")[-1]
    for words in ("00000 finished", "00001 stopped", "00002 diverged", "3 of 3 trials done"):
        assert words in last
    assert file.getvalue().endswith("\x1b[?25h")  # the cursor is back
    assert capsys.readouterr().out == ""


def test_the_published_default_and_the_points_of_a_grid_are_named():
    default = {"model.ngf": 16}
    state = new_state("t", METRIC, "minimize", 4, 40.0, 100.0, default, grid_points=12)
    for index, ngf in enumerate((32, 16, 64)):
        trial = fake_trial(index, model__ngf=ngf)
        state = observe(state, trial, 100.0, report(4.0, 9.0 - (ngf == 16)), "RUNNING")
    line = trial_line(state, "00001", 100.0)
    assert line.startswith("[0:00] trial 00001 (published default) running")
    assert trial_line(state, "00002", 100.0).startswith("[0:00] trial 00002 running")
    text = text_of(state, width=100)
    assert "best 8.0 by 00001 (published default)" in text
    assert "t: 0 of 4 trials done (the grid has 12 points), 1:40 elapsed" in text
    (row,) = (row for row in text.splitlines() if row.startswith("00001"))
    assert "default: ngf=16" in row and text.count("default: ") == 1


def test_a_search_that_ends_before_its_last_trial_has_no_time_left():
    state = new_state("t", METRIC, "minimize", 6, 40.0, 0.0)
    for index in range(2):
        state = observe(state, fake_trial(index), 0.0, None, "RUNNING")
        state = observe(state, fake_trial(index), 60.0, report(40.0, 9.0, "finished"), "TERMINATED")
    assert re.search(r"2 of 6 trials done, 1:40 elapsed, about .* left", headline(state, 100.0))
    assert headline({**state, "over": True}, 100.0) == "t: 2 of 6 trials done, 1:40 elapsed"


def test_a_resumed_search_that_had_ended_says_that_nothing_is_left():
    file = io.StringIO()
    table = LiveTable("demo", METRIC, "minimize", 2, 40.0, Console(file=file, width=80))
    ended = [fake_trial(n, "TERMINATED", report(40.0, 9.0 + n, "finished")) for n in range(2)]
    table.setup()
    table.on_experiment_end(ended)
    lines = file.getvalue().splitlines()
    assert lines[0].strip() == "demo: 2 of 2 trials done, nothing left to do"
    assert [line.split()[:2] for line in lines[-2:]] == [
        ["00000", "finished"],
        ["00001", "finished"],
    ]
    run_through(table := LiveTable("demo", METRIC, "minimize", 3, 40.0, Console(file=file)))
    assert "nothing left to do" not in file.getvalue().split("trial 00000")[-1]


def test_expected_values_and_chances_have_columns_once_they_are_known():
    state = eight_trials()
    assert "chance" not in [column.header for column in render(state, 200.0).columns]
    name = best_of(state)
    record = dict(zip(EXPECTED, (220.0, 210.0, 231.0, 0.46), strict=True))
    table = render(with_predictions(state, {name: record}), 200.0)
    cells = {column.header: list(column.cells) for column in table.columns}
    assert [cell for cell in cells["expected"] if cell] == ["220 [210, 231]"]
    assert [cell for cell in cells["chance"] if cell] == ["46 %"]
