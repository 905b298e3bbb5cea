"""Two processes with half a batch each do what one does with the whole batch."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from steps import take_step
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import ALONE, Group, PeerFailedError, TorchGroup
from fastgan_ray.train.instances import queue_tensors
from fastgan_ray.train.loop import train
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")
STEPS = {
    "hinge": 20,
    "adaptive": 12,
    "sngan": 3,
    "stylegan2": 4,
    "projected": 4,
}  # of the others 8: enough for what they are for
PATIENCE = timedelta(seconds=120)
CASES: dict[str, dict[str, Any]] = {
    "hinge": {"augment.policy": "color,translation,cutout"},
    "penalties": {
        "train.loss": "logistic",
        "train.r1_gamma": 1.0,
        "train.r2_gamma": 0.5,
        "train.r1_interval": 7,
        "train.lecam_weight": 0.3,
        "train.gradient_gap_weight": 0.1,
        "model.d_dropout": 0.3,
        "train.reconstruction_reduction": "sum",
        "train.reconstruction_weight": 1.0,
    },
    "adaptive": {
        "augment.policy": "bgc",
        "augment.ada_p": 0.4,
        "augment.ada_kimg": 0.4,
        "augment.ada_interval": 2,
        "train.loss": "relativistic",
    },
    "second views": {
        "augment.policy": "color,apa,anda,diffusion",
        "augment.ada_p": 0.5,
        "augment.ada_kimg": 0.4,
        "train.bcr_real_weight": 1.0,
        "train.bcr_fake_weight": 1.0,
        "train.zcr_d_weight": 1.0,
        "train.zcr_g_weight": 0.1,
        "train.top_k": 0.6,
        "train.instance_noise": 0.1,
    },
    "MixDL": {
        **{"train.mixdl_g_weight": 10.0, "model.d_mixdl": True, "train.d_steps": 2},
        "augment.policy": "color,translation",
    },
    "FreGAN": {
        **{"model.g_wavelet_skips": True, "model.d_high_frequency": True, "model.ngf": 3},
        **{"train.alignment_weight": 1.0, "train.d_steps": 2, "model.d_dropout": 0.3},
    },
    "CHAIN": {
        "model.d_norm": "chain",
        "train.chain_start_kimg": 0.0,
        "train.chain_target": -1.0,
        "train.chain_min_p": 0.1,
    },
    "AugSelf-GAN": {
        **{"model.self_supervision": "augself", "augment.policy": "color,translation,cutout"},
        **{"augment.probability": 0.7, "train.d_steps": 2},
    },
    "contrastive": {"model.self_supervision": "contrastive", "train.d_steps": 2},
    "InsGen": {
        **{"model.self_supervision": "insgen", "augment.policy": "color,translation"},
        **{"train.insgen_momentum": 0.5, "train.d_steps": 2},
    },
    "FakeCLR": {"model.self_supervision": "ae_fakeclr", "train.insgen_momentum": 0.9},
    "dcgan": {
        "model.architecture": "dcgan",
        "model.dcgan_depth": 3,
        "model.dcgan_width": 4,
        "train.loss": "wasserstein",
        "augment.policy": "keras,color",
        "augment.ada": "keras",
        "regan.sparsity": 0.5,
        "regan.warmup_kimg": 0.02,
        "regan.interval_kimg": 0.02,
    },
    "sngan": {"model.architecture": "sngan", "model.d_dropout": 0.3},
    "projected": {
        **{"model.discriminator": "projected", "model.d_input_px": 64, "model.d_dropout": 0.3},
        **{"train.lecam_weight": 0.3},
    },
    "stylegan2": {
        **{"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1},
        **{"train.loss": "logistic", "train.r1_gamma": 1.0, "train.r1_interval": 3},
    },
}


def trained(changes: dict[str, Any], steps: int, group: Group) -> dict[str, Tensor]:
    """Everything that some steps lead to, by name."""
    settings = tiny.config(**changes)
    state = new_state(settings, 8, CPU, group)
    copies = [state.instances.network] if state.instances is not None else []
    for network in (state.generator, state.discriminator, state.ema, *copies):
        network.to(torch.get_default_dtype())
    draw = torch.Generator().manual_seed(1)
    found = {}
    for _ in range(steps):
        batches = [batch(settings, draw, group) for _ in range(settings.train.d_steps)]
        found = take_step(state, batches, settings, DISTANCES["l1"](CPU))
    for name in ("generator", "discriminator", "ema"):
        tensors = getattr(state, name).state_dict().items()
        found |= {f"{name}.{key}": value for key, value in tensors}
    if state.instances is not None:
        found |= queue_tensors(state.instances)
    return {**found, "p": state.ada.p.clone()}


def batch(settings: RunConfig, draw: torch.Generator, group: Group) -> Tensor:
    pictures = torch.rand(settings.train.batch_size, 3, 32, 32, generator=draw) * 2 - 1
    return group.local_rows(pictures)


class Keeper(tiny.Recorder):
    """Keeps every checkpoint, where a training leaves the last."""

    def report(self, metrics: Any, checkpoint: Path) -> None:
        super().report(metrics, checkpoint)
        shutil.copytree(checkpoint, self.folder.parent / f"{self.folder.name}-{len(self.rows)}")


def whole(folder: Path, name: str, group: Group, start: Path | None = None) -> None:
    """A training by the loop, with its rows in a file; from a checkpoint if there is one."""
    keeper = Keeper(folder / name)
    train(tiny.config(**{"data.path": str(folder / "pictures")}), keeper, start, group)
    torch.save(keeper.rows, folder / f"{name}.pt")


def work(rank: int, folder: Path) -> None:
    """One process of two: trains every case, and writes down what came out."""
    begin(rank, folder)
    group = TorchGroup()
    torch.set_default_dtype(torch.float64)
    for name, changes in CASES.items():
        torch.save(trained(changes, STEPS.get(name, 8), group), folder / f"{name}-{rank}.pt")
    torch.set_default_dtype(torch.float32)
    torch.save(trained({}, 1, group), folder / f"single-{rank}.pt")
    torch.save(talk(group), folder / f"talk-{rank}.pt")
    whole(folder, f"two-{rank}", group)
    whole(folder, f"one-then-two-{rank}", group, folder / "one-1")
    dist.destroy_process_group()


def begin(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", meeting, PATIENCE, world_size=2, rank=rank)


def talk(group: Group) -> dict[str, Any]:
    """What the parts of a group's protocol answer."""
    done: list[int] = []
    group.on_rank_zero(lambda: done.append(group.size))
    try:
        group.on_rank_zero(lambda: [].index(0))
    except (ValueError, PeerFailedError) as error:
        failure = type(error)
    rows = torch.full((1, 2), float(group.rank), requires_grad=True)
    everyone = group.gather(rows)
    (slope,) = torch.autograd.grad(everyone.pow(3).sum(), rows, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), rows)
    mean = [torch.tensor([float(group.rank)]), torch.full((2, 2), 4.0)]
    group.average_(mean)
    return {
        "done": done,
        "failure": failure,
        "size": group.size,
        "any": [group.any(False), group.any(group.rank == 1)],
        "share": group.local_rows(torch.arange(4)).tolist(),
        "gather": everyone.tolist(),
        "slope": slope.tolist(),
        "curve": curve.tolist(),
        "mean": [mean[0].item(), mean[1].tolist()],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the two processes have written, and beside it what one process does alone."""
    path = tmp_path_factory.mktemp("group")
    (path / "pictures").mkdir()
    tiny.write_pictures(path / "pictures", 6)
    whole(path, "one", ALONE)
    running = mp.spawn(work, (path,), nprocs=2, join=False)
    torch.set_default_dtype(torch.float64)
    try:
        for name, changes in CASES.items():
            torch.save(trained(changes, STEPS.get(name, 8), ALONE), path / f"{name}.pt")
    finally:
        torch.set_default_dtype(torch.float32)
    torch.save(trained({}, 1, ALONE), path / "single.pt")
    while not running.join(PATIENCE.seconds):
        pass
    whole(path, "two-then-one", ALONE, path / "two-0-1")
    return path


def read(folder: Path, name: str) -> Any:
    return torch.load(folder / f"{name}.pt", weights_only=False)


@pytest.mark.parametrize("case", CASES)
def test_two_with_half_a_batch_are_one_with_the_whole_in_float64(folder, case):
    one, first, second = (read(folder, name) for name in (case, f"{case}-0", f"{case}-1"))
    assert one.keys() == first.keys() == second.keys()
    assert any(name.startswith("ema.") for name in one)
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), f"{name}: the two differ"
        torch.testing.assert_close(first[name], value, rtol=1e-8, atol=1e-8, msg=name)


def test_the_first_step_in_fp32(folder):
    """Adam turns the sign of a gradient near 0 into a whole step: of a few weights in 10,000."""
    one, two = read(folder, "single"), read(folder, "single-0")
    off, count = 0, 0
    for name, value in one.items():
        if "." in name:
            off += int(((two[name] - value).abs() > 1e-4).sum())
            count += value.numel()
        else:
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-4, msg=name)
    assert off <= 1e-4 * count


@pytest.mark.parametrize("name", ["two-0", "one-then-two-0", "two-then-one"])
def test_a_training_does_not_depend_on_how_many_take_part(folder, name):
    """Nor a checkpoint on how many have made it, or go on from it."""
    expected, rows = read(folder, "one"), read(folder, name)
    assert len(expected) == 2
    for row, other in zip(rows[::-1], expected[::-1], strict=False):
        assert row.keys() == other.keys()
        for key in ("kimg", "loss/d", "loss/g", "logits/real", "fd_efficientnet_lite0", "drift"):
            if key in other:
                assert row[key] == pytest.approx(other[key], rel=1e-2, abs=1e-3), key


def test_only_the_first_process_reports(folder):
    assert read(folder, "two-1") == []
    assert {path.name for path in folder.glob("two-1*")} == {"two-1", "two-1.pt"}
    assert not list((folder / "two-1").iterdir())


def test_the_cases_do_what_they_are_for(folder):
    """Each has moved what it is there to move: else its agreement would say nothing."""
    assert 0 < float(read(folder, "adaptive")["p"]) < 0.4
    assert {"loss/r1", "loss/r2"} <= read(folder, "penalties").keys()
    assert float(read(folder, "contrastive")["loss/contrastive"]) > 0
    queues = read(folder, "InsGen")
    assert int(queues["real.count"]) == int(queues["fake.count"]) == len(queues["real.keys"]) == 16
    pruned = read(folder, "dcgan")["generator.blocks.0.weight"]
    assert 0.4 < float((pruned == 0).double().mean()) < 0.6


def test_how_processes_talk(folder):
    first, second = (read(folder, f"talk-{rank}") for rank in (0, 1))
    assert (first["done"], second["done"]) == ([1], [])
    assert (first["failure"], second["failure"]) == (ValueError, PeerFailedError)
    assert (first["share"], second["share"]) == ([0, 1], [2, 3])
    for each in (first, second):
        assert each["size"] == 2
        assert each["any"] == [False, True]
        assert each["gather"] == [[0.0, 0.0], [1.0, 1.0]]
        assert each["mean"] == [0.5, [[4.0, 4.0], [4.0, 4.0]]]
    # Each process's loss is the sum over both rows' cubes, so that a row counts twice.
    assert second["slope"] == [[6.0, 6.0]] and second["curve"] == [[12.0, 12.0]]
    assert first["slope"] == [[0.0, 0.0]]


def test_alone_nothing_changes():
    rows = torch.arange(3)
    assert torch.equal(ALONE.local_rows(rows), rows) and ALONE.gather(rows) is rows
    assert ALONE.any(True) and not ALONE.any(False)
