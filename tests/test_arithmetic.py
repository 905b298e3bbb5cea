"""Which arithmetic each part of a training uses: TF32, bfloat16, and where the clock waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from steps import take_step
from torch import Tensor

from fastgan_ray.arithmetic import IEEE, float32_arithmetic, ieee_float32
from fastgan_ray.augment import pipeline
from fastgan_ray.errors import UserError
from fastgan_ray.metrics import evaluate as evaluation
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.train import loop, losses, step
from fastgan_ray.train.device import training_arithmetic, use_bf16
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def flags() -> dict[str, bool]:
    cudnn = torch.backends.cudnn
    return {
        "convolutions in TF32": cudnn.allow_tf32,
        "matrices in TF32": torch.backends.cuda.matmul.allow_tf32,
        "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic,
    }


EXACT = dict(zip(flags(), (False, False, False, True), strict=True))


@pytest.mark.parametrize(
    ("precision", "inside"),
    [("fp32", (0, 0, 0, 1)), ("auto", (1, 0, 1, 0)), ("bf16", (1, 0, 1, 0))],
)
def test_a_precision_sets_every_flag_and_puts_them_back(
    precision: str, inside: tuple[int, ...]
) -> None:
    before = flags()
    with training_arithmetic(tiny.config(**{"train.precision": precision})):
        assert list(flags().values()) == [bool(flag) for flag in inside]
    assert flags() == before


def test_metrics_are_exact_within_a_training_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, bool]] = []

    def sampled(*_: object) -> None:
        seen.append(flags())
        raise InterruptedError

    extractor = load_extractor("efficientnet_lite0", CPU)
    network = extractor.network
    watching = replace(extractor, network=lambda x: seen.append(flags()) or network(x))
    monkeypatch.setattr(evaluation, "_fake_features", sampled)
    settings: Any = tiny.config().eval
    nothing: Any = None
    with float32_arithmetic(tf32=True, benchmark=True):
        watching(torch.zeros(1, 3, 32, 32))
        with pytest.raises(InterruptedError):
            evaluation.evaluate(lambda z: z, 8, nothing, extractor, settings, CPU)
    assert seen == [EXACT, EXACT]


def test_the_protocol_says_so(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    pictures = tiny.write_pictures(tmp_path / "pictures", 4)
    recorder = tiny.Recorder(tmp_path / "run")
    tiny.train(tiny.config(**{"data.path": str(pictures)}), recorder)
    stored = (tmp_path / "run" / "checkpoint-000000016" / "metadata.json").read_text()
    assert f'"arithmetic": "{IEEE}"' in stored


@pytest.mark.parametrize(
    ("capability", "precision", "expected"),
    [
        ((7, 0), "auto", False),
        ((7, 5), "auto", False),
        ((7, 5), "fp32", False),
        ((8, 0), "auto", True),
        ((9, 0), "bf16", True),
        ((9, 0), "fp32", False),
    ],
)
def test_bf16_is_for_gpus_that_compute_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert use_bf16(tiny.config(**{"train.precision": precision}), GPU) is expected


def test_bf16_on_a_gpu_that_imitates_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UserError, match=r"train\.precision: bf16 needs .* 8\.0 .* has 7\.5"):
        use_bf16(tiny.config(**{"train.precision": "bf16"}), GPU)


def tensors_of(values: Sequence[Any]) -> list[Tensor]:
    return [
        tensor
        for value in values
        for tensor in (value if isinstance(value, list) else [value])
        if isinstance(tensor, Tensor) and tensor.is_floating_point()
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"augment.policy": "color,translation,cutout,bgc,keras", "augment.ada_p": 0.5},
        {"train.loss": "logistic", "train.r1_gamma": 1.0, "train.r2_gamma": 1.0},
        {"train.loss": "wasserstein", "model.self_supervision": "ae_contrastive"},
        {"train.loss": "relativistic", "augment.policy": ""},
    ],
    ids=["hinge", "logistic", "wasserstein", "relativistic"],
)
def test_under_bf16_everything_between_g_and_d_and_every_loss_is_in_float32(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Or else the number format would tell D which pictures are generated."""
    settings = tiny.config(**changes)
    state, seen = new_state(settings, 8, CPU), set()

    def watched(module: Any, name: str, autocast: bool) -> None:
        function = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            found = tensors_of(arguments)
            assert found and all(tensor.dtype == torch.float32 for tensor in found), name
            assert autocast or not torch.is_autocast_enabled("cpu"), name
            seen.add(name)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    watched(pipeline, "apply", autocast=False)
    watched(losses, "contrastive", autocast=False)
    watched(losses, "zero_centred_penalty", autocast=True)
    watched(step, "reconstruction_error", autocast=True)
    watched(state.discriminator, "forward", autocast=True)
    table = losses.LOSSES[settings.train.loss]

    class Game:
        discriminator, generator, penalty = table.discriminator, table.generator, table.penalty
        paired, boundary = table.paired, table.boundary

    game: Any = Game()
    for name in ("discriminator", "generator", *(["penalty"] if table.penalty else [])):
        setattr(game, name, getattr(table, name))
        watched(game, name, autocast=True)
    monkeypatch.setitem(step.LOSSES, settings.train.loss, game)
    distance = DISTANCES["l1"](CPU)

    def precise(pictures: Tensor, targets: Tensor) -> Tensor:
        assert pictures.dtype == targets.dtype == torch.float32
        return distance(pictures, targets)

    pictures = torch.rand(4, 3, 32, 32) * 2 - 1
    scalars = take_step(state, [pictures], settings, precise, bf16=True)
    assert {"apply", "forward", "discriminator", "generator", "reconstruction_error"} <= seen
    assert ("contrastive" in seen) == (settings.model.task == "contrastive")
    assert all(value.dtype == torch.float32 for value in scalars.values())


def test_the_clock_waits_for_the_device_only_where_it_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waits: list[torch.device] = []
    monkeypatch.setattr(loop, "wait_for", waits.append)
    monkeypatch.setattr(loop, "STEPS_BETWEEN_CHECKS", {})  # as on a GPU
    rows = tiny.rows_of(tmp_path)
    assert len(waits) == len(rows) == 2  # evaluations, of 4 steps
    assert all(row["images_per_second"] > 0 for row in rows)


def test_exactness_nests() -> None:
    with ieee_float32():
        assert flags() == EXACT
        with float32_arithmetic(tf32=True):
            assert flags()["convolutions in TF32"]
        assert flags() == EXACT
