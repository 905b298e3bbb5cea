"""Every setting of a network, a loss or an augmentation, in one table: it can be searched and
ablated, builds, trains with finite gradients, and resumes bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tiny
import torch
import yaml
from torch import Tensor

from fastgan_ray.augment.ada import CONTROLLERS
from fastgan_ray.augment.pipeline import OPS
from fastgan_ray.config.aspects import ASPECTS
from fastgan_ray.config.data import CHANNELS
from fastgan_ray.config.model_values import SelfSupervision
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.models import ARCHITECTURES
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.file.parameters import may_be_searched
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import run_config
from fastgan_ray.search.space import assign
from fastgan_ray.train import checkpoint
from fastgan_ray.train.batches import Pictures
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.instances import queue_tensors
from fastgan_ray.train.loop import take_batches
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.perceptual import DISTANCES, load_distance
from fastgan_ray.train.regan import DENSE, SPARSE, phase_of
from fastgan_ray.train.state import TrainState, new_state
from fastgan_ray.train.step import train_step

CPU = torch.device("cpu")
BASE = {**tiny.SETTINGS, "train.batch_size": 2}
PICTURES = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 4), dtype=np.uint8)
DCGAN = {"model.architecture": "dcgan", "model.dcgan_depth": 3, "model.dcgan_width": 4}
SNGAN = {"model.architecture": "sngan"}
STYLEGAN2 = {"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1}
HOSTS = (DCGAN, SNGAN, STYLEGAN2)
PENALTIES = {"train.r1_gamma": 1.0, "train.r2_gamma": 0.5, "train.r1_interval": 1}
# Steps of 2 images: sparse from the first, dense from the fourth.
REGAN = {"regan.sparsity": 0.5, "regan.warmup_kimg": 0.0, "regan.interval_kimg": 0.006}
ADA = {"augment.policy": "bgc", "augment.ada_interval": 1, "augment.ada_kimg": 0.01}
FREGAN = {
    **{"model.g_wavelet_skips": True, "model.d_high_frequency": True},
    "train.alignment_weight": 1.0,
}
PROJECTED = {"model.discriminator": "projected", "model.d_input_px": 64}

# One entry for each way that a run can be, by a name of its own.
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    **{f"loss {name}": {"train.loss": name} for name in LOSSES},
    **{
        f"reconstruction {name}": {"train.reconstruction": name}
        for name in DISTANCES
        if name != "lpips_vgg"  # needs a download
    },
    **{
        f"{kind} self-supervision": {"model.self_supervision": kind}
        for kind in get_args(SelfSupervision)
    },
    "AugSelf-GAN": {
        **{"model.self_supervision": "augself", "augment.policy": "cutout,color,translation"},
        **{"augment.probability": 0.5, "train.augself_d_weight": 0.5, "train.d_steps": 2},
        **{"train.augself_g_weight": 0.2, "data.mode": "grey"},
    },
    "AugSelf-GAN with every penalty": {
        **{"model.self_supervision": "ae_augself", "augment.policy": "color,anda,apa,diffusion"},
        **{**PENALTIES, "train.loss": "wasserstein", "train.bcr_fake_weight": 1.0},
        **{"augment.ada_p": 0.5, "model.d_dropout": 0.2, "train.precision": "bf16"},
    },
    "AugSelf-GAN without G's part": {
        **{"model.self_supervision": "augself", "train.augself_g_weight": 0.0},
        **{"train.gradient_checkpointing": True, "train.top_k": 0.5, "model.aspect": "2:3"},
    },
    "InsGen": {
        **{"model.self_supervision": "insgen", "augment.policy": "color,apa,anda,diffusion"},
        **{"augment.ada_p": 0.5, "train.d_steps": 2, "train.insgen_d_fake_weight": 0.5},
        **{"train.insgen_d_real_weight": 0.2, "train.insgen_g_weight": 0.3, "data.mode": "grey"},
        **{"train.insgen_temperature": 0.1, "train.insgen_momentum": 0.5, "train.top_k": 0.5},
        **{"train.insgen_noise": 0.5, "train.insgen_queue": 1.0, "model.aspect": "2:3"},
    },
    "FakeCLR with every penalty": {
        **{**PENALTIES, "train.loss": "wasserstein", "model.self_supervision": "ae_fakeclr"},
        **{"train.insgen_forgetting": 3.0, "model.d_dropout": 0.2, "train.precision": "bf16"},
        **{"train.instance_noise": 0.1, "train.bcr_fake_weight": 1.0},
    },
    "FakeCLR without G's part": {
        **{"model.self_supervision": "fakeclr", "train.insgen_g_weight": 0.0},
        **{"train.gradient_checkpointing": True, "augment.policy": ""},
    },
    "InsGen with CHAIN": {
        **{"model.self_supervision": "insgen", "model.d_norm": "chain"},
        **{"train.chain_start_kimg": 0.0, "train.chain_target": -1.0},
    },
    "FakeCLR with frozen blocks": {
        **{"model.self_supervision": "fakeclr", "model.d_mixdl": True, "train.mixdl_interval": 1},
        **{"train.init_from": "runs/heads", "train.freeze_d": 2},
    },
    "contrastive settings": {
        "model.self_supervision": "contrastive",
        "train.contrastive_weight": 0.5,
        "train.contrastive_temperature": 0.5,
    },
    **{f"without {name}": {f"model.{name}": False} for name in ("g_sle_4", "g_noise", "d_sle")},
    **{f"without {name}": {f"model.{name}": False} for name in ("g_sle_8", "g_sle_16", "g_sle_32")},
    **{f"without {name}": {f"model.{name}": False} for name in ("decode_full", "decode_small")},
    "without spectral norm": {"model.spectral_norm": False},
    "without small branch": {"model.d_small": False, "model.decode_small": False},
    "centre part": {"model.decode_part": "centre"},
    "no part": {"model.decode_part": "none"},
    "no tanh": {"model.output_activation": "none"},
    "dropout": {"model.d_dropout": 0.3},
    **{f"{kind} blocks in G": {"model.g_blocks": kind} for kind in ("single", "double")},
    "projected": PROJECTED,
    **{
        f"projected, {name}": {**PROJECTED, **settings}
        for name, settings in {
            "penalties": {**PENALTIES, "train.loss": "wasserstein"},
            "contrastive": {"model.self_supervision": "contrastive"},
            "augself": {"model.self_supervision": "augself"},
            "other forms": {
                **{"model.d_features": "efficientnet_lite2", "model.d_input_px": 70},
                **{"model.d_norm": "none", "model.d_dropout": 0.3, "model.d_slope": 0.0},
                **{"data.mode": "grey", "model.aspect": "4:3", "model.g_blocks": "single"},
            },
            "bf16": {"train.precision": "bf16"},
            "frozen blocks": {"train.init_from": "runs/heads", "train.freeze_d": 1},
            "Re-GAN and ADA": {**REGAN, **ADA, "train.d_steps": 2},
            "gradient checkpointing": {"train.gradient_checkpointing": True},
            "gradient gap": {"train.gradient_gap_weight": 500.0, "train.lecam_weight": 0.3},
        }.items()
    },
    "no batch norm in D": {"model.d_norm": "none", "model.d_slope": 0.1},
    "no batch norm in D, penalties": {"model.d_norm": "none", **PENALTIES},
    "no batch norm in D, bf16": {"model.d_norm": "none", "train.precision": "bf16"},
    **{
        f"{norm} norm in D, {name}": {"model.d_norm": norm, **settings}
        for norm in ("instance", "group", "chain")
        for name, settings in {
            "penalties": PENALTIES,
            "bf16": {"train.precision": "bf16", "train.d_steps": 2},
        }.items()
    },
    "dcgan with instance norm in D": {**DCGAN, "model.d_norm": "instance"},
    "CHAIN from the first step": {
        **{"model.d_norm": "chain", "train.chain_start_kimg": 0.0, "train.chain_target": -1.0},
        **{"train.chain_min_p": 0.1, "train.chain_weight": 5.0, "model.d_dropout": 0.2},
    },
    "widths": {"model.g_channels": [9, 7, 5, 3], "model.d_channels": [8, 6, 4]},
    "base widths": {
        "model.ngf": 3,
        "model.ndf": 2,
        "model.nz": 5,
        "model.decoder_width": 3,
    },
    **{f"architecture {name}": {**DCGAN, "model.architecture": name} for name in ARCHITECTURES},
    **{
        f"{host['model.architecture']} {name}": {**host, **settings}
        for host in HOSTS
        for name, settings in {
            "contrastive": {"model.self_supervision": "contrastive"},
            "augself": {"model.self_supervision": "augself"},
            "insgen": {"model.self_supervision": "insgen"},
            "with penalties": {**PENALTIES, "train.loss": "wasserstein"},
            "under Re-GAN": REGAN,
            "with dropout, bf16": {"model.d_dropout": 0.3, "train.precision": "bf16"},
            "adaptive": {**ADA, "train.d_steps": 2},
        }.items()
    },
    "stylegan2 without noise": {**STYLEGAN2, "model.g_noise": False, "train.batch_size": 4},
    "stylegan2 with lazy R1": {
        **STYLEGAN2,
        "train.loss": "logistic",
        "train.r1_gamma": 1.0,
        "train.r1_interval": 2,
        "train.batch_size": 3,
    },
    "sngan at 64 px": {**SNGAN, "model.resolution": 64, "model.output_activation": "none"},
    "sngan without spectral norm": {**SNGAN, "model.spectral_norm": False},
    **{
        f"dcgan with {way} upsampling": {**DCGAN, "model.dcgan_upsampling": way}
        for way in ("nearest", "bilinear")
    },
    "dcgan in other forms": {
        **{**DCGAN, **REGAN, "model.dcgan_upsampling": "nearest", "model.dcgan_init": "normal"},
        **{"model.d_norm": "none", "model.d_slope": 0.0},
    },
    "resolution 64": {"model.resolution": 64},
    "d steps": {"train.d_steps": 2},
    "r1": {"train.r1_gamma": 1.0, "train.r1_interval": 1},
    "r2": {"train.r2_gamma": 1.0, "train.r1_interval": 1},
    "R3GAN": {"train.loss": "relativistic", **PENALTIES},
    "LeCam": {"train.lecam_weight": 0.3, "train.lecam_decay": 0.9},
    "gradient gap": {"train.gradient_gap_weight": 500.0},
    "APA": {**ADA, "augment.policy": "color,apa", "augment.ada_p": 0.5},
    "ANDA": {**ADA, "augment.policy": "anda,translation", "augment.ada_p": 0.5},
    "diffusion": {**ADA, "augment.policy": "color,diffusion", "augment.ada_p": 0.5},
    "APA and ANDA without a controller": {
        "augment.policy": "apa,anda",
        "augment.ada": "none",
        "augment.ada_p": 0.5,
        "train.d_steps": 2,
    },
    "bCR": {"train.bcr_real_weight": 10.0, "train.bcr_fake_weight": 10.0},
    "zCR": {"train.zcr_d_weight": 5.0, "train.zcr_g_weight": 0.5, "train.zcr_noise": 0.1},
    "MixDL": {
        **{"train.mixdl_g_weight": 125.0, "train.mixdl_d_weight": 0.5, "train.mixdl_interval": 1},
        "model.d_mixdl": True,
    },
    **{
        f"MixDL in {host['model.architecture']}": {
            **{**host, "train.mixdl_g_weight": 125.0, "model.d_mixdl": True},
            **{
                "train.mixdl_interval": 1,
                "train.batch_size": 4,
                "train.d_steps": 2,
                "model.self_supervision": "contrastive",
            },
        }
        for host in HOSTS
    },
    "MixDL, projected": {
        **{**PROJECTED, "model.d_mixdl": True, "train.mixdl_interval": 1},
        "train.precision": "bf16",
    },
    "MixDL in G, gradient checkpointing": {
        **{"train.mixdl_g_weight": 125.0, "train.gradient_checkpointing": True, **REGAN},
        **{"train.mixdl_interval": 1, "augment.policy": "color,anda", "augment.ada_p": 0.5},
    },
    "FreGAN": FREGAN,
    **{
        f"FreGAN, {name}": {**FREGAN, **settings}
        for name, settings in {
            "bf16": {"train.precision": "bf16", "model.ngf": 3, "train.d_steps": 2},
            "every penalty": {**PENALTIES, "train.loss": "wasserstein", "model.d_dropout": 0.3},
            "64 px": {"model.resolution": 64, "model.d_channels": [9, 6, 8, 2]},
            "2:3": {"model.aspect": "2:3", "model.d_norm": "chain", "augment.policy": "apa"},
            "Re-GAN": {**REGAN, "train.gradient_checkpointing": True, "data.mode": "grey"},
            "MixDL": {"train.mixdl_interval": 1, "model.d_mixdl": True},
            "InsGen": {"model.self_supervision": "ae_insgen"},
        }.items()
    },
    "wavelet skips": {"model.g_wavelet_skips": True, "model.g_blocks": "single"},
    "wavelet skips, projected": {**PROJECTED, "model.g_wavelet_skips": True},
    "high frequencies in D": {
        **{"model.d_high_frequency": True, "model.d_small": False, "model.decode_small": False},
        "train.loss": "relativistic",
    },
    "alignment": {"train.alignment_weight": 0.5, "train.top_k": 0.5},
    "top-k": {"train.top_k": 0.5, "train.batch_size": 3},
    "instance noise": {"train.instance_noise": 0.1},
    "every second view": {
        **PENALTIES,
        "augment.policy": "bgc,apa",
        "augment.ada_p": 0.3,
        "train.loss": "relativistic",
        "train.bcr_real_weight": 1.0,
        "train.zcr_g_weight": 0.1,
        "train.top_k": 0.6,
        "train.instance_noise": 0.05,
        "model.d_dropout": 0.2,
    },
    "LeCam and every penalty": {
        **PENALTIES,
        "train.lecam_weight": 0.3,
        "train.gradient_gap_weight": 500.0,
        "train.d_steps": 2,
    },
    "penalties without small branch": {
        **PENALTIES,
        "train.loss": "wasserstein",
        "train.gp_weight": 1.0,
        "model.d_small": False,
        "model.decode_small": False,
    },
    "plain hinge": {"train.label_noise": 0.0},
    "summed reconstruction": {
        "train.reconstruction_reduction": "sum",
        "train.reconstruction_weight": 1.0,
    },
    "schedules": {
        **{**ADA, **PENALTIES, "augment.ada": "none", "train.lecam_weight": 0.3},
        "train.lr_g": {"from": 0.0, "to": 1e-3, "over_kimg": 0.004, "shape": "cosine"},
        "train.beta2": {"from": 0.9, "to": 0.99, "over_kimg": 0.004, "shape": "linear"},
        "train.r1_gamma": {"from": 2.0, "to": 0.2, "over_kimg": 0.004, "shape": "log"},
        "train.ema_halflife_kimg": {"from": 0.0, "to": 0.1, "over_kimg": 0.004, "shape": "cosine"},
        "augment.ada_p": {"from": 0.0, "to": 0.3, "over_kimg": 0.004, "shape": "cosine"},
    },
    "schedules under Re-GAN": {
        **REGAN,
        "regan.sparsity": {"from": 0.0, "to": 0.5, "over_kimg": 0.001, "shape": "linear"},
        "regan.dense_lr_factor": {"from": 1.0, "to": 0.1, "over_kimg": 0.01, "shape": "log"},
    },
    "average": {"train.ema_halflife_kimg": 0.01, "train.ema_rampup": 0.5},
    "optimisers": {
        "train.lr_g": 1e-3,
        "train.lr_d": 3e-4,
        "train.beta1": 0.0,
        "train.beta2": 0.9,
        "train.batch_size": 3,
        "train.seed": 4,
    },
    "bf16": {"train.precision": "bf16"},
    "gradient checkpointing": {"train.gradient_checkpointing": True, **PENALTIES},
    "bf16 with every penalty": {
        "train.precision": "bf16",
        **PENALTIES,
        "train.loss": "wasserstein",
    },
    "no augmentation": {"augment.policy": ""},
    **{f"augment {op}": {"augment.policy": op, "augment.ada_p": 0.5} for op in OPS},
    **{f"ada {name}": {**ADA, "augment.ada": name} for name in (*CONTROLLERS, "none")},
    "augment strengths": {
        "augment.policy": "cutout,color,translation",
        "augment.probability": 0.5,
        "augment.brightness": 0.2,
        "augment.saturation": 0.3,
        "augment.contrast": 0.2,
        "augment.translation": 0.2,
        "augment.cutout": 0.25,
    },
    "keras strengths": {
        **ADA,
        **{"augment.policy": "keras", "augment.ada": "keras", "augment.ada_p": 0.5},
        **{"augment.keras_shift": 0.2, "augment.keras_rotation": 0.5, "augment.keras_zoom": 0.4},
        "augment.ada_steps": 10,
    },
    "ada bounds": {
        **ADA,
        "augment.ada_p": 0.1,
        "augment.ada_max_p": 0.2,
        "augment.ada_target": 0.1,
    },
    "flip": {"data.flip": 1.0},
    **{f"mode {mode}": {"data.mode": mode} for mode in CHANNELS},
    **{f"aspect {aspect}": {"model.aspect": aspect} for aspect in ASPECTS},
    **{
        f"{aspect} {mode}: {name}": {"model.aspect": aspect, "data.mode": mode, **settings}
        for aspect, mode in (("2:3", "rgba"), ("4:3", "grey"))
        for name, settings in {
            **{host["model.architecture"]: host for host in HOSTS},
            "perceptual": {"train.reconstruction": "efficientnet_lite0"},
            "contrastive": {"model.self_supervision": "ae_contrastive"},
            "all augmentations": {
                "augment.policy": "color,translation,cutout,bgc,keras",
                "augment.ada_p": 0.5,
            },
            "penalties": {**PENALTIES, "train.loss": "wasserstein"},
            "gradient checkpointing": {"train.gradient_checkpointing": True},
            "bf16": {"train.precision": "bf16"},
            "Re-GAN": REGAN,
            "centre part": {"model.decode_part": "centre"},
            "resolution 64": {"model.resolution": 64},
        }.items()
    },
    "numbers between evaluations": {"train.log_every_kimg": 0.004},
    "frozen blocks": {
        "train.init_from": "runs/heads",  # read only at the start of a training
        "train.init_networks": "discriminator",
        "train.init_average": False,
        "train.init_partial": True,
        "train.freeze_d": 2,
    },
    "frozen dcgan": {**DCGAN, "train.init_from": "runs/heads", "train.freeze_d": 1},
    "Re-GAN without small branch": {**REGAN, "model.d_small": False, "model.decode_small": False},
    "Re-GAN": {**REGAN, "regan.dense_lr_factor": 0.5},
    "Re-GAN regrowing stored weights": {**REGAN, "regan.regrow": "stored"},
}
# Of the sections above: how long, and where, but not what is trained.
NOT_OF_A_STEP = {"train.total_kimg", "train.device", "train.cuda_graphs", "train.keep_best"}


def test_the_table_has_every_field():
    sections = ("model.", "train.", "augment.", "regan.")
    fields = {name for name in flatten(RunConfig().model_dump()) if name.startswith(sections)}
    default = flatten(RunConfig().model_dump())
    tried = {
        name for case in CASES.values() for name, value in case.items() if value != default[name]
    }
    assert fields - tried - NOT_OF_A_STEP == set()


def config(changes: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate({**BASE, **changes})


@pytest.fixture(scope="module")
def distances():
    return {name: load_distance(name, CPU) for name in DISTANCES if name != "lpips_vgg"}


def advance(state: TrainState, settings: RunConfig, distances: dict[str, Any], steps: int) -> None:
    pictures = Pictures(pictures_for(settings), CPU)
    bf16 = settings.train.precision == "bf16"
    for _ in range(steps):
        drawn = draw_step(state, settings)
        draws = to_device(drawn, CPU)
        distance = distances[settings.train.reconstruction]
        batches = take_batches(pictures, drawn, draws)
        scalars = train_step(state, draws, batches, settings, distance, bf16)
        assert all(math.isfinite(float(value)) for value in scalars.values()), scalars
        for network in (state.generator, state.discriminator):
            for name, weight in network.named_parameters():
                if "to_small" in name and (not settings.model.d_small or settings.model.projects):
                    # Nothing looks at the small picture.
                    assert weight.grad is None or not bool(weight.grad.any()), name
                    continue
                if not weight.requires_grad:
                    assert settings.train.freeze_d and weight.grad is None, name
                    continue
                assert weight.grad is not None, name
                assert bool(weight.grad.isfinite().all()), name


def pictures_for(settings: RunConfig) -> np.ndarray[Any, Any]:
    rows, columns = (np.arange(side) % 32 for side in settings.model.size)
    return PICTURES[:, rows][:, :, columns, : settings.data.channels]


def everything(state: TrainState) -> dict[str, Any]:
    """All that the next step depends on."""
    found: dict[str, Any] = {"step": state.step, **vars(state.ada)}
    networks = {"g": state.generator, "d": state.discriminator, "ema": state.ema}
    if state.instances is not None:
        networks["keys"] = state.instances.network
        found |= queue_tensors(state.instances)
    for kind, network in networks.items():
        found |= {f"{kind}.{name}": value for name, value in network.state_dict().items()}
    for kind, optimizer in (("og", state.optimizer_g), ("od", state.optimizer_d)):
        for index, moments in optimizer.state_dict()["state"].items():
            found |= {f"{kind}.{index}.{name}": value for name, value in moments.items()}
        found[f"{kind}.lr"] = optimizer.param_groups[0]["lr"]
    found |= {f"rng.{name}": rng.get_state() for name, rng in state.rngs.items()}
    found |= {f"sampler.{name}": value for name, value in state.sampler.state().items()}
    return found | {f"regan.{name}": value for name, value in state.regan.state().items()}


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    assert first.keys() == second.keys()
    return [
        name
        for name, value in first.items()
        if not (
            torch.equal(value, second[name]) if isinstance(value, Tensor) else value == second[name]
        )
    ]


def resumed(state: TrainState, settings: RunConfig, folder: Path) -> TrainState:
    checkpoint.save(folder, state, settings, {})
    fresh = new_state(settings, len(PICTURES), CPU)
    checkpoint.restore(folder, fresh, settings)
    return fresh


@pytest.mark.parametrize("case", CASES)
def test_it_trains_and_resumes_bit_for_bit(case, distances, tmp_path):
    settings = config(CASES[case])
    state = new_state(settings, len(PICTURES), CPU)
    advance(state, settings, distances, 1)
    other = resumed(state, settings, tmp_path / "checkpoint")
    for each in (state, other):
        advance(each, settings, distances, 1)
    assert differing(everything(state), everything(other)) == []
    assert other.step == 2


@pytest.mark.parametrize("regrow", ["zero", "stored"])
def test_everything_at_once_resumes_in_the_middle_of_a_sparse_phase(regrow, distances, tmp_path):
    settings = config(
        {
            **REGAN,
            **PENALTIES,
            "regan.regrow": regrow,
            "augment.policy": "color,translation,cutout,bgc,keras",
            "augment.ada_p": 0.4,
            "augment.ada_interval": 3,
            "augment.ada_kimg": 0.02,
            "model.self_supervision": "ae_contrastive",
            "model.d_dropout": 0.2,
            "train.r1_interval": 2,
        }
    )
    state = new_state(settings, len(PICTURES), CPU)
    advance(state, settings, distances, 2)
    assert phase_of(state.regan.period) == SPARSE
    assert state.ada.count == 2  # in the middle of ADA's interval, too
    other = resumed(state, settings, tmp_path / "checkpoint")
    for phase in (SPARSE, DENSE, DENSE):
        for each in (state, other):
            advance(each, settings, distances, 1)
            assert phase_of(each.regan.period) == phase
        assert differing(everything(state), everything(other)) == []
    assert state.ada.p != 0.4


@pytest.mark.parametrize("case", [name for name in CASES if CASES[name]])
def test_it_can_be_searched_and_ablated(case):
    wanted = config(CASES[case])
    # The colours and shape of the pictures must be the same for all trials.
    changes = {name: value for name, value in CASES[case].items() if may_be_searched(name)}
    if not changes:
        return
    base = {name: value for name, value in {**BASE, **CASES[case]}.items() if name not in changes}
    shared = {"metric": {"name": "fd_efficientnet_lite0"}, "base": base}
    parameters = {name: {"value": value} for name, value in changes.items()}
    search = {**shared, "method": "random", "run_cap": 2, "parameters": parameters}
    spec = spec_from_text(yaml.safe_dump(search, sort_keys=False), "search.yaml")
    assert run_config(spec, assign(spec.space, lambda parameter: parameter.values[0])) == wanted
    assert gflop_per_image(wanted) > 0
    arms = {name: value for name, value in changes.items() if name != "train.seed"}
    baseline = {"train.lr_g": 0.0123}  # other than every case
    ablation = {**shared, "baseline": baseline, "seeds": 2, "arms": {"changed": arms}}
    read = ablation_from_text(yaml.safe_dump(ablation, sort_keys=False), "ablation.yaml")
    assert arm_config(read, "changed") == config({**base, **arms})
