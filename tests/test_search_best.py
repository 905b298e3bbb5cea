"""The search's own best generator, while best/ has one of the confirmation."""

from __future__ import annotations

import json

import pytest

from fastgan_ray.tune.rounds.search_best import restore_search_best, save_search_best


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def put(folder, source):
    """Put a generator into best/; its weights are the name of its trial."""
    best = folder / "best"
    best.mkdir(exist_ok=True)
    (best / "weights").unlink(missing_ok=True)
    (best / "weights").write_text(source)
    (best / ".source").unlink(missing_ok=True)
    (best / ".source").write_text(json.dumps([source, 4.0]))


def weights(folder):
    return (folder / "best" / "weights").read_text()


def test_the_searchs_generator_returns(folder):
    put(folder, "trials/00003")
    save_search_best(folder)
    put(folder, "confirm/trials/00001")
    save_search_best(folder)  # another confirmation: best/ is not of the search
    restore_search_best(folder, "trials/00003")
    assert weights(folder) == "trials/00003"


def test_a_better_trial_of_a_continued_search_is_not_replaced_by_an_old_copy(folder):
    put(folder, "trials/00003")
    save_search_best(folder)
    put(folder, "confirm/trials/00001")
    put(folder, "trials/00020")
    restore_search_best(folder, "trials/00020")
    assert weights(folder) == "trials/00020"


def test_a_better_trial_of_a_continued_search_is_kept_beside_another_winner(folder):
    put(folder, "trials/00003")
    save_search_best(folder)
    put(folder, "trials/00020")
    save_search_best(folder)
    put(folder, "confirm/trials/00002")
    restore_search_best(folder, "trials/00003")  # no copy of it exists any more
    assert weights(folder) == "confirm/trials/00002"
    restore_search_best(folder, "trials/00020")
    assert weights(folder) == "trials/00020"


def test_without_a_copy_nothing_changes(folder):
    restore_search_best(folder, "trials/00003")
    put(folder, "confirm/trials/00001")
    restore_search_best(folder, "trials/00003")
    assert weights(folder) == "confirm/trials/00001"
