"""The training loop: exact resume, reproducibility, reports, faults."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import DivergedError, UserError
from fastgan_ray.train import checkpoint, loop
from fastgan_ray.train.draws import ema_share
from fastgan_ray.train.loop import is_evaluation, total_steps, train
from fastgan_ray.train.state import new_state, update_ema


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


@pytest.fixture
def config(pictures):
    def make(**changes):
        return tiny.config(**{"data.path": str(pictures), **changes})

    return make


class Recorder(tiny.Recorder):
    """Keeps a copy of every checkpoint's weights, too, and counts steps."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.weights: list[dict] = []
        self.steps = 0

    def report(self, metrics, checkpoint):
        super().report(metrics, checkpoint)
        self.weights.append(tensors(checkpoint))

    def progress(self, kimg, seconds):
        self.steps += 1


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.stem}.{name}": tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def assert_identical(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def run(config: RunConfig, folder: Path, resume_from: Path | None = None) -> Recorder:
    recorder = Recorder(folder)
    train(config, recorder, resume_from)
    return recorder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.loss": "logistic", "train.r1_gamma": 0.5, "train.r1_interval": 3},
        {"train.precision": "bf16", "train.reconstruction": "efficientnet_lite0"},
    ],
    ids=["published", "r1", "bf16"],
)
def test_resuming_equals_never_having_stopped_bit_for_bit(config, tmp_path, changes):
    whole = run(config(**changes), tmp_path / "whole")
    half = run(config(**changes, **{"train.total_kimg": 0.008}), tmp_path / "half")
    rest = run(config(**changes), tmp_path / "rest", tmp_path / "half" / "checkpoint-000000008")
    assert half.rows[-1]["kimg"] == 0.008
    assert rest.steps == whole.steps - half.steps
    assert_identical(whole.weights[-1], rest.weights[-1])
    varying = {"seconds", "images_per_second", "grid", "pairs", "decoded", "peak_memory_gb"}
    same = whole.rows[-1].keys() - varying
    assert {key: whole.rows[-1][key] for key in same} == {key: rest.rows[-1][key] for key in same}


def test_the_same_seed_gives_the_same_run_and_another_seed_another(config, tmp_path):
    first = run(config(), tmp_path / "first")
    torch.manual_seed(99)  # the global generator plays no part
    second = run(config(), tmp_path / "second")
    other = run(config(**{"train.seed": 1}), tmp_path / "other")
    assert_identical(first.weights[-1], second.weights[-1])
    assert first.rows[-1]["fd_efficientnet_lite0"] == second.rows[-1]["fd_efficientnet_lite0"]
    assert first.rows[-1]["fd_efficientnet_lite0"] != other.rows[-1]["fd_efficientnet_lite0"]


def test_a_report_holds_everything_that_the_table_and_wandb_show(config, tmp_path):
    row = run(config(), tmp_path / "run").rows[-1]
    assert row["kimg"] == 0.016
    assert row["seconds"] > 0
    assert row["images_per_second"] > 0
    assert row["params_g"] > row["params_d"] > 0
    losses = {"loss/d", "loss/g", "loss/reconstruction"}
    logits = {"logits/real", "logits/fake", "sign/real"}
    assert all(math.isfinite(row[name]) for name in losses | logits)
    assert row["grad/g"] > 0 and row["grad/d"] > 0
    with Image.open(row["grid"]) as grid:
        assert grid.size == (6 * 34 - 2, 6 * 34 - 2)


def test_the_discriminators_decodings_are_drawn_beside_the_pictures(config, tmp_path):
    folder = tmp_path / "run"
    row = run(config(), folder).rows[-1]
    assert row["decoded"] == str(folder / "decoded" / "000000016.png")
    settings = config()
    with Image.open(row["decoded"]) as drawn:
        # two a row, each before what is decoded of the trunk, the small branch and the part
        assert drawn.size == (8 * 34 - 2, 3 * 34 - 2)
        first = torch.tensor(np.array(drawn)[:32, :32])
    images = load_images(open_source(settings.data, 0), settings.data, (32, 32))
    assert torch.equal(first, torch.tensor(images[0]))
    bare = run(config(**{"model.self_supervision": "none"}), tmp_path / "bare").rows[-1]
    assert "decoded" not in bare and "reconstruction" not in bare
    assert not (tmp_path / "bare" / "decoded").exists()


