"""One suite over the adversarial losses, one over the reconstruction distances."""

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
import torchvision

from fastgan_ray.config.training import TrainConfig
from fastgan_ray.train import perceptual
from fastgan_ray.train.losses import (
    LOSSES,
    contrastive,
    interpolate,
    one_centred_penalty,
    squared_gradient_norms,
    zero_centred_penalty,
)
from fastgan_ray.train.perceptual import DISTANCES

CPU = torch.device("cpu")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("table", "field"), [(LOSSES, "loss"), (DISTANCES, "reconstruction")])
def test_table_and_schema_have_the_same_names(table, field):
    assert tuple(sorted(table)) == tuple(
        sorted(get_args(TrainConfig.model_fields[field].annotation))
    )


@pytest.mark.parametrize("name", LOSSES)
def test_discriminator_gains_by_telling_real_from_fake(name):
    loss, hard = LOSSES[name].discriminator, torch.ones(2, 3)
    right, wrong = torch.full((2, 3), 2.0), torch.full((2, 3), -2.0)
    assert loss(right.clamp(max=1), wrong.clamp(min=0), hard, hard) < loss(wrong, right, hard, hard)
    logits = torch.randn(2, 3, generator=rng(), dtype=torch.float64).requires_grad_()
    labels = torch.full((2, 3), 0.9, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, -x, labels, labels), logits)


@pytest.mark.parametrize("name", LOSSES)
def test_generator_gains_by_higher_logits(name):
    fake = torch.full((2, 3), -0.5, requires_grad=True)
    LOSSES[name].generator(fake, torch.zeros(2, 3)).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_generators_gradient_is_that_of_its_loss(name):
    fake, real = (
        torch.randn(2, 3, generator=rng(seed), dtype=torch.float64).requires_grad_()
        for seed in (0, 1)
    )
    assert torch.autograd.gradcheck(lambda x: LOSSES[name].generator(x, real.detach()), fake)


@pytest.mark.parametrize("name", LOSSES)
def test_only_a_paired_loss_looks_at_the_generators_real_logits(name):
    fake = torch.zeros(2, 3)
    values = {float(LOSSES[name].generator(fake, torch.full((2, 3), x))) for x in (0.0, 1.0)}
    assert len(values) == 2 if LOSSES[name].paired else len(values) == 1


