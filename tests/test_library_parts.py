"""ADA, losses, networks, SLE blocks and metrics from Python, in a training loop of one's own."""

import numpy as np
import pytest
import torch
from latent_checkpoints import published, tiny_checkpoint

import fastgan_ray
from fastgan_ray import AdaptiveAugment, Discriminator, Generator, losses
from fastgan_ray.augment import pipeline
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.errors import UserError
from fastgan_ray.metrics import frechet, kernel, manifold
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.train.checkpoint import load_discriminator

SMALL = {"resolution": 32, "ngf": 4, "ndf": 4, "nz": 8, "decoder_width": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=4, channels=3, side=32):
    return torch.rand(count, channels, side, side, generator=rng(9)) * 2 - 1


class TestAdaptiveAugment:
    @pytest.mark.parametrize("policy", ["bgc", "keras", "color,bgc,cutout"])
    @pytest.mark.parametrize("p", [0.0, 0.6])
    def test_it_is_the_augmentation_of_a_training(self, policy, p):
        images = pictures(8)
        drawn = pipeline.draw(AugmentConfig(policy=policy), len(images), rng())
        expected = pipeline.apply(images, pipeline.gate(drawn, p))
        assert torch.equal(AdaptiveAugment(policy, ada_p=p)(images, rng=rng()), expected)

    def test_the_controller_moves_p_as_the_published_one(self):
        augment = AdaptiveAugment("bgc", ada_kimg=0.1, ada_interval=2)
        for expected in (0.0, 0.08, 0.08, 0.16):  # 4 pictures x 2 steps / 100 pictures
            augment.update(torch.ones(4, 5))
            assert augment.p == pytest.approx(expected)
        for _ in range(2):
            augment.update(-torch.ones(4, 5))
        assert augment.p == pytest.approx(0.08)

    def test_the_keras_controller_and_an_undecided_logit(self):
        augment = AdaptiveAugment("keras", ada="keras", ada_p=0.5)
        augment.update(torch.full((4,), 0.4), undecided=0.5)  # accuracy 0, target 0.85
        assert augment.p == pytest.approx(0.5 - 0.85 / 1000)
        augment.update(torch.full((4,), 0.4), undecided=torch.zeros(4, requires_grad=True))
        assert augment.p == pytest.approx(0.5 - 0.70 / 1000)
        assert not augment(pictures()).requires_grad

    def test_its_state_continues_exactly(self):
        first, second = (AdaptiveAugment("bgc", ada_kimg=0.3, ada_interval=4) for _ in range(2))
        for step in range(7):
            first.update(torch.randn(4, 3, generator=rng(step)) + 1)
        second.load_state_dict(first.state_dict())
        for augment in (first, second):
            augment.update(torch.ones(4, 3))
        assert first.p == second.p > 0 and first.state_dict() == second.state_dict()

    def test_gradients_pass_and_half_precision_stays(self):
        augment = AdaptiveAugment("bgc", ada_p=0.8)
        images = pictures(2, side=8).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x: augment(x, rng()), images)
        assert augment(pictures().half(), rng()).dtype == torch.float16
        assert AdaptiveAugment("keras", ada_p=0.8)(pictures(channels=6), rng()).shape[1] == 6

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match=r"no adaptive operation.*fastgan_ray\.DiffAugment"):
            AdaptiveAugment("color")
        with pytest.raises(ValueError, match="ada_p must be at most ada_max_p"):
            AdaptiveAugment("bgc", ada_p=0.9)
        with pytest.raises(ValueError, match=r"ada_speed: is not a known key"):
            AdaptiveAugment("bgc", ada_speed=1.0)
        with pytest.raises(ValueError, match=r"bgc needs 1, 3 or 4 channels \(got 6\)"):
            AdaptiveAugment("bgc")(pictures(channels=6))
        with pytest.raises(ValueError, match="must not be empty"):
            AdaptiveAugment("bgc").update(torch.ones(0, 1))


