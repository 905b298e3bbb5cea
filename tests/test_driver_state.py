"""The state of a search while it runs."""

from types import SimpleNamespace

import pytest
from fake_trials import fake_trial, report, start, state_of, text_of
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgan_ray.tune.driver.live_table_text import trial_line
from fastgan_ray.tune.driver.state import (
    BAD_ENDS,
    ENDED,
    best_of,
    observe,
    reason_of,
    search_eta,
    state_word,
    trial_eta,
)


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
    state = observe(state, trial, 111.0)  # Ray still calls it RUNNING for a moment
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
    # Of those that have not finished, the best value is the best, also of one that runs.
    assert best_of(state_of(diverged, running, stopped)) == "00000"
    worse_now = fake_trial(0, "RUNNING", report(4.0, 11.0))
    assert best_of(state_of(diverged, worse_now, stopped)) == "00001"
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


def test_the_searchs_eta_counts_only_the_work_since_the_driver_started():
    ended = [fake_trial(i, "TERMINATED", report(40.0, 9.0, "finished")) for i in range(4)]
    state = state_of(*ended, fake_trial(4))
    assert search_eta(state, 150.0) is None
    state = observe(state, fake_trial(4, result=report(20.0, 9.0)), 150.0)  # half a trial in 50 s
    assert search_eta(state, 150.0) == pytest.approx(350.0)
    assert search_eta({**state, "total_trials": None}, 150.0) is None


def test_the_search_does_not_end_before_its_running_trials():
    stopped = [fake_trial(i, "TERMINATED", report(4.0, 9.0, "stopped")) for i in range(9)]
    state = observe(start(), fake_trial(9), 100.0, status="RUNNING")
    for trial in stopped:
        state = observe(state, fake_trial(int(trial.trial_id)), 100.0, status="RUNNING")
        state = observe(state, trial, 110.0, status="TERMINATED")
    state = observe(state, fake_trial(9), 110.0, result=report(1.0, 9.0))  # 10 s a kimg
    assert search_eta(state, 110.0) == trial_eta(state["trials"]["00009"], 110.0) == 390.0
    rows = {name: {**row, "state": "unfinished"} for name, row in state["trials"].items()}
    assert search_eta({**state, "trials": rows}, 110.0) is None, "nobody works on it"


def test_the_reason_of_a_dead_process_is_its_last_line(tmp_path):
    trial = fake_trial(0, "ERROR")
    assert reason_of(trial, {}) == ""
    trial.error_file = str(tmp_path / "error.txt")
    assert reason_of(trial, {}) == ""
    (tmp_path / "error.txt").write_text("Traceback\n  here\nValueError: boom\n\n")
    assert reason_of(trial, {}) == "ValueError: boom"
    deaths = "Failure # 1 (occurred at x)\nlow on memory\nFailure # 2 (occurred at y)\nkilled\n"
    (tmp_path / "error.txt").write_text(deaths)
    assert reason_of(trial, {}) == "killed"  # the last death counts
    assert reason_of(trial, {"reason": "as reported"}) == "as reported"
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
def test_any_sequence_of_events_can_be_shown(steps, width, rows):
    state, now = start(), 100.0
    for number, status, outcome, kimg, value in steps:
        now += 1.0
        trial = fake_trial(number, status, report(kimg, value, outcome), model__ngf=number)
        state = observe(state, trial, now, status=status)
        assert trial_line(state, trial.trial_id, now)
    lines = text_of(state, now, width, rows).splitlines()
    assert all(len(text) <= width for text in lines)
    assert len(lines) <= rows + 4
    assert all(row["state"] in ("pending", "running", *ENDED) for row in state["trials"].values())