def test_only_the_last_and_the_best_checkpoint_stay(config, tmp_path):
    run(config(), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").glob("checkpoint-*")}
    assert names == {"checkpoint-000000016", "checkpoint-best"}
    assert not list((tmp_path / "run").glob(".checkpoint-*"))


@pytest.mark.parametrize("every", [0.004, 0.005, 0.016, 1.0])
def test_evaluations_come_at_the_first_step_past_each_multiple_and_at_the_end(config, every):
    setting = config(**{"eval.every_kimg": every})
    last = total_steps(setting)
    steps = [step for step in range(1, last + 1) if is_evaluation(step, setting)]
    expected = {-(-round(every * 1000) * k // 4) for k in range(1, 100)}
    assert steps == sorted({step for step in expected if step <= last} | {last})


def test_a_non_finite_loss_ends_the_run_and_says_when(config, tmp_path, monkeypatch):
    class Broken(loop.StepRunner):
        def __call__(self, *arguments):
            scalars = super().__call__(*arguments)
            return scalars | {"loss/g": torch.tensor(math.nan)} if self.steps == 3 else scalars

        @property
        def steps(self):
            return self._state.step

    monkeypatch.setattr(loop, "StepRunner", Broken)
    with pytest.raises(DivergedError, match=r"loss/g is not finite at step 3 \(0.012 kimg\)"):
        run(config(), tmp_path / "run")


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory):
    settings = tiny.config(**{"data.path": str(pictures)})
    out = tmp_path_factory.mktemp("run")
    run(settings, out)
    return next(out.glob("checkpoint-*"))


class TestCheckpoint:
    def copy(self, folder, to):
        to.mkdir()
        for path in folder.iterdir():
            (to / path.name).write_bytes(path.read_bytes())
        return to

    def test_a_sample_does_not_depend_on_its_batch(self, folder):
        generator, config = checkpoint.load_generator(folder)
        z_BZ = torch.randn(8, config.model.nz, generator=torch.Generator().manual_seed(0))
        together = generator(z_BZ)[0]
        alone = torch.cat([generator(z[None])[0] for z in z_BZ])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", ["ema.safetensors", "optimizer_g.safetensors"])
    @pytest.mark.parametrize("damage", ["truncated", "missing", "overwritten"])
    def test_damage_is_named(self, folder, config, tmp_path, name, damage):
        broken = self.copy(folder, tmp_path / "broken")
        content = (broken / name).read_bytes()
        (broken / name).unlink()
        if damage == "truncated":
            (broken / name).write_bytes(content[: len(content) // 2])
        elif damage == "overwritten":
            (broken / name).write_bytes(b"\xff" * 100)
        state = new_state(config(), 6, torch.device("cpu"))
        with pytest.raises(UserError, match=rf"{name}.*missing, truncated or damaged"):
            checkpoint.restore(broken, state, config())

    def test_another_shape_is_named(self, folder, config, tmp_path):
        other = config(**{"model.ngf": 8})
        state = new_state(other, 6, torch.device("cpu"))
        with pytest.raises(UserError, match=r"model\.ngf is 4 in the checkpoint and 8 now"):
            checkpoint.restore(folder, state, other)

    def test_a_tensor_of_another_shape_is_named(self, folder, config, tmp_path):
        broken = self.copy(folder, tmp_path / "broken")
        metadata = json.loads((broken / "metadata.json").read_text())
        metadata["config"]["model"]["ngf"] = 8
        (broken / "metadata.json").write_text(json.dumps(metadata))
        with pytest.raises(UserError, match=r"does not fit .*must have shape"):
            checkpoint.load_generator(broken)

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "other"}', '{"format": 1}'])
    def test_metadata_that_is_not_ours_is_refused(self, tmp_path, content):
        (tmp_path / "metadata.json").write_text(content)
        with pytest.raises(UserError, match=r"metadata\.json"):
            checkpoint.load_generator(tmp_path)

    def test_a_failed_save_leaves_the_older_checkpoint(self, folder, config, tmp_path, monkeypatch):
        copy = self.copy(folder, tmp_path / "c")
        before = tensors(copy)
        state = new_state(config(), 6, torch.device("cpu"))

        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoint, "save_file", full)
        with pytest.raises(UserError, match="No space"):
            checkpoint.save(copy, state, config(), {})
        assert_identical(before, tensors(copy))
        assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_the_average_follows_its_halflife(config):
    settings = config(**{"train.ema_halflife_kimg": 0.04})
    state = new_state(settings, 6, torch.device("cpu"))
    for weight in state.generator.parameters():
        weight.data.fill_(1.0)
    for average in state.ema.parameters():
        average.data.fill_(0.0)
    for _ in range(10):  # 10 steps of 4 images are one half-life
        state.step += 1
        update_ema(state, ema_share(settings, state.step))
    for average in state.ema.parameters():
        torch.testing.assert_close(average, torch.full_like(average, 0.5))


def test_published_halflife_is_the_published_decay():
    train_section = RunConfig().train
    decay = 0.5 ** (train_section.batch_size / (train_section.ema_halflife_kimg * 1000))
    assert math.isclose(decay, 0.999, rel_tol=1e-12)