class TestLosses:
    @pytest.mark.parametrize("name", losses.LOSSES)
    @pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 5)])
    def test_they_are_those_of_a_training(self, name, shape):
        real, fake = (torch.randn(shape, generator=rng(seed)) for seed in (0, 1))
        ones = torch.ones(shape)
        member = losses.LOSSES[name]
        expected = member.discriminator(real, fake, ones, ones)
        assert torch.equal(losses.discriminator_loss(real, fake, name), expected)
        expected = member.generator(fake, real)
        assert torch.equal(losses.generator_loss(fake, real, name), expected)

    def test_label_noise_draws_margins(self):
        zero = torch.zeros(1000, 2)
        plain = losses.discriminator_loss(zero, zero)
        noisy = losses.discriminator_loss(zero, zero, label_noise=0.2, rng=rng())
        assert plain == 2 and noisy == pytest.approx(1.8, abs=0.02)
        again = losses.discriminator_loss(zero, zero, label_noise=0.2, rng=rng())
        assert torch.equal(noisy, again)

    def test_what_does_not_fit_is_refused(self):
        logits = torch.zeros(2, 1)
        for function in (losses.discriminator_loss, losses.generator_loss):
            with pytest.raises(ValueError, match=r"loss must be one of hinge, .*\(got hing\)"):
                function(logits, logits, "hing")
        with pytest.raises(ValueError, match="relativistic also needs the logits of real"):
            losses.generator_loss(logits, loss="relativistic")


class TestNetworks:
    def test_new_ones_are_those_of_a_training(self):
        generator = Generator(seed=3, **SMALL)
        discriminator = Discriminator(seed=3, **SMALL)
        config = ModelConfig(**SMALL)
        z = torch.randn(2, 8, generator=rng())
        expected = build_generator(config, rng(3))(z, None)
        outputs = generator(z)
        assert all(torch.equal(*pair) for pair in zip(outputs, expected, strict=True))
        assert [tuple(output.shape) for output in outputs] == [(2, 3, 32, 32), (2, 3, 16, 16)]
        expected = build_discriminator(config, rng(3))(*outputs, 1)
        logits, reconstructions = discriminator(*outputs, 1)
        assert torch.equal(logits, expected[0]) and reconstructions.keys() == expected[1].keys()

    @pytest.mark.parametrize(("mode", "channels"), [("rgb", 3), ("grey", 1), ("rgba", 4)])
    def test_they_train_together(self, mode, channels):
        generator, discriminator = Generator(mode=mode, **SMALL), Discriminator(mode=mode, **SMALL)
        assert generator.training and discriminator.training
        optimizer = torch.optim.Adam(generator.parameters())
        before = [weight.clone() for weight in generator.parameters()]
        fakes = generator(torch.randn(4, 8, generator=rng()), rng())
        fakes = [fastgan_ray.DiffAugment(fake, rng=rng(1)) for fake in fakes]
        losses.generator_loss(discriminator(*fakes)[0]).backward()
        optimizer.step()
        moved = zip(before, generator.parameters(), strict=True)
        assert any(not torch.equal(*pair) for pair in moved)
        logits, none = discriminator(pictures(channels=channels))
        assert logits.ndim == 2 and len(logits) == 4 and none == {}
        assert generator.sample(range(2)).shape == (2, 32, 32, channels)
        assert generator.training and generator.network.training

    def test_512_px_by_its_published_size(self):
        generator, discriminator = Generator(resolution=512), Discriminator(resolution=512)
        assert generator.size == discriminator.size == (512, 512)
        count = sum(weight.numel() for weight in generator.parameters())
        built = build_generator(ModelConfig(resolution=512))
        assert count == sum(weight.numel() for weight in built.parameters())

    def test_a_state_dict_goes_from_one_to_another(self):
        first, second = (Generator(seed=seed, **SMALL).eval() for seed in (0, 1))
        z = torch.randn(2, 8, generator=rng())
        assert not torch.equal(first(z)[0], second(z)[0])
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(z)[0], second(z)[0])

    def test_a_discriminator_loads_from_what_a_training_wrote(self, tmp_path):
        folder = tiny_checkpoint(tmp_path)
        discriminator = Discriminator.load(folder, device="cpu")
        expected = load_discriminator(folder)
        images = pictures()
        small = torch.nn.functional.interpolate(images, size=16)
        assert torch.equal(discriminator(images)[0], expected(images, small)[0])
        assert not discriminator.training
        assert not any(weight.requires_grad for weight in discriminator.parameters())
        assert Generator.load(folder, device="cpu")(torch.zeros(1, 8))[0].shape == (1, 3, 32, 32)

    def test_a_published_file_loads_too(self, tmp_path):
        file = published(tmp_path / "all_1.pth")
        assert Discriminator.load(file, device="cpu")(pictures(side=256))[0].shape == (4, 50)

    def test_what_does_not_fit_is_refused(self, tmp_path):
        for network in (Generator, Discriminator):
            with pytest.raises(ValueError, match=r"resolution: must be .*\(got 100\)"):
                network(resolution=100)
            with pytest.raises(ValueError, match=r"resolutoin: is not .*; did you mean resolution"):
                network(resolutoin=64)
            with pytest.raises(ValueError, match=r"mode must be one of grey, rgb, rgba \(got bw\)"):
                network(mode="bw", **SMALL)
            with pytest.raises(UserError, match="no such file or folder"):
                network.load(tmp_path / "nowhere")
        with pytest.raises(ValueError, match=r"\(B, 3, 32, 32\) \(got \(4, 3, 64, 64\)\)"):
            Discriminator(**SMALL)(pictures(side=64))
        generator = Generator(**SMALL)
        with pytest.raises(ValueError, match=r"latents must have shape \(B, 8\) \(got \(2, 9\)\)"):
            generator(torch.zeros(2, 9))

    def test_an_exported_folder_has_no_discriminator(self, tmp_path):
        (tmp_path / "generator.json").write_text("{}")
        with pytest.raises(UserError, match="an exported folder has only the generator"):
            Discriminator.load(tmp_path)

    def test_an_excitation_block_gates_channels(self):
        block = fastgan_ray.skip_layer_excitation(6, 5)
        source, target = pictures(2, 6, side=8), pictures(2, 5, side=64)
        gated = block(source, target)
        gates = gated / target
        assert gated.shape == target.shape
        torch.testing.assert_close(gates, gates[:, :, :1, :1].expand_as(gates))
        assert gates.min() > 0 and gates.max() < 1
        with pytest.raises(ValueError, match=r"channels must be at least 1 \(got 0 and 5\)"):
            fastgan_ray.skip_layer_excitation(0, 5)


