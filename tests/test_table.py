"""The live table and its plain lines: the state, what is shown, and the callback."""

import io
import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import cloudpickle
from rich.console import Console

from fastgan_ray.tune.progress import (
    BAD_ENDS,
    ENDED,
    best_of,
    new_state,
    observe,
    reason_of,
    search_eta,
    state_word,
    trial_eta,
)
from fastgan_ray.tune.table import (
    Table,
    duration,
    headline,
    line,
    metric_text,
    parameters,
    progress,
    render,
    varied,
)

METRIC = "fid5k_full"


def fake_trial(number, status="RUNNING", result=None, **point):
    point = {name.replace("__", "."): value for name, value in point.items()}
    return SimpleNamespace(
        trial_id=f"{number:05d}",
        config={"number": number, "point": point, "run": {"train": {"total_kimg": 40.0}}},
        status=status,
        last_result=result or {},
        has_reported_at_least_once=bool(result),
        error_file=None,
    )


def report(kimg, value=None, outcome="running", **more):
    metric = {} if value is None else {METRIC: value, "images_per_second": 45.678}
    return {"kimg": kimg, "seconds": 1.0, "outcome": outcome, "reason": "", **metric, **more}


def start(total_trials=8, goal="minimize"):
    return new_state("fewshot", METRIC, goal, total_trials, 40.0, now=100.0)


def state_of(*trials, now=100.0, **options):
    state = start(**options)
    for trial in trials:
        state = observe(state, trial, now)
    return state


def eight_trials():
    ends = ["TERMINATED"] * 2 + ["ERROR"] + ["TERMINATED"] * 2 + ["RUNNING"] * 2 + ["PENDING"]
    outcomes = ["finished", "running", "running", "diverged", "out_of_memory"] + ["running"] * 3
    kimgs = [40.0, 4.0, 0.0, 8.0, 12.0, 24.008, 12.0, 0.0]
    policies = ["", "color,translation", "color,translation,cutout"]
    state = start()
    for i in range(8):
        point = {
            "model__ngf": [16, 32, 64][i % 3],
            "augment__policy": policies[i % 3],
            "train__lr_g": 2e-4 * 1.37**i,
            "model__nz": 256,
        }
        state = observe(state, fake_trial(i, "RUNNING", **point), 100.0, status="RUNNING")
        value = 300 / (i + 1) if kimgs[i] else None
        result = report(kimgs[i], value, outcomes[i]) if kimgs[i] else {}
        trial = fake_trial(i, ends[i], result, **point)
        trial.status = ends[i]
        state = observe(state, trial, 160.0, status=ends[i])
    return state


def text_of(state, now=200.0, width=80, rows=None):
    console = Console(file=io.StringIO(), width=width)
    console.print(render(state, now, rows))
    return console.file.getvalue()


# --- state ---


@pytest.mark.parametrize(
    ("status", "result", "expected"),
    [
        ("PENDING", {}, "pending"),
        ("PAUSED", report(4.0, 9.0), "pending"),
        ("RUNNING", report(4.0, 9.0), "running"),
        ("TERMINATED", report(40.0, 9.0), "finished"),
        ("TERMINATED", report(40.0, 9.0, "finished"), "finished"),
        ("TERMINATED", report(4.0, 9.0), "stopped"),
        ("TERMINATED", {}, "stopped"),
        ("TERMINATED", report(4.0, outcome="diverged"), "diverged"),
        ("TERMINATED", report(4.0, outcome="out_of_memory"), "out_of_memory"),
        ("TERMINATED", report(4.0, outcome="failed"), "failed"),
        ("ERROR", report(4.0, 9.0), "failed"),
        ("ERROR", {"reason": "out of memory: the machine"}, "out_of_memory"),
    ],
)
def test_states_are_words(status, result, expected):
    assert state_word(status, result, 40.0) == expected


def test_a_state_is_never_changed_in_place():
    before = start()
    after = observe(before, fake_trial(0), 100.0)
    assert before["trials"] == {} and list(after["trials"]) == ["00000"]


def test_an_end_row_without_the_metric_keeps_the_last_value():
    trial = fake_trial(0, result=report(4.0, 123.4))
    state = observe(state_of(trial), trial, 110.0, result=report(4.0, outcome="diverged"))
    assert state["trials"]["00000"]["value"] == 123.4


