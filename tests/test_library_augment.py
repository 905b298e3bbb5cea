"""DiffAugment and own operations from Python, as in a training loop of one's own."""

import json

import pytest
import ray
import tiny
import torch
from latent_checkpoints import tiny_checkpoint

import fastgan_ray
from fastgan_ray import DiffAugment
from fastgan_ray.augment import pipeline
from fastgan_ray.augment.ada import adaptive
from fastgan_ray.augment.augmentation_leak import measure_symptoms
from fastgan_ray.augment.user_operations import setup_of_processes
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.train.checkpoint import load_generator, stored_config
from fastgan_ray.train.views import augmented
from fastgan_ray.tune.ray.session import connected

POLICIES = ["", "color", "translation", "cutout", "color,translation,cutout"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=6, channels=3, height=16, width=16, dtype=torch.float32):
    return torch.rand(count, channels, height, width, generator=rng(9)).mul(2).sub(1).to(dtype)


@pytest.fixture
def grain():
    """An own operation, registered for one test."""
    fastgan_ray.register(
        "grain",
        lambda images, drawn: images + drawn["strength"].to(images)[:, None, None, None],
        lambda count, rng: {"strength": torch.rand(count, generator=rng)},
    )
    yield "grain"
    fastgan_ray.unregister("grain")


@pytest.mark.parametrize("policy", POLICIES)
def test_it_is_the_augmentation_of_a_training(policy):
    images = pictures()
    drawn = pipeline.draw(AugmentConfig(policy=policy), len(images), rng())
    (expected,) = augmented([images], drawn, torch.tensor(0.0))
    assert torch.equal(DiffAugment(images, policy, rng=rng()), expected)


def test_by_default_it_uses_the_published_policy_and_the_global_random_numbers():
    images = pictures()
    torch.manual_seed(3)
    changed = DiffAugment(images)
    torch.manual_seed(3)
    assert torch.equal(changed, DiffAugment(images, "color,translation,cutout"))
    assert not torch.equal(changed, DiffAugment(images))


def test_the_same_seed_changes_both_sizes_of_a_picture_alike():
    full = torch.nn.functional.interpolate(pictures(height=8, width=8), scale_factor=2)
    small = full[:, :, ::2, ::2]
    changed = DiffAugment(full, "color", rng=rng(5))[:, :, ::2, ::2]
    torch.testing.assert_close(changed, DiffAugment(small, "color", rng=rng(5)))


@pytest.mark.parametrize("policy", POLICIES)
def test_it_has_the_exact_gradient(policy):
    images = pictures(2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: DiffAugment(x, policy, rng=rng()), images)
    assert torch.autograd.gradgradcheck(lambda x: DiffAugment(x, policy, rng=rng()), images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("policy", POLICIES)
def test_half_precision_rounds_and_nothing_else(policy, dtype):
    images = pictures(dtype=dtype).requires_grad_()
    changed = DiffAugment(images, policy, rng=rng())
    assert changed.dtype == dtype and changed.shape == images.shape
    expected = DiffAugment(images.detach().float(), policy, rng=rng())
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(changed.detach().float(), expected, rtol=0, atol=tolerance)
    changed.float().sum().backward()
    assert images.grad.dtype == dtype and bool(images.grad.isfinite().all())


def test_autocast_changes_nothing():
    images = pictures()
    with torch.autocast("cpu", torch.bfloat16):
        changed = DiffAugment(images, rng=rng())
    assert torch.equal(changed, DiffAugment(images, rng=rng()))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
def test_what_is_not_colour_takes_any_number_of_channels(channels):
    images = pictures(channels=channels, width=24)
    changed = DiffAugment(images, "translation,cutout", rng=rng())
    every = pictures(channels=1, width=24).expand_as(images).contiguous()
    assert changed.shape == images.shape
    same = DiffAugment(every, "translation,cutout", rng=rng())
    assert torch.equal(same, same[:, :1].expand_as(same))


@pytest.mark.parametrize("channels", [2, 5])
def test_colour_needs_colours(channels):
    with pytest.raises(
        ValueError, match=rf"color needs 1, 3 or 4 channels \(got {channels}\); remove color from"
    ):
        DiffAugment(pictures(channels=channels))


def test_strengths_and_probability_are_those_of_a_run():
    images = pictures()
    assert torch.equal(DiffAugment(images, probability=0.0), images)
    assert torch.equal(DiffAugment(images, "translation", translation=0.0), images)
    with pytest.raises(ValueError, match=r"^translation: must be at most 1 \(got 2\.0\)$"):
        DiffAugment(images, translation=2.0)
    with pytest.raises(ValueError, match="DiffAugment has no setting ada_p; use "):
        DiffAugment(images, ada_p=0.5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"floating-point .* \(got torch\.uint8\)"),
        (torch.zeros(3, 8, 8), r"\(B, C, H, W\) \(got \(3, 8, 8\)\)"),
        ([1.0], r"must be a tensor \(got list\)"),
    ],
)
def test_pictures_that_are_none_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        DiffAugment(images)


def test_an_unknown_operation_is_refused_with_what_to_do():
    with pytest.raises(
        ValueError,
        match=r"policy: must be operations from color, .*; unknown: colour; did you mean color\? "
        r'If it is your own operation, first call fastgan_ray\.register\("colour", \.\.\.\)',
    ):
        DiffAugment(pictures(), "colour")
    with pytest.raises(ValueError, match=r"but bgc is adaptive; use fastgan_ray\.AdaptiveAugment"):
        DiffAugment(pictures(), "bgc")


