"""One suite over the adversarial losses, one over the reconstruction distances."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
import torchvision

from fastgan_ray.config.schema import TrainConfig
from fastgan_ray.train import perceptual
from fastgan_ray.train.losses import LOSSES, r1_penalty
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
    logits = torch.full((2, 3), -0.5, requires_grad=True)
    LOSSES[name].generator(logits).backward()
    assert (logits.grad < 0).all()


def test_published_values():
    real, fake = torch.tensor([[0.5, 2.0]]), torch.tensor([[-0.5, 1.0]])
    margins = torch.tensor([[0.8, 1.0]]), torch.tensor([[1.0, 0.9]])
    hinge = LOSSES["hinge"].discriminator(real, fake, *margins)
    torch.testing.assert_close(hinge, torch.tensor((0.3 + 0.0) / 2 + (0.5 + 1.9) / 2))
    hard = torch.ones(1, 2)
    logistic = LOSSES["logistic"].discriminator(real, fake, hard, hard)
    torch.testing.assert_close(logistic, F.softplus(-real).mean() + F.softplus(fake).mean())


def test_r1_is_half_the_mean_squared_gradient_norm():
    weights = torch.randn(3 * 4 * 4, 5, generator=rng(), dtype=torch.float64)
    images = torch.randn(2, 3, 4, 4, generator=rng(1), dtype=torch.float64).requires_grad_()
    penalty = r1_penalty(images.flatten(1) @ weights, images)
    torch.testing.assert_close(penalty, 0.5 * weights.mean(dim=1).square().sum())


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
