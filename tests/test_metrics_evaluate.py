"""All metrics of a generator: what is measured, from which latents, under which names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from stand_in_extractor import CPU, configured, evaluation, stand_in

from fastgan_ray.data.source import open_source
from fastgan_ray.errors import DivergedError
from fastgan_ray.metrics.evaluate import (
    METRICS,
    MetricInputs,
    evaluate,
    latents,
    with_other_latents,
)
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.frechet import frechet_distance
from fastgan_ray.metrics.kernel import kernel_distance
from fastgan_ray.metrics.memorisation import nearest_training
from fastgan_ray.metrics.names import searchable, value_of
from fastgan_ray.metrics.reference import Reference, load_reference

NZ = 6

pytestmark = pytest.mark.usefixtures("empty_cache")


def sample(z_BZ):
    """A smooth generator without state."""
    assert z_BZ.shape[1] == NZ
    mixing = torch.randn(NZ, 3 * 4, generator=torch.Generator().manual_seed(3))
    coarse = (z_BZ @ mixing).view(-1, 3, 2, 2)
    return torch.tanh(F.interpolate(coarse, size=24, mode="bilinear"))


REAL = np.random.default_rng(0).normal(120, 40, size=(30, 12)).astype(np.float32)
REFERENCE = Reference(REAL, None)
FD = "fd_efficientnet_lite0"


def measured(sampler, extractor=None, reference=REFERENCE, early=False, **settings):
    extractor = extractor or stand_in()
    config = evaluation(**settings)
    return evaluate(sampler, NZ, reference, extractor, config, CPU, early).values


def test_the_distance_is_that_of_8_bit_files(tmp_path):
    values = measured(sample)
    drawn = torch.randn(50, NZ, generator=torch.Generator().manual_seed(0))
    stored = []
    for index, image in enumerate(sample(drawn)):
        path = tmp_path / f"{index}.png"
        pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        Image.fromarray(pixels).save(path)
        stored.append(torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).float())
    features = stand_in()(torch.stack(stored)).numpy()
    assert values[FD] == pytest.approx(frechet_distance(REAL, features), rel=1e-5)
    kernel, _, _ = kernel_distance(REAL, features)
    assert values["kd_efficientnet_lite0"] == pytest.approx(kernel, rel=1e-5)
    assert values["num_fakes"] == 50


def test_every_sample_is_drawn_once_from_the_configured_seed():
    drawn = []

    def recording(z_BZ):
        drawn.append(z_BZ)
        return sample(z_BZ)

    extractor = stand_in()
    first = measured(recording, extractor)
    assert extractor.network.seen == 50
    assert [len(z) for z in drawn] == [16, 16, 16, 2]
    torch.manual_seed(123)
    again = measured(recording, extractor)
    assert again == first
    assert torch.equal(torch.cat(drawn[:4]), torch.cat(drawn[4:]))
    assert measured(sample, extractor, seed=1) != first


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_batch_size_changes_only_the_rounding(batch_size):
    default, other = measured(sample), measured(sample, batch_size=batch_size)
    assert other == pytest.approx(default, rel=1e-6)


def test_pictures_beyond_the_range_are_clipped_as_in_a_file():
    def loud(z_BZ):
        return sample(z_BZ) * 3

    assert measured(loud) == measured(lambda z: loud(z).clamp(-1, 1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_pictures_raise_diverged_error(bad):
    def broken(z_BZ):
        images = sample(z_BZ)
        images[-1, 0, 0, 0] = bad
        return images

    with pytest.raises(DivergedError, match="picture with non-finite values"):
        measured(broken)


def test_non_finite_features_raise_diverged_error():
    overflowing = Extractor("efficientnet_lite0", "", 16, lambda images: images[:, 0, 0] / 0, CPU)
    with pytest.raises(DivergedError, match="features of generated pictures are not finite"):
        measured(sample, overflowing)


def test_leaves_no_trace_in_autograd_or_the_global_generator():
    weight = torch.nn.Parameter(torch.ones(()))
    before = torch.get_rng_state()
    measured(lambda z: sample(z) * weight)
    assert weight.grad is None and torch.equal(torch.get_rng_state(), before)


def test_the_embedded_network_prefers_the_better_generator(unequal_pictures):
    config = configured(unequal_pictures, fit="crop")
    extractor = load_extractor("efficientnet_lite0", CPU)
    source = open_source(config.data)
    reference = load_reference(source, config, extractor)
    assert reference.features.shape == reference.mirrored.shape == (6, 1280)

    def noise(z_BZ):
        rng = torch.Generator().manual_seed(int(z_BZ.sum() * 1e4))
        return torch.rand(len(z_BZ), 3, 32, 32, generator=rng) * 2 - 1

    # The unequal_pictures is mostly noise: noise must come closer to it than flat grey does.
    near = measured(noise, extractor, reference, num_fakes=6)
    far = measured(lambda z: torch.zeros(len(z), 3, 32, 32), extractor, reference, num_fakes=6)
    assert 0 < near[FD] < far[FD] and near["is_efficientnet_lite0"] >= 1


def test_every_metric_reports_finite_numbers_under_its_own_name():
    values, seen = measured(sample), set()
    for measure in METRICS.values():
        metrics = measure(inputs(), evaluation())
        assert all(isinstance(value, float) for value in metrics.values())
        assert not seen & metrics.keys()
        seen |= metrics.keys()
    assert values.keys() == seen | {"num_fakes"}
    assert searchable(evaluation()).keys() <= seen
    assert values[f"{FD}_se"] >= values[f"{FD}_se_fakes"] > 0


def inputs():
    fake = stand_in()(((sample(latents(evaluation(), NZ)) + 1) * 127.5).round()).numpy()
    return MetricInputs(REAL, fake, None, nearest_training(REAL, fake))


def test_a_generator_of_the_training_pictures_is_detected():
    copies = iter(range(10))

    class Copying:
        def __call__(self, images):
            start = 5 * next(copies)
            return torch.from_numpy(REAL[np.arange(start, start + 5) % 30])

    extractor = Extractor("efficientnet_lite0", "0" * 64, 16, Copying(), CPU)
    config = evaluation(batch_size=5)
    # One call of the network for each batch: the extractor itself splits into fours.
    values, pairs, _ = evaluate(sample, NZ, REFERENCE, Whole(extractor), config, CPU)
    assert values["memorised"] == 1 and values["nearest_ratio"] < 1e-6
    assert values["precision_k5"] == 1
    assert [pair.fake % 30 for pair in pairs] == [pair.training for pair in pairs]


class Whole:
    """An extractor that gives its network whole batches."""

    def __init__(self, extractor):
        self.name, self.logits, self._network = extractor.name, None, extractor.network

    def __call__(self, images):
        return self._network(images)


def test_a_cheap_evaluation_has_few_latents_of_its_own():
    drawn = []

    def recording(z_BZ):
        drawn.append(z_BZ)
        return sample(z_BZ)

    early = measured(recording, early=True, early_fakes=20)
    assert early["num_fakes"] == 20
    others = with_other_latents(evaluation())
    assert torch.equal(torch.cat(drawn), latents(others, NZ)[:20])
    assert not torch.isin(torch.cat(drawn), latents(evaluation(), NZ)).any()
    # None of its metrics has the name of one of a full evaluation.
    full = measured(sample, early_fakes=20)
    assert full == measured(sample) and full["num_fakes"] == 50
    assert full.keys() & early.keys() == {"num_fakes"}
    assert value_of(early, FD) == early[f"early/{FD}"] and value_of(full, FD) == full[FD]
    assert measured(sample, early=True) == measured(sample)


@pytest.mark.parametrize("early", [True, False])
def test_the_pairs_have_the_latents_of_their_own_evaluation(early):
    """A grid of the pairs shows these pictures; a cheap evaluation has other latents."""
    config = evaluation(early_fakes=20)
    found = evaluate(sample, NZ, REFERENCE, stand_in(), config, CPU, early)
    used = latents(with_other_latents(config) if early else config, NZ)
    assert len(found.pairs) > 4
    assert torch.equal(found.pair_latents, used[[pair.fake for pair in found.pairs]])


def test_mirror_images_can_be_part_of_the_reference():
    both = Reference(REAL, REAL + 7)
    plain, doubled = (
        measured(sample),
        measured(sample, reference=both, mirrored_reference=True),
    )
    assert doubled[FD] != plain[FD]
    assert measured(sample, reference=both)[FD] == plain[FD]