def test_an_own_operation_changes_the_chosen_pictures(grain):
    images = pictures(200)
    changed = DiffAugment(images, grain, rng=rng())
    added = (changed - images).mean(dim=(1, 2, 3))
    assert added.std() > 0.2 and added.min() >= 0
    some = DiffAugment(images, "grain,cutout", probability=0.5, cutout=0.0, rng=rng())
    assert 60 < (some == images).all(dim=3).all(dim=2).all(dim=1).sum() < 140
    many = DiffAugment(pictures(2, channels=7), grain, rng=rng())
    assert many.shape == (2, 7, 16, 16)


def test_an_own_operation_is_allowed_in_a_run_and_trains(grain, tmp_path):
    config = AugmentConfig(policy="color, grain")
    assert config.policy == "color, grain"
    losses = {}
    for policy in ("color", "color,grain"):
        (tmp_path / policy).mkdir()
        losses[policy] = tiny.rows_of(tmp_path / policy, **{"augment.policy": policy})[-1]["loss/d"]
    assert losses["color"] != losses["color,grain"]
    config = stored_config(next((tmp_path / "color,grain").glob("**/metadata.json")).parent)
    assert config.augment.policy == "color,grain"


def test_an_own_adaptive_operation_happens_with_the_probability_p():
    fastgan_ray.register("black", lambda images, drawn: images * 0, adaptive=True)
    try:
        config = AugmentConfig(policy="black", ada_max_p=1.0)
        drawn = pipeline.draw(config, 400, rng())
        for p, low, high in (0.0, 0, 0), (0.5, 150, 250), (1.0, 400, 400):
            changed = pipeline.apply(torch.ones(400, 1, 2, 2), pipeline.gate(drawn, p))
            assert low <= (changed == 0).all(dim=3).all(dim=2).sum() <= high
        assert adaptive(config)
        assert not adaptive(config.model_copy(update={"ada": "none"}))
        with pytest.raises(ValueError, match="black is adaptive"):
            DiffAugment(pictures(), "black")
    finally:
        fastgan_ray.unregister("black")


def test_nothing_is_known_of_how_an_own_operation_leaks(grain):
    images = pictures(8)
    assert measure_symptoms(images, images, AugmentConfig(policy=grain), 0.5) == []


def test_registering_again_replaces_and_unregistering_removes(grain):
    fastgan_ray.register("grain", lambda images, drawn: -images)
    assert torch.equal(DiffAugment(pictures(), "grain"), -pictures())
    fastgan_ray.unregister("grain")
    with pytest.raises(ValueError, match="unknown: grain"):
        AugmentConfig(policy="grain")
    with pytest.raises(ValueError, match="grain is not a registered operation"):
        fastgan_ray.unregister("grain")
    fastgan_ray.register("grain", lambda images, drawn: images)  # the fixture removes it


@pytest.mark.parametrize(
    ("name", "apply", "draw", "message"),
    [
        ("color", lambda x, d: x, None, "color is an operation of this package"),
        ("my,grain", lambda x, d: x, None, "letters, digits and underscores"),
        ("", lambda x, d: x, None, "letters, digits and underscores"),
        ("grain", 3, None, r"apply must be a function \(got int\)"),
        ("grain", lambda x, d: x, lambda n, g: torch.rand(n), r"must return a dict .*got Tensor"),
        (
            "grain",
            lambda x, d: x,
            lambda n, g: {"a": torch.rand(3)},
            r"'a' has the shape \(3,\) and",
        ),
        ("grain", lambda x, d: x, lambda n, g: {"a": 1.0}, "key 'a' is not a tensor"),
    ],
)
def test_what_cannot_be_registered_is_refused_at_once(name, apply, draw, message):
    with pytest.raises(ValueError, match=message):
        fastgan_ray.register(name, apply, draw)
    with pytest.raises(ValueError, match="not a registered"):
        fastgan_ray.unregister(name)


def test_an_own_operation_must_keep_shape_and_dtype(grain):
    fastgan_ray.register("grain", lambda images, drawn: images[:, :1].double())
    with pytest.raises(
        ValueError,
        match=r"grain: .* must keep the shape and dtype of the pictures, "
        r"\(6, 3, 16, 16\) and torch\.float32 \(got \(6, 1, 16, 16\) and torch\.float64\)",
    ):
        DiffAugment(pictures(), "grain")


def test_an_unknown_operation_in_a_checkpoint_says_what_to_register(grain, tmp_path):
    folder = tiny_checkpoint(tmp_path)
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["config"]["augment"]["policy"] = "color,grain"
    (folder / "metadata.json").write_text(json.dumps(metadata))
    assert load_generator(folder)[1].augment.policy == "color,grain"
    fastgan_ray.unregister("grain")
    with pytest.raises(
        UserError,
        match=r"metadata\.json: the training used the augmentation grain, which .*does not have\. "
        r'If it is your own operation, first call fastgan_ray\.register\("grain", \.\.\.\)',
    ):
        load_generator(folder)
    fastgan_ray.register("grain", lambda images, drawn: images)
    RunConfig.model_validate({"augment.policy": "grain"})


@pytest.mark.slow
def test_the_processes_of_a_search_know_the_operation(grain, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    images = pictures()

    def changed_elsewhere(images):
        return DiffAugment(images, "grain", rng=torch.Generator().manual_seed(0)).numpy()

    with connected(None):
        changed = ray.get(ray.remote(num_cpus=0)(changed_elsewhere).remote(images))
    assert torch.equal(torch.tensor(changed), DiffAugment(images, grain, rng=rng()))


def test_a_process_without_the_operation_says_so(grain):
    config = AugmentConfig(policy="grain")
    fastgan_ray.unregister("grain")
    assert setup_of_processes() is None
    with pytest.raises(UserError, match=r"grain is unknown in this process\. If it is your own"):
        pipeline.draw(config, 2, rng())
    fastgan_ray.register("grain", lambda images, drawn: images)