class TestMetrics:
    def features(self, count, seed, shift=0.0):
        return np.random.default_rng(seed).normal(shift, 1, (count, 8))

    def test_values_are_those_of_the_evaluations(self):
        real, fake = self.features(40, 0), self.features(50, 1, 0.8)
        expected = frechet.frechet_distance_with_errors(real, fake)
        assert fastgan_ray.frechet_distance(real, fake) == expected
        expected = kernel.kernel_distance(real, fake)
        assert fastgan_ray.kernel_distance(real, fake) == expected
        values = fastgan_ray.precision_recall_density_coverage(real, fake)
        plain = manifold.precision_recall_density_coverage(real, fake)
        assert {name: estimate.value for name, estimate in values.items()} == plain
        assert all(0 < e.error < e.error_with_reals < 1 for e in values.values())
        again = fastgan_ray.precision_recall_density_coverage(real, fake)
        assert again == values

    def test_tensors_and_lists_are_features_too(self):
        real, fake = self.features(20, 0), self.features(20, 1)
        expected = fastgan_ray.frechet_distance(real, fake)
        tensors = torch.tensor(real, requires_grad=True), torch.tensor(fake)
        assert fastgan_ray.frechet_distance(*tensors) == expected
        assert fastgan_ray.frechet_distance(real.tolist(), fake.tolist()) == expected
        half = torch.tensor(fake).bfloat16()
        assert fastgan_ray.kernel_distance(half, half.float()) == fastgan_ray.kernel_distance(
            half.float(), half.float()
        )

    def test_the_manifolds_errors_are_about_the_deviation_over_new_draws(self):
        real = self.features(60, 0)
        draws = [
            manifold.precision_recall_density_coverage(real, self.features(60, seed, 0.8))
            for seed in range(1, 81)
        ]
        estimates = [
            fastgan_ray.precision_recall_density_coverage(real, self.features(60, seed, 0.8))
            for seed in range(1, 13)
        ]
        for name in ("precision", "recall", "density", "coverage"):
            deviation = np.std([row[name] for row in draws])
            error = np.mean([row[name].error for row in estimates])
            assert 0.7 < error / deviation < 1.6, name

    def test_what_does_not_fit_is_refused(self):
        real = self.features(20, 0)
        for measure in (
            fastgan_ray.frechet_distance,
            fastgan_ray.kernel_distance,
            fastgan_ray.precision_recall_density_coverage,
        ):
            with pytest.raises(ValueError, match="same number of columns"):
                measure(real, real[:, :4])
            with pytest.raises(ValueError, match="must be finite"):
                measure(real, real * np.nan)
        with pytest.raises(ValueError, match=r"at least 4 rows in each set \(got 20 and 3\)"):
            fastgan_ray.precision_recall_density_coverage(real, real[:3])