REAL, FAKE = torch.tensor([[0.5, 2.0]]), torch.tensor([[-0.5, 1.0]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("name", "labels", "d_loss", "g_loss"),
    [
        ("hinge", (1.0, 1.0), 0.5 / 2 + (0.5 + 2.0) / 2, -0.25),
        ("hinge", (0.8, 0.9), 0.3 / 2 + (0.4 + 1.9) / 2, -0.25),
        (
            "logistic",
            (1.0, 1.0),
            (softplus(-0.5) + softplus(-2) + softplus(-0.5) + softplus(1)) / 2,
            (softplus(0.5) + softplus(-1)) / 2,
        ),
        ("least_squares", (1.0, 1.0), 0.5 * (0.25 + 1 + 0.25 + 1) / 2, 0.5 * (2.25 + 0) / 2),
        ("least_squares", (0.5, 0.9), 0.5 * (0 + 2.25 + 0.36 + 0.81) / 2, 0.5 * 2.25 / 2),
        ("wasserstein", (1.0, 1.0), 0.25 - 1.25, -0.25),
        ("wasserstein", (0.5, 0.9), 0.25 - 1.25, -0.25),
        ("relativistic", (1.0, 1.0), softplus(-1.0), softplus(1.0)),
    ],
)
def test_values_worked_out_by_hand(name, labels, d_loss, g_loss):
    label_real, label_fake = (torch.full((1, 2), label) for label in labels)
    loss = LOSSES[name]
    found = float(loss.discriminator(REAL, FAKE, label_real, label_fake))
    assert found == pytest.approx(d_loss, rel=1e-6)
    assert float(loss.generator(FAKE, REAL)) == pytest.approx(g_loss, rel=1e-6)


def test_each_label_belongs_to_its_logit():
    margins = torch.tensor([[0.8, 1.0]]), torch.tensor([[1.0, 0.9]])
    found = LOSSES["hinge"].discriminator(REAL, FAKE, *margins)
    torch.testing.assert_close(found, torch.tensor((0.3 + 0.0) / 2 + (0.5 + 1.9) / 2))


def test_relativistic_pairs_row_with_row():
    hard = torch.ones(2, 1)
    real, fake = torch.tensor([[5.0], [-5.0]]), torch.tensor([[4.0], [-6.0]])
    found = LOSSES["relativistic"].discriminator(real, fake, hard, hard)
    assert float(found) == pytest.approx(softplus(-1))


def linear_critic(count: int = 2, logits: int = 5):
    """Weights, pictures, and the logits of a linear D, whose slope is the mean of its columns."""
    weights = torch.randn(3 * 4 * 4, logits, generator=rng(), dtype=torch.float64)
    images = torch.randn(count, 3, 4, 4, generator=rng(1), dtype=torch.float64).requires_grad_()
    return weights.requires_grad_(), images, images.flatten(1) @ weights


def test_slopes_of_a_linear_critic():
    weights, images, logits = linear_critic()
    expected = weights.mean(dim=1).square().sum()
    # float32 inside, so that bfloat16's gradients sum without loss.
    slopes = squared_gradient_norms(logits, [images]).double()
    torch.testing.assert_close(slopes, expected.expand(2), rtol=1e-6, atol=0)
    penalty = zero_centred_penalty(logits, [images]).double()
    torch.testing.assert_close(penalty, 0.5 * expected, rtol=1e-6, atol=0)


def test_slopes_add_over_the_inputs_of_a_picture():
    images = [torch.zeros(2, 3, side, side).requires_grad_() for side in (4, 2)]
    logits = (2 * images[0].sum(dim=(1, 2, 3)) + 3 * images[1].sum(dim=(1, 2, 3)))[:, None]
    torch.testing.assert_close(
        squared_gradient_norms(logits, images),
        torch.full((2,), 4.0 * 48 + 9 * 12),
        rtol=1e-6,
        atol=0,
    )


def test_an_input_that_is_not_looked_at_has_no_slope():
    images = [torch.ones(2, 3, side, side).requires_grad_() for side in (4, 2)]
    logits = images[0].sum(dim=(1, 2, 3))[:, None]
    assert torch.equal(squared_gradient_norms(logits, images), torch.full((2,), 48.0))


def test_gradient_penalty_is_zero_for_a_critic_of_slope_one():
    direction = F.normalize(torch.randn(48, generator=rng()), dim=0)
    images = torch.randn(3, 3, 4, 4, generator=rng(1)).requires_grad_()
    for scale, expected in ((1.0, 0.0), (3.0, 4.0), (0.25, 0.5625)):
        logits = (scale * images.flatten(1) @ direction)[:, None]
        found = float(one_centred_penalty(logits, [images]).detach())
        assert found == pytest.approx(expected, abs=1e-5)


def test_gradient_penalty_of_a_flat_critic_is_one_and_its_gradient_finite():
    weights = torch.zeros(48, 2, requires_grad=True)
    images = torch.randn(3, 3, 4, 4, generator=rng()).requires_grad_()
    penalty = one_centred_penalty(images.flatten(1) @ weights, [images])
    penalty.backward()
    assert float(penalty.detach()) == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(weights.grad).all()


def test_penalties_reach_the_critics_weights():
    for penalty in (zero_centred_penalty, one_centred_penalty):
        weights, images, logits = linear_critic()
        penalty(logits, [images]).backward()
        assert weights.grad.abs().sum() > 0


def test_interpolates_lie_between_real_and_fake_alike_at_both_sizes():
    real = [torch.ones(3, 3, side, side) for side in (4, 2)]
    fake = [torch.zeros_like(image).requires_grad_() for image in real]
    shares = torch.tensor([0.0, 0.25, 1.0])
    for image in interpolate(real, fake, shares):
        assert image.is_leaf
        assert image.requires_grad
        assert torch.equal(image, shares[:, None, None, None].expand_as(image))


def test_contrastive_loss_worked_out_by_hand():
    # Partners alike, strangers orthogonal: each of 4 views finds 1 partner among 3 others.
    views = torch.eye(2)
    expected = math.log((math.exp(2) + 2) / math.exp(2))
    assert float(contrastive(views, views, 0.5)) == pytest.approx(expected, rel=1e-6)
    assert float(contrastive(5 * views, 0.1 * views, 0.5)) == pytest.approx(expected, rel=1e-6)
    swapped = float(contrastive(views, views.flip(0), 0.5))
    assert swapped == pytest.approx(math.log(math.exp(2) + 2), rel=1e-6)
    same = torch.ones(4, 3)
    assert float(contrastive(same, same, 0.1)) == pytest.approx(math.log(7), rel=1e-6)


def test_contrastive_loss_is_the_slow_obvious_sum():
    first, second = (torch.randn(4, 6, generator=rng(seed)) for seed in (0, 1))
    views = [*first, *second]
    total = 0.0
    for i, view in enumerate(views):
        scores = [float(F.cosine_similarity(view, other, dim=0)) / 0.2 for other in views]
        others = sum(math.exp(score) for j, score in enumerate(scores) if j != i)
        total += math.log(others) - scores[(i + 4) % 8]
    assert float(contrastive(first, second, 0.2)) == pytest.approx(total / 8, rel=1e-5)
    both = [x.double().requires_grad_() for x in (first, second)]
    assert torch.autograd.gradcheck(lambda a, b: contrastive(a, b, 0.2), both)


def test_contrastive_loss_of_one_picture_is_refused():
    with pytest.raises(ValueError, match=r"at least 2 pictures a batch \(got 1\)"):
        contrastive(torch.ones(1, 2), torch.ones(1, 2), 0.1)


@pytest.fixture(scope="module", params=DISTANCES)
def distance(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "lpips_vgg":
            # VGG's published weights cannot be had offline: its shape, with other numbers.
            torch.manual_seed(0)
            network = torchvision.models.vgg16(weights=None).features
            path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
            state = {f"features.{key}": value for key, value in network.state_dict().items()}
            torch.save(state, path)
            patch.setattr(perceptual, "weights_path", lambda name: path)
        yield DISTANCES[request.param](CPU)


def test_distance_is_zero_to_itself_and_grows_with_the_change(distance):
    image = torch.rand(2, 3, 64, 64, generator=rng()) * 2 - 1
    noise = torch.randn(image.shape, generator=rng(1))
    assert float(distance(image, image)) == pytest.approx(0, abs=1e-6)
    near, far = distance(image + 0.05 * noise, image), distance(image + 0.5 * noise, image)
    assert near.shape == ()
    assert 0 < near < far


def test_distance_is_the_mean_over_pictures(distance):
    first, second = (torch.rand(3, 3, 64, 64, generator=rng(seed)) * 2 - 1 for seed in (0, 1))
    alone = [distance(first[i : i + 1], second[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(distance(first, second), torch.stack(alone).mean())


def test_gradient_reaches_the_first_picture_only(distance):
    picture = (torch.rand(1, 3, 64, 64, generator=rng()) * 2 - 1).requires_grad_()
    target = torch.zeros(1, 3, 64, 64)
    distance(picture, target).backward()
    assert torch.isfinite(picture.grad).all()
    assert picture.grad.abs().sum() > 0
