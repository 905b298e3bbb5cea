"""The number of CPU threads comes from the configuration, in every command."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg  # its BLAS must be loaded to be counted
import tiny
import torch
from command_line import call
from threadpoolctl import threadpool_info

from fastgan_ray.config.resources import ResourcesConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.train.loop import train
from fastgan_ray.train.threads import cpu_threads, thread_count

TWO = {"resources.cpus": 2}


def threads() -> set[int]:
    """The numbers of threads of PyTorch and of the linear algebra of NumPy and SciPy."""
    scipy.linalg.eigvalsh(np.eye(2))
    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return {torch.get_num_threads(), *blas}


class Counter(tiny.Recorder):
    """Records the numbers of threads of a training."""

    def __init__(self, folder):
        super().__init__(folder)
        self.threads: set[int] = set()

    def progress(self, kimg, seconds):
        self.threads |= threads()

    def report(self, metrics, checkpoint):
        super().report(metrics, checkpoint)
        self.threads |= threads()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 4)


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """A checkpoint of a training with two threads."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "run.yaml").write_text(dump_run_config(tiny.config(**TWO)))
    out = folder / "out"
    assert call("train", "--config", folder / "run.yaml", "--data", pictures, "--out", out) == 0
    return out


@pytest.mark.parametrize(("cpus", "count"), [(0.5, 1), (1, 1), (3, 3), (2.9, 2)])
def test_a_thread_for_each_whole_core_and_at_least_one(cpus, count):
    resources, before = ResourcesConfig(cpus=cpus), threads()
    assert thread_count(resources) == count
    with cpu_threads(resources):
        assert threads() == {count}
    assert threads() == before


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_training_uses_the_threads_of_its_configuration(cpus, pictures, tmp_path):
    counter = Counter(tmp_path / "run")
    train(tiny.config(**{"data.path": str(pictures), "resources.cpus": cpus}), counter)
    assert counter.threads == {cpus}


def count_threads(function: str, monkeypatch) -> set[int]:
    """Return a set that will have the numbers of threads when a function is called."""
    module, _, name = f"fastgan_ray.{function}".rpartition(".")
    original, counts = getattr(__import__(module, fromlist=[name]), name), set()

    def counted(*arguments, **options):
        counts.update(threads())
        return original(*arguments, **options)

    monkeypatch.setattr(f"{module}.{name}", counted)
    return counts


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (("sample", "--seeds", "0", "--out", "a.png"), "latent.sample.sample"),
        (("interpolate", "--frames", "2", "--seeds", "0,1"), "latent.sample.generate"),
        (("mix", "--rows", "0", "--columns", "1"), "latent.mix.mix_grid"),
        (("neighbours", "--seeds", "0"), "latent.neighbours.nearest_pictures"),
        (("evaluate",), "latent.measure.evaluate"),
        (("export", "--out", "exported"), "latent.export.latents"),
    ],
)
def test_the_other_commands_too(command, function, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, counts = threads(), count_threads(function, monkeypatch)
    name, *options = command
    assert call(name, trained, *options) == 0
    assert counts == {2}
    assert threads() == before


def test_looking_at_pictures_too(pictures, tmp_path, monkeypatch):
    counts = count_threads("report.data.pictures.picture_facts", monkeypatch)
    setting = ("--set", "resources.cpus=2")
    assert call("data", pictures, "--out", tmp_path / "data.html", *setting) == 0
    assert counts == {2}
