"""Schedules: their numbers, their place in a configuration, and the steps that they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from steps import CPU, take_step
from test_captured import CallAgain, run

from fastgan_ray.augment.functional import AdaptiveAugment, DiffAugment
from fastgan_ray.config.reference import section_model
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_settings, dump_run_config, parse_assignments
from fastgan_ray.config.schedule import Schedule
from fastgan_ray.config.scheduled import ScheduledSection
from fastgan_ray.config.task_fields import USED_BY
from fastgan_ray.errors import UserError
from fastgan_ray.train.captured import can_capture
from fastgan_ray.train.checkpoint import stored_config
from fastgan_ray.train.draws import draw_step, ema_share, to_device
from fastgan_ray.train.log import log_row, start_log
from fastgan_ray.train.loop import train
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.schedules import config_at, numbers_of, with_numbers
from fastgan_ray.train.state import new_state
from fastgan_ray.train.step import penalties_due, train_step

SECTIONS = ("train", "augment", "regan")
SCHEDULED = [
    f"{section}.{name}"
    for section in SECTIONS
    for name in section_model(section).model_fields
    if section_model(section).can_be_scheduled(name)
]
# Those that every training may have: the others need an extra task of D.
IN_ANY_RUN = [
    name for name in SCHEDULED if not name.startswith(tuple(f"train.{start}" for start in USED_BY))
]
# Two numbers for each setting, so that a step with the first differs from one with the second, and
# what else that needs. Other settings go from a quarter to a half.
ENDS: dict[str, tuple[float, float]] = {
    "train.lr_g": (1e-3, 0.0),
    "train.lr_d": (1e-3, 0.0),
    "train.ema_halflife_kimg": (0.0, 0.05),
    "train.ema_rampup": (0.0, 5.0),
    "train.gradient_gap_weight": (1.0, 50.0),
    "train.top_k": (0.75, 0.01),
    "train.chain_target": (-0.2, 1.0),
    "augment.probability": (1.0, 0.0),
    "augment.ada_kimg": (0.1, 0.2),
    "augment.ada_p": (0.2, 0.8),
    "augment.ada_max_p": (0.8, 0.51),
    "augment.ada_target": (0.0, 1.0),
}
ADA = {"augment.policy": "bgc", "augment.ada_p": 0.5, "augment.ada_interval": 1}
RISING = ADA | {"augment.ada": "keras", "augment.ada_steps": 1, "train.lr_d": 0.01}
KERAS = {"augment.policy": "keras", "augment.ada_p": 0.8, "augment.ada": "none"}
REGAN = {"regan.sparsity": 0.5, "regan.warmup_kimg": 0.0, "regan.interval_kimg": 0.004}
NEEDS: dict[str, dict[str, Any]] = {
    **{
        f"train.{name}": {"train.r1_interval": 1, "train.loss": "logistic"}
        for name in ("r1_gamma", "r2_gamma")
    },
    **{
        f"train.chain_{name}": {"model.d_norm": "chain", "train.chain_start_kimg": 0.0} | others
        for name, others in {
            "weight": {"train.chain_min_p": 0.1},
            "min_p": {},
            "target": {},
        }.items()
    },
    **{
        f"train.mixdl_{network}_weight": {"model.d_mixdl": True, "train.mixdl_interval": 1}
        for network in "gd"
    },
    "train.zcr_noise": {"train.zcr_d_weight": 5.0},
    "train.gp_weight": {"train.loss": "wasserstein"},
    "train.lecam_decay": {"train.lecam_weight": 1.0},
    "train.ema_rampup": {"train.ema_halflife_kimg": 1.0},
    "train.contrastive_weight": {"model.self_supervision": "contrastive"},
    "train.contrastive_temperature": {"model.self_supervision": "contrastive"},
    **{
        f"train.augself_{name}_weight": {"model.self_supervision": "augself"} for name in ("d", "g")
    },
    **{
        f"train.insgen_{name}": {"model.self_supervision": "insgen"}
        for name in ("d_fake_weight", "d_real_weight", "g_weight", "temperature", "momentum")
    },
    "train.insgen_noise": {"model.self_supervision": "insgen"},
    # A step with two batches of keys in the queue, which differ in their ages.
    "train.insgen_forgetting": {"model.self_supervision": "fakeclr", "train.d_steps": 2},
    "augment.cutout": {"augment.policy": "cutout"},
    **{f"augment.keras_{name}": KERAS for name in ("shift", "rotation", "zoom")},
    "augment.ada_target": RISING | {"augment.ada_steps": 4},
    "augment.ada_max_p": RISING | {"augment.ada_target": 0.0},
    "augment.ada_kimg": ADA,
    "augment.ada_p": {"augment.policy": "bgc", "augment.ada": "none"},
    "regan.sparsity": REGAN | {"regan.warmup_kimg": 0.004},
    "regan.dense_lr_factor": REGAN,
}
STEPS = 2  # of 4 images: before them, 0 and 4 of a schedule's 20 images are shown


def mapping(start: float, end: float, over: float = 0.02, shape: str = "linear") -> dict[str, Any]:
    return {"from": start, "to": end, "over_kimg": over, "shape": shape}


def case(name: str) -> dict[str, Any]:
    start, end = ENDS.get(name, (0.25, 0.5))
    return {**NEEDS.get(name, {}), name: mapping(start, end)}


# ---- numbers ----


@pytest.mark.parametrize(
    ("shape", "kimg", "value"),
    [
        ("linear", 0, 8.0),
        ("linear", 5, 5.0),  # half of the way from 8 to 2
        ("linear", 10, 2.0),
        ("linear", 99, 2.0),
        ("log", 5, 4.0),  # the geometric mean of 8 and 2
        ("log", 10, 2.0),
        ("cosine", 5, 5.0),
        ("cosine", 10 / 3, 6.5),  # (1 - cos 60 degrees) / 2 = 1/4 of the way
        ("cosine", 20 / 3, 3.5),
    ],
)
def test_values_by_hand(shape, kimg, value):
    schedule = Schedule.model_validate(mapping(8, 2, 10, shape))
    assert schedule.at(kimg) == pytest.approx(value, rel=1e-12)


NUMBERS = st.floats(1e-6, 0.5)
SHAPES = st.sampled_from(["linear", "cosine", "log"])


@given(start=NUMBERS, end=NUMBERS, over=st.floats(1e-3, 1e4), shape=SHAPES)
@settings(max_examples=100, deadline=None)
def test_values_stay_between_the_ends_and_never_turn_back(start, end, over, shape):
    schedule = Schedule.model_validate(mapping(start, end, over, shape))
    values = [schedule.at(over * (share / 20)) for share in range(25)]
    assert values[0] == start and values[20:] == [end] * 5
    assert values == sorted(values, reverse=end < start)


@given(start=NUMBERS, end=NUMBERS, over=st.floats(1e-3, 1e4), shape=SHAPES, data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_configuration_with_schedules_survives_every_dump(start, end, over, shape, data):
    names = data.draw(st.lists(st.sampled_from(IN_ANY_RUN), min_size=1, unique=True))
    changes = {name: mapping(start, end, over, shape) for name in names}
    config = RunConfig.model_validate({"augment.ada": "none", "augment.ada_max_p": 1.0, **changes})
    flat = flatten(config.model_dump())
    assert {name: flat[name] for name in names} == changes
    assert RunConfig.model_validate(config.model_dump()) == config
    assert RunConfig.model_validate(yaml.safe_load(dump_run_config(config))) == config
    assert RunConfig.model_validate(flat) == config
    other = {**flat, names[0]: mapping(start, end, over + 1, shape)}
    assert RunConfig.model_validate(other) != config
    for name in names:
        section, _, field = name.partition(".")
        assert getattr(getattr(config, section), field) == start


# ---- what is refused ----


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
        ({"train.lr_g": mapping(0.1, -1)}, "train.lr_g.to", "must be greater than 0 (got -1"),
        ({"train.lr_g": mapping(2, 0)}, "train.lr_g.from", "must be less than 1 (got 2"),
        ({"train.beta2": mapping(0.9, 1)}, "train.beta2.to", "must be less than 1 (got 1"),
        ({"train.lr_g": mapping(1e-3, 0, shape="log")}, "train.lr_g", "greater than 0 if shape is"),
        ({"train.lr_g": mapping(1e-3, 0, over=0)}, "train.lr_g.over_kimg", "must be greater than"),
        ({"train.lr_g": mapping(1e-3, 0, shape="step")}, "train.lr_g.shape", "must be one of"),
        ({"train.lr_g": {"from": 1e-3, "to": 0}}, "train.lr_g", "needs over_kimg"),
        ({"train.lr_g": {**mapping(1e-3, 0), "after": 3}}, "train.lr_g.after", "the keys are from"),
        ({"train.lr_g": mapping(True, 0)}, "train.lr_g.from", "must be a number"),
        ({"train.total_kimg": mapping(1, 2)}, "train.total_kimg", "the length of the training is"),
        ({"train.d_steps": mapping(1, 2)}, "train.d_steps", "only numbers with decimals can"),
        ({"train.loss": mapping(1, 2)}, "train.loss", "cannot change during a training"),
        ({"regan.interval_kimg": mapping(1, 2)}, "regan.interval_kimg", "the phases have a"),
        ({"augment.ada_p": mapping(0, 0.3)}, "augment", "only if ada is none"),
        (
            {"augment.ada_p": mapping(0, 0.9), "augment.ada": "none"},
            "augment",
            "ada_p must be at most ada_max_p (got ada_p 0.9",
        ),
        ({"train.beta1": mapping(0, 0.5), "train.beta2": 3}, "train.beta2", "must be less than 1"),
        (
            {"train.bcr_real_weight": mapping(0, 10), "augment.policy": ""},
            "train",
            "must be 0 if augment.policy has no operation",
        ),
        ({"model.d_slope": mapping(0, 0.5)}, "model.d_slope", "must be a number"),
    ],
)
def test_what_is_refused(changes, key, rule):
    violations = check_settings(changes)
    assert any(each.key == key and rule in each.rule for each in violations), violations


def test_every_number_of_the_three_sections_can_change_or_says_why_not():
    for section in SECTIONS:
        model = section_model(section)
        assert issubclass(model, ScheduledSection)
        for name, field in model.model_fields.items():
            if field.annotation in (float, float | None) and not model.can_be_scheduled(name):
                (violation,) = check_settings({f"{section}.{name}": mapping(1.5, 2.5)})
                assert model.NOT_SCHEDULED[name] in violation.rule


def test_a_line_of_a_file_and_an_assignment_are_checked(tmp_path):
    with pytest.raises(UserError, match=r"train.lr_g.to: must be greater than 0 \(got -1"):
        parse_assignments(["train.lr_g={from: 1e-3, to: -1, over_kimg: 4, shape: linear}"])
    text = "train.lr_g={from: 2e-4, to: 0, over_kimg: 400, shape: cosine}"
    assert parse_assignments([text]) == {"train.lr_g": mapping(2e-4, 0, 400, "cosine")}


def test_augmentation_in_another_training_takes_numbers_only():
    images = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="brightness: must be a number, because schedules"):
        DiffAugment(images, "color", brightness=mapping(0, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ada_p: must be a number, because schedules"):
        AdaptiveAugment(ada="none", ada_p=mapping(0, 0.5))  # type: ignore[arg-type]


# ---- the configuration of a step ----


def test_a_step_has_the_number_of_the_images_before_it():
    config = tiny.config(**{"train.lr_g": mapping(0.0, 0.4, 0.01), "train.batch_size": 4})
    rates = [config_at(config, step).train.lr_g for step in range(5)]
    assert rates == pytest.approx([0.0, 0.16, 0.32, 0.4, 0.4])  # 0, 4, 8, 12 and 16 of 10 images
    assert config_at(config, 2).train.lr_d == config.train.lr_d
    plain = tiny.config()
    assert config_at(plain, 3) is plain and with_numbers(plain, {}) is plain
    assert numbers_of(plain) == {}


def test_the_largest_number_is_that_of_either_end():
    for ends in ((0.0, 2.0), (2.0, 0.0)):
        config = tiny.config(**{"train.r1_gamma": mapping(*ends), "train.r1_interval": 2})
        assert config.train.largest("r1_gamma") == config_at(config, 9).train.largest("r1_gamma")
        state = new_state(config, 8, CPU)
        assert penalties_due(state, config) == (True,)  # also where the weight is 0
    assert tiny.config().train.largest("lr_g") == 2e-4
    weak = tiny.config(**{"augment.brightness": mapping(0.0, 1.0, 0.01)}).augment
    assert weak.strongest_until(0.005).brightness == 0.5
    falling = tiny.config(**{"augment.brightness": mapping(1.0, 0.0, 0.01)}).augment
    assert falling.strongest_until(0.005).brightness == 1.0


# ---- steps ----


def steps(changes: dict[str, Any], count: int = STEPS) -> list[Any]:
    """What a training has after each of some steps."""
    config = tiny.config(**changes)
    state = new_state(config, 8, CPU)
    generator = torch.Generator().manual_seed(1)
    distance, rows = DISTANCES["l1"](CPU), []
    for _ in range(count):
        turns = range(config.train.d_steps)
        batches = [torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1 for _ in turns]
        take_step(state, batches, config, distance)
        copies = [state.instances.network] if state.instances is not None else []
        networks = (state.generator, state.discriminator, state.ema, *copies)
        tensors = [value for network in networks for value in network.state_dict().values()]
        rows.append([tensor.clone() for tensor in (*tensors, state.ada.p)])
    return rows


def distance_of(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    pairs = zip(first, second, strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_begins_as_its_first_number_and_then_changes_the_steps(name):
    """A schedule between equal numbers is that number; float32 or another kernel may round it."""
    (start, end), others = ENDS.get(name, (0.25, 0.5)), NEEDS.get(name, {})
    constant = steps({**others, name: start})
    same = steps({**others, name: mapping(start, start)})
    changing = steps({**others, name: mapping(start, end)})
    assert distance_of(constant[0], same[0]) <= 1e-7
    assert distance_of(constant[1], same[1]) <= 1e-6
    assert distance_of(constant[0], changing[0]) <= 1e-7
    assert distance_of(constant[1], changing[1]) > 1e-6


# Every number that a step uses on the device, in a few trainings.
CAPTURED: dict[str, dict[str, Any]] = {
    "weights": {
        **{
            "train.r1_interval": 2,
            "train.loss": "logistic",
            "train.lecam_decay": mapping(0.5, 0.9),
        },
        **{"model.self_supervision": "ae_contrastive"},
        **{
            name: mapping(0.0, 0.5)
            for name in IN_ANY_RUN
            if name.startswith("train.") and name.endswith(("_gamma", "_weight"))
        },
        **{f"train.contrastive_{name}": mapping(0.5, 0.1) for name in ("weight", "temperature")},
    },
    "rates under Re-GAN": {
        **{**REGAN, "regan.interval_kimg": 0.016},  # four steps in each phase
        **{"train.lr_g": mapping(0, 1e-3, 0.04), "train.lr_d": mapping(1e-3, 0, 0.04)},
        "regan.dense_lr_factor": mapping(0.5, 0.1, 0.04),
        "regan.sparsity": mapping(0.2, 0.5, 0.04),
    },
    "average, pictures and noise": {
        **{"train.ema_halflife_kimg": mapping(0, 0.1), "train.top_k": mapping(1.0, 0.5)},
        **{"train.instance_noise": mapping(0.5, 0.0), "augment.brightness": mapping(0, 1)},
    },
    "p": case("augment.ada_p"),
    **{name: case(f"augment.{name}") for name in ("ada_kimg", "ada_target", "ada_max_p")},
    "penalty of wasserstein": case("train.gp_weight"),
    "FakeCLR": {
        "model.self_supervision": "fakeclr",
        **{
            f"train.insgen_{name}": mapping(0.2, 0.9)
            for name in ("d_fake_weight", "g_weight", "temperature", "momentum", "forgetting")
        },
    },
}


class Recording(CallAgain):
    """A capture whose replays see Python's numbers as they were, as a CUDA graph does.

    These are the number of the step and the rates and decays of the optimisers.
    """

    def __call__(self, compute, state):
        optimizers, step = (state.optimizer_g, state.optimizer_d), state.step
        recorded = [dict(optimizer.param_groups[0]) for optimizer in optimizers]

        def as_recorded():
            now = state.step, [dict(optimizer.param_groups[0]) for optimizer in optimizers]
            for optimizer, group in zip(optimizers, recorded, strict=True):
                optimizer.param_groups[0].update(lr=group["lr"], betas=group["betas"])
            state.step = step
            scalars = compute()
            state.step = now[0]
            for optimizer, group in zip(optimizers, now[1], strict=True):
                optimizer.param_groups[0].update(lr=group["lr"], betas=group["betas"])
            return scalars

        return super().__call__(as_recorded, state)


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_steps_with_schedules_are_the_ordinary_ones(name):
    config = tiny.config(**CAPTURED[name])
    rows, tensors = run(config, Recording())
    expected_rows, expected = run(config, None)
    assert rows == expected_rows
    assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))


@pytest.mark.parametrize("name", ["train.beta1", "train.beta2"])
def test_adams_decays_are_not_captured_and_that_is_said(name):
    config, cuda = tiny.config(**case(name)), torch.device("cuda")
    state = new_state(config, 8, CPU)
    with pytest.warns(
        UserWarning, match="not captured as CUDA graphs.*beta1 or train.beta2 is a s"
    ):
        assert not can_capture(state, config, cuda)
    tensors, expected = run(config, Recording())[1], run(config, None)[1]
    assert not all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True))
    other = tiny.config(**case("train.lr_g"))
    assert can_capture(new_state(other, 8, CPU), other, cuda)


def test_a_warm_up_begins_with_a_rate_of_0():
    config = tiny.config(**{"train.lr_g": mapping(0, 1e-3, 0.01), "train.log_every_kimg": 0.004})
    state = new_state(config, 8, CPU)
    before = [weight.clone() for weight in state.generator.parameters()]
    rates = []
    for _ in range(4):
        start_log(state)
        take_step(state, [torch.zeros(4, 3, 32, 32)], config, DISTANCES["l1"](CPU))
        rates.append(log_row(state, config, CPU)["lr/g"])
        if state.step == 1:
            assert all(map(torch.equal, before, state.generator.parameters()))
    assert not all(map(torch.equal, before, state.generator.parameters()))
    assert rates == pytest.approx([0, 4e-4, 8e-4, 1e-3])  # what the log says of each step


def test_the_rate_of_a_dense_phase_is_the_product_of_both_schedules():
    changes = {
        "train.lr_g": mapping(1e-3, 2e-3, 0.012),
        "regan.dense_lr_factor": mapping(0.5, 0.1, 0.012),
    }
    config = tiny.config(**REGAN, **changes)
    state, rates = new_state(config, 8, CPU), []
    for _ in range(3):  # sparse, dense, sparse
        take_step(state, [torch.zeros(4, 3, 32, 32)], config, DISTANCES["l1"](CPU))
        rates.append(float(state.optimizer_g.param_groups[0]["lr"]))
    dense = (1e-3 + 1e-3 / 3) * (0.5 - 0.4 / 3)  # after a third of the way
    assert rates == pytest.approx([1e-3, dense, 1e-3 + 2e-3 / 3])


def test_r3gans_schedules_reach_the_step():
    """The numbers of Huang et al. 2024 (2501.05441) in the middle of a cosine: half of the way."""
    ends = {
        "train.r1_gamma": (2, 0.2),
        "train.r2_gamma": (2, 0.2),
        "train.beta2": (0.9, 0.99),
        "train.ema_halflife_kimg": (0, 500),
        "augment.ada_p": (0, 0.3),
    }
    schedules = {name: mapping(*pair, over=0.016, shape="cosine") for name, pair in ends.items()}
    others = {"train.loss": "relativistic", "train.r1_interval": 1, "augment.policy": "bgc"}
    config = tiny.config(**schedules, **others, **{"augment.ada": "none"})
    state = new_state(config, 8, CPU)
    for _ in range(3):  # the third step begins after 8 of 16 images
        draws = to_device(draw_step(state, config), CPU)
        train_step(state, draws, [torch.zeros(4, 3, 32, 32)], config, DISTANCES["l1"](CPU))
    numbers = {name: float(value) for name, value in draws.numbers["train"].items()}
    assert numbers == pytest.approx(
        {"r1_gamma": 1.1, "r2_gamma": 1.1, "beta2": 0.945, "ema_halflife_kimg": 250}
    )
    assert float(state.ada.p) == pytest.approx(0.15)
    for optimizer in (state.optimizer_g, state.optimizer_d):
        assert optimizer.param_groups[0]["betas"] == pytest.approx((0.5, 0.945))
    assert float(draws.ema_share) == pytest.approx(1 - 0.5 ** (4 / 250_000), rel=1e-3)
    assert ema_share(config_at(config, 0), 1) == 1.0  # a half-life of 0 copies the weights


def test_adam_with_a_changing_decay_is_the_formula():
    """Each step uses its own beta2, also to the power of the step in the bias correction."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.5, 0.9), fused=True)
    value, first, second = 1.0, 0.0, 0.0
    for step, (gradient, beta2) in enumerate([(1.0, 0.9), (-2.0, 0.95), (0.5, 0.99)], 1):
        optimizer.param_groups[0]["betas"] = (0.5, beta2)
        optimizer.param_groups[0]["lr"] = torch.tensor(0.1 / step)
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        first = 0.5 * first + 0.5 * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        root = (second / (1 - beta2**step)) ** 0.5 + 1e-8
        value -= 0.1 / step * first / (1 - 0.5**step) / root
        assert weight.item() == pytest.approx(value, rel=1e-5)


def test_a_training_with_schedules_resumes_bit_for_bit(tmp_path):
    """In a training of 4 steps, stopped after 2, in the middle of every schedule."""
    changes = {
        "train.lr_g": mapping(1e-3, 0, 0.016, "cosine"),
        "train.beta2": mapping(0.9, 0.99, 0.016),
        "train.lecam_weight": mapping(0, 1, 0.016),
        "augment.brightness": mapping(0, 1, 0.016),
        "data.path": str(tiny.write_pictures(_folder(tmp_path / "pictures"), 4)),
        "eval.extractor": "none",
    }
    whole, half = tiny.config(**changes), tiny.config(**changes, **{"train.total_kimg": 0.008})
    train(whole, tiny.Recorder(tmp_path / "whole"))
    train(half, tiny.Recorder(tmp_path / "half"))
    train(whole, tiny.Recorder(tmp_path / "rest"), tmp_path / "half" / "checkpoint-000000008")
    last = "checkpoint-000000016/generator.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "rest" / last).read_bytes()
    assert stored_config(tmp_path / "rest" / "checkpoint-000000016") == whole


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
