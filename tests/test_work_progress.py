"""Progress of long work: plain lines, a bar, and what a training tracks."""

import io

import tiny
from rich.console import Console

from fastgan_ray import progress
from fastgan_ray.train.loop import train


def test_plain_lines_come_every_ten_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    for _ in progress.track_on(Console(file=out, width=80))(range(30), "reading"):
        now[0] += 1
    assert out.getvalue().splitlines() == [
        "reading: 10 of 30, about 20 s left",
        "reading: 20 of 30, about 10 s left",
    ]


def test_a_bar_is_gone_when_the_work_is_done():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    assert list(progress.track_on(console)([1, 2], "reading")) == [1, 2]
    assert "reading" in console.file.getvalue()


def test_a_training_tracks_all_work_that_is_not_training(tmp_path, monkeypatch):
    work = []

    def track(items, label):
        work.append((label, len(items)))
        return iter(items)

    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    pictures = tiny.write_pictures(tmp_path / "pictures", 4)
    config = tiny.config(**{"data.path": str(pictures), "train.total_kimg": 0.004})
    train(config, tiny.Recorder(tmp_path / "run"), track=track)
    assert [label for label, _ in work] == [
        "checking pictures",
        "features of real pictures",
        "features of mirror images",
        "shrinking pictures",
        "features of generated pictures",
        "features of generated pictures",  # the best checkpoint, on new latents
    ]
    assert all(count for _, count in work)