def test_an_ended_trial_stays_ended_until_it_starts_again():
    trial = fake_trial(0, result=report(4.0, 123.4))
    state = observe(state_of(trial), trial, 110.0, status="TERMINATED")
    state = observe(state, trial, 111.0)  # Tune still calls it RUNNING for a moment
    assert state["trials"]["00000"]["state"] == "stopped"
    state = observe(state, trial, 112.0, status="RUNNING")
    assert state["trials"]["00000"]["state"] == "running"


def test_a_trial_that_has_not_reported_is_not_asked_for_its_result():
    class Waits(SimpleNamespace):
        @property
        def last_result(self):
            raise AssertionError("Ray waits for the trial's process here")

    trial = Waits(
        trial_id="a", config={}, status="RUNNING", has_reported_at_least_once=False, error_file=None
    )
    assert state_of(trial)["trials"]["a"]["state"] == "running"


def test_best_is_chosen_as_in_the_summary():
    running = fake_trial(0, "RUNNING", report(4.0, 5.0))
    stopped = fake_trial(1, "TERMINATED", report(8.0, 10.0))
    finished = fake_trial(2, "TERMINATED", report(40.0, 20.0, "finished"))
    worse = fake_trial(3, "TERMINATED", report(40.0, 30.0, "finished"))
    diverged = fake_trial(4, "TERMINATED", report(8.0, 1.0, "diverged"))
    assert best_of(start()) is None
    assert best_of(state_of(diverged)) is None
    assert best_of(state_of(diverged, running)) == "00000"
    assert best_of(state_of(diverged, running, stopped)) == "00001"
    assert best_of(state_of(diverged, running, stopped, worse, finished)) == "00002"
    assert best_of(state_of(worse, finished, goal="maximize")) == "00003"


def test_a_trials_eta_is_what_its_pace_leaves():
    trial = fake_trial(0)
    state = observe(start(), trial, 100.0, status="RUNNING")
    assert trial_eta(state["trials"]["00000"], 120.0) is None
    state = observe(state, trial, 150.0, result=report(10.0, 99.0))  # 5 s a kimg
    assert trial_eta(state["trials"]["00000"], 150.0) == pytest.approx(150.0)
    assert trial_eta(state["trials"]["00000"], 170.0) == pytest.approx(130.0)
    assert trial_eta(state["trials"]["00000"], 900.0) == 0


def test_a_resumed_trials_pace_counts_from_where_it_resumed():
    trial = fake_trial(0, result=report(30.0, 99.0))
    state = observe(state_of(trial), trial, 100.0, status="RUNNING")
    assert trial_eta(state["trials"]["00000"], 100.0) is None
    state = observe(state, trial, 110.0, result=report(35.0, 98.0))
    assert trial_eta(state["trials"]["00000"], 110.0) == pytest.approx(10.0)


def test_the_searchs_eta_counts_this_sessions_work_only():
    old = [fake_trial(i, "TERMINATED", report(40.0, 9.0, "finished")) for i in range(4)]
    state = state_of(*old, fake_trial(4))
    assert search_eta(state, 150.0) is None
    state = observe(state, fake_trial(4, result=report(20.0, 9.0)), 150.0)  # half a trial in 50 s
    assert search_eta(state, 150.0) == pytest.approx(350.0)
    assert search_eta({**state, "total_trials": None}, 150.0) is None


def test_the_reason_of_a_dead_process_is_its_last_line(tmp_path):
    trial = fake_trial(0, "ERROR")
    assert reason_of(trial, {}) == ""
    trial.error_file = str(tmp_path / "error.txt")
    assert reason_of(trial, {}) == ""
    (tmp_path / "error.txt").write_text("Traceback\n  here\nValueError: boom\n\n")
    assert reason_of(trial, {}) == "ValueError: boom"
    assert reason_of(trial, {"reason": "its own"}) == "its own"
    (tmp_path / "error.txt").write_text(
        "Task was killed: node running low on memory.\nTo disable\n"
    )
    assert reason_of(trial, {}).startswith("out of memory")


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["PENDING", "RUNNING", "TERMINATED", "ERROR"]),
            st.sampled_from(["running", "finished", *BAD_ENDS]),
            st.floats(0, 40),
            st.none() | st.floats(-1e6, 1e6),
        ),
        max_size=12,
    ),
    width=st.integers(80, 200),
    rows=st.integers(1, 5),
)
def test_any_course_of_events_can_be_shown(steps, width, rows):
    state, now = start(), 100.0
    for number, status, outcome, kimg, value in steps:
        now += 1.0
        trial = fake_trial(number, status, report(kimg, value, outcome), model__ngf=number)
        state = observe(state, trial, now, status=status)
        assert line(state, trial.trial_id, now)
    shown = text_of(state, now, width, rows).splitlines()
    assert all(len(text) <= width for text in shown)
    assert len(shown) <= rows + 4
    assert all(row["state"] in ("pending", "running", *ENDED) for row in state["trials"].values())


# --- what is shown ---


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
    shown = re.findall(r"^\d{5}", text, re.MULTILINE)
    assert shown == ["00000", "00005", "00006"]
    assert "and 1 stopped, 1 failed, 1 diverged, 1 out_of_memory, 1 pending" in text


def test_brackets_in_values_are_text():
    state = state_of(fake_trial(0, data__path="[red]x[/]"))
    assert "path=[red]x[/]" in text_of(state)


def test_the_best_row_stands_out():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(render(eight_trials(), 200.0))
    bold = [row for row in console.file.getvalue().splitlines() if row.startswith("\x1b[1m0")]
    assert len(bold) == 1 and "00000" in bold[0]


def test_a_line_tells_what_happened():
    trial = fake_trial(3, model__ngf=32, train__lr_g=2e-4)
    state = observe(start(), trial, 100.0, status="RUNNING")
    assert line(state, "00003", 100.0) == "[0:00] trial 00003 running, ngf=32 lr_g=0.0002"
    state = observe(state, trial, 150.0, result=report(10.0, 321.09))
    assert line(state, "00003", 150.0) == (
        "[0:50] trial 00003 running, 10/40 kimg, fid5k_full 321.1, 45.7 images/s, ETA 2:30"
    )
    end = report(12.0, outcome="diverged", reason="loss/d is nan")
    trial = fake_trial(3, "TERMINATED", end)
    assert line(observe(state, trial, 160.0), "00003", 160.0) == (
        "[1:00] trial 00003 diverged, 12/40 kimg, fid5k_full 321.1, loss/d is nan"
    )


def test_short_forms():
    assert [metric_text(v) for v in (None, 0.01234, 7.06, 123.456)] == [
        "-",
        "0.0123",
        "7.1",
        "123.5",
    ]
    assert [progress(*p) for p in ((0, 4.0), (1.2345, 4.0), (120.08, 400.0))] == [
        "0/4",
        "1.2/4",
        "120/400",
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
    """The hooks in Tune's order: trials that finish, are stopped and diverge."""
    trials = [fake_trial(i, "PENDING", model__ngf=16 * (i + 1)) for i in range(3)]

    def tell(trial, result):
        table.on_trial_result(1, trials, trial, result)
        trial.last_result, trial.has_reported_at_least_once = result, True

    table.setup()
    table.on_step_begin(0, trials)
    for trial in trials:
        trial.status = "RUNNING"
        table.on_trial_start(0, trials, trial)
        tell(trial, report(4.0, 200.0))
    table.on_trial_recover(1, trials, trials[0])
    table.on_trial_start(1, trials, trials[0])
    tell(trials[0], report(4.0, 200.0))  # repeated after the retry
    tell(trials[0], report(40.0, 100.0, "finished"))
    tell(trials[2], report(4.0, outcome="diverged", reason="loss/g is inf"))
    for trial in trials:
        table.on_trial_complete(2, trials, trial)
        trial.status = "TERMINATED"
    table.on_experiment_end(trials)


def test_plain_lines_where_there_is_no_terminal():
    file = io.StringIO()
    run_through(Table("demo", METRIC, "minimize", 3, 40.0, Console(file=file, width=80)))
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


def test_a_terminal_ends_with_the_whole_table_and_the_bad_ends_above(capsys):
    file = io.StringIO()
    console = Console(file=file, width=80, height=30, force_terminal=True, color_system=None)
    run_through(Table("demo", METRIC, "minimize", 3, 40.0, console))
    last = file.getvalue().split("trial 00002 diverged")[-1]
    for words in ("00000 finished", "00001 stopped", "00002 diverged", "3 of 3 trials done"):
        assert words in last
    assert file.getvalue().endswith("\x1b[?25h")  # the cursor is back
    assert capsys.readouterr().out == ""


def test_a_pickled_table_begins_afresh():
    table = Table("demo", METRIC, "minimize", 3, 40.0, Console(file=io.StringIO()))
    run_through(table)
    restored = cloudpickle.loads(cloudpickle.dumps(table))
    assert restored.__getstate__() == table.__getstate__()
    restored.setup()
    restored.on_step_begin(0, [fake_trial(0, "TERMINATED", report(40.0, 9.0, "finished"))])
    restored.on_experiment_end([])
