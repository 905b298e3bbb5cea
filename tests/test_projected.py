"""The projected discriminator: frozen features, random mixing, small discriminators."""

from __future__ import annotations

import copy
import json

import pytest
import tiny
import torch
import torch.nn.functional as F
from steps import take_step
from torch.utils.flop_counter import FlopCounterMode

from fastgan_ray.config import projected as sizes
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.kernels import reference_kernels
from fastgan_ray.models.projected import FrozenFeatures, ProjectedDiscriminator, RandomMixing
from fastgan_ray.pretrained.efficientnet import MODEL_FILES, load_efficientnet, weights_sha256
from fastgan_ray.search.cost.estimate import gflop_per_image, parameter_counts
from fastgan_ray.search.cost.memory import training_gb
from fastgan_ray.train import checkpoint
from fastgan_ray.train.captured import changing_tensors
from fastgan_ray.train.initial_weights import check_start
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")
SMALL = {"model.discriminator": "projected", "model.d_input_px": 64}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def model(**settings) -> ModelConfig:
    small = {"ndf": 4, "d_input_px": 64, "resolution": 32, "discriminator": "projected"}
    return ModelConfig.model_validate(small | settings)


def build(seed=0, **settings) -> ProjectedDiscriminator:
    network = build_discriminator(model(**settings), torch.Generator().manual_seed(seed))
    assert isinstance(network, ProjectedDiscriminator)
    return network


def logits_of(network, images):
    logits, reconstructions = network(images, images)
    assert reconstructions == {}
    return logits


# --- shapes


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"d_input_px": 224},
        {"resolution": 256},
        {"resolution": 512, "d_features": "efficientnet_lite2"},
        *({"aspect": aspect, "d_input_px": 100} for aspect in ("1:2", "3:4", "5:3", "7:4")),
    ],
)
def test_the_settings_alone_say_how_many_logits_and_blocks_there_are(settings):
    network = build(**settings)
    config = network.config
    images = torch.rand(2, 3, *config.size) * 2 - 1
    with torch.no_grad():
        assert logits_of(network, images).shape == (2, config.logits)
        mixed = network.mixed_features(images)
        trunk = network.trunk(images)
    assert [tuple(x.shape[2:]) for x in mixed] == config.projected_maps
    assert [x.shape[1] for x in mixed] == [64, 64, 128, 256]
    assert trunk.shape == (2, 8 * config.ndf, *config.map_size(8))
    assert len(network.blocks_from_picture()) == config.d_blocks
    blocks = [id(block) for level in network.blocks_from_picture() for block in level]
    assert sorted(blocks) == sorted(id(block) for blocks in network.blocks for block in blocks)


def test_the_published_sizes():
    # At 224 px: four discriminators of maps of 112, 56, 28 and 14 px, each with 4 x 4 logits; the
    # last maps have 7 px and 512 channels with ndf 64.
    config = ModelConfig(discriminator="projected", resolution=128, ndf=64)
    assert config.projected_maps == [(112, 112), (56, 56), (28, 28), (14, 14)]
    assert config.logits == 4 * 16
    network = build_discriminator(config)
    widths = [[block[0].out_channels for block in blocks] for blocks in network.blocks]
    assert widths == [[64, 128, 256, 512], [128, 256, 512], [256, 512], [512]]
    assert sizes.input_size((256, 384), 224) == (256, 384)  # larger pictures stay as they are
    assert sizes.input_size((64, 96), 224) == (224, 336)


# --- the frozen network


@pytest.mark.parametrize("name", MODEL_FILES)
def test_the_features_are_those_of_the_published_network(name):
    ours = FrozenFeatures(name, (96, 130))
    images = torch.rand(2, 3, 96, 130) * 2 - 1
    network = load_efficientnet(name, (96, 130))
    levels = [network._swish(network._bn0(network._conv_stem(images)))]
    for block in network._blocks:
        after = block(levels[-1])
        if after.shape[-1] == levels[-1].shape[-1]:
            levels[-1] = after
        else:
            levels.append(after)
    features = ours(images)
    for actual, expected in zip(features, levels[1:], strict=True):
        assert torch.allclose(actual, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    assert [x.shape[-1] for x in features] == [33, 17, 9, 5]
    assert ours.channels == [x.shape[1] for x in features]
    assert weights_sha256(name).startswith(
        {"0": "57934424", "1": "77cc7160", "2": "9656183e"}[name[-1]]  # from the files' own names
    )


def test_pixels_have_the_range_of_the_frozen_network():
    network = build()
    values = torch.tensor([-1.0, 0.0, 1.0])
    seen = []
    network.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network.frozen_features(values.view(3, 1, 1, 1).expand(3, 3, 32, 32))
    expected = (torch.tensor([0.0, 127.5, 255.0]) - 127) / 128
    assert seen[0].shape == (3, 3, 64, 64)
    assert torch.allclose(seen[0][:, 0, 0, 0], expected, atol=1e-6)


def test_frozen_weights_are_no_parameters_and_are_not_in_the_state_dict():
    network = build()
    assert list(network.features.parameters()) == [] and network.features.state_dict() == {}
    assert sum(x.numel() for x in network.features.buffers()) == pytest.approx(3.7e6, rel=0.01)
    assert not any(module.training for module in network.train().features.modules())
    assert network.blocks.training
    counted = parameter_counts(tiny.config(**SMALL))["params_d"]
    assert counted == sum(x.numel() for x in build(ndf=4).parameters())


# --- the random layers


def test_the_mixing_is_the_formula_written_slowly():
    rng = torch.Generator().manual_seed(1)
    mixing = RandomMixing([3, 4, 5, 6], [(20, 14), (10, 7), (5, 4), (3, 2)], rng)
    shapes = [(3, 10, 7), (4, 5, 4), (5, 3, 2), (6, 2, 1)]
    maps = [torch.rand(2, *shape) for shape in shapes]

    def conv(layer, x):
        return torch.einsum("oi,bihw->bohw", layer.weight[:, :, 0, 0], x) + layer.bias.view(
            1, -1, 1, 1
        )

    mixed = [conv(layer, x) for layer, x in zip(mixing.of_channels, maps, strict=True)]
    down: torch.Tensor | None = None
    expected = []
    for index in (3, 2, 1, 0):
        x = mixed[index] if down is None else mixed[index] + down
        # As in the paper: first resize, then mix the channels.
        x = F.interpolate(x, size=mixing.sizes[index], mode="bilinear")
        down = conv(mixing.of_scales[index], x)
        expected.insert(0, down)
    for actual, slow in zip(mixing(maps), expected, strict=True):
        assert torch.allclose(actual, slow, atol=1e-5)


def test_random_layers_have_pytorchs_initial_range_and_follow_the_seed():
    first, same, other = build(seed=1), build(seed=1), build(seed=2)
    key = "mixing.efficientnet_lite1.of_channels.1.weight"
    weights = first.state_dict()[key]
    bound = 40**-0.5
    assert 0.98 * bound < float(weights.abs().max()) <= bound
    assert float(weights.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert torch.equal(weights, same.state_dict()[key])
    assert not torch.equal(weights, other.state_dict()[key])
    seeds = [new_state(tiny.config(**SMALL, **{"train.seed": s}), 4, CPU) for s in (0, 0, 1)]
    drawn = [state.discriminator.state_dict()[key] for state in seeds]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


# --- training


def batches(settings: RunConfig):
    draw = torch.Generator().manual_seed(3)
    size = settings.model.size
    while True:
        yield [torch.rand(settings.train.batch_size, 3, *size, generator=draw) * 2 - 1]


def test_steps_change_the_small_discriminators_and_nothing_frozen():
    settings = tiny.config(**SMALL)
    state = new_state(settings, 8, CPU)
    d = state.discriminator
    frozen = {
        name: x.clone() for name, x in d.named_buffers() if "features." in name or "mixing" in name
    }
    trained = {name: x.clone() for name, x in d.named_parameters()}
    before = {name: x.clone() for name, x in state.generator.named_parameters()}
    assert len(frozen) > 100
    for _, batch in zip(range(3), batches(settings), strict=False):
        take_step(state, batch, settings, DISTANCES["l1"](CPU))
    now = dict(d.named_buffers())
    assert all(torch.equal(now[name], x) for name, x in frozen.items())
    assert all(not torch.equal(x, trained[name]) for name, x in d.named_parameters())
    unchanged = [n for n, x in state.generator.named_parameters() if torch.equal(x, before[n])]
    assert [name for name in unchanged if "to_small" not in name] == []
    ids = {id(x) for x in changing_tensors(state)}
    assert len(ids) == len(changing_tensors(state))


def test_the_pictures_get_the_gradient_of_the_whole_network():
    network = build().double().eval()
    images = (torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(logits_of(network, images).sum(), images)
    direction = torch.randn_like(images)
    eps = 1e-8
    with torch.no_grad():
        up, down = (logits_of(network, images + s * eps * direction).sum() for s in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(
        float(up - down) / (2 * eps), rel=1e-3
    )


def test_no_graph_through_the_frozen_network_in_the_discriminators_step():
    network = build()
    images = torch.rand(2, 3, 32, 32)
    assert not any(x.requires_grad for x in network.mixed_features(images))
    assert all(x.requires_grad for x in network.mixed_features(images.requires_grad_()))


# --- checkpoints


@pytest.fixture
def stored(tmp_path):
    settings = tiny.config(**SMALL)
    state = new_state(settings, 8, CPU)
    take_step(state, next(batches(settings)), settings, DISTANCES["l1"](CPU))
    return checkpoint.save(tmp_path / "checkpoint", state, settings, {}), state, settings


def test_a_checkpoint_has_the_random_layers_and_the_hash_of_the_frozen_ones(stored):
    folder, state, _ = stored
    tensors = checkpoint.read_tensors(folder / "discriminator.safetensors")
    assert sum("mixing.efficientnet_lite1" in name for name in tensors) == 16
    assert not any("features" in name for name in tensors)
    metadata = json.loads((folder / "metadata.json").read_text())
    name, sha256 = "efficientnet_lite1", weights_sha256("efficientnet_lite1")
    assert metadata["frozen_network"] == {"name": name, "sha256": sha256}
    loaded = checkpoint.load_discriminator(folder)
    images = torch.rand(2, 3, 32, 32)
    expected = copy.deepcopy(state.discriminator).eval()
    # The memory order of the weights differs, and with it the rounding.
    assert torch.allclose(logits_of(loaded, images), logits_of(expected, images), atol=1e-5)


def test_other_frozen_weights_than_those_of_the_training_are_refused(stored):
    folder, _, settings = stored
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["frozen_network"]["sha256"] = "0123456789abcdef"
    path.write_text(json.dumps(metadata))
    for load in (
        lambda: checkpoint.load_discriminator(folder),
        lambda: checkpoint.restore(folder, new_state(settings, 8, CPU), settings),
    ):
        with pytest.raises(
            UserError, match=r"other weights of efficientnet_lite1\. Their sha256 was 01234567"
        ):
            load()


def test_a_start_from_another_frozen_network_does_not_fit(stored):
    folder, _, _ = stored
    start = {"train.init_from": str(folder)}
    same = check_start(tiny.config(**SMALL, **start))
    assert (
        same is not None
        and same["discriminator"]["tensors"] == same["discriminator"]["all_tensors"]
    )
    # The shapes are the same, but the small discriminators know other features.
    other = tiny.config(
        **SMALL,
        **start,
        **{"model.d_features": "efficientnet_lite0", "eval.extractor": "inception"},
    )
    with pytest.raises(UserError, match=r"mixing\.efficientnet_lite0\.of_channels"):
        check_start(other)


# --- costs


def test_the_estimate_counts_the_operations_of_the_steps():
    settings = {**SMALL, "model.d_input_px": 128, "model.ndf": 16, "model.ngf": 8}
    config = tiny.config(**settings)
    d, g = build_discriminator(config.model), build_generator(config.model)
    images = torch.rand(1, 3, 32, 32)
    with reference_kernels(), FlopCounterMode(display=False) as counter:
        g(torch.rand(1, 8))
        for x in (images, images):  # a real and a generated picture
            logits_of(d, x).sum().backward()
    d_step = counter.get_total_flops()
    fake = g(torch.rand(1, 8))[0]
    with reference_kernels(), FlopCounterMode(display=False) as counter:
        logits_of(d, fake).sum().backward()
    # In D's step the mixed maps need no gradient, which the estimate ignores, as for FastGAN's D.
    estimated, counted = gflop_per_image(config), (d_step + counter.get_total_flops()) / 1e9
    assert counted < estimated < 1.1 * counted


def test_a_larger_input_of_the_frozen_network_needs_more_memory():
    plain = {**SMALL, "model.resolution": 64, "model.ngf": 8, "model.ndf": 8}
    large, small = (tiny.config(**{**plain, "model.d_input_px": px}) for px in (224, 112))
    assert training_gb(large, False) > 2 * training_gb(small, False)
    without = tiny.config(**{**plain, "model.discriminator": "architecture"})
    assert training_gb(large, False) > training_gb(without, False)


# --- what does not go together


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"model.architecture": "sngan"},
            "discriminator can be projected only if architecture is fastgan",
        ),
        ({"data.mode": "rgba"}, "discriminator must be 'architecture' if data.mode is rgba"),
        ({"train.freeze_d": 3, "train.init_from": "x"}, "freeze_d must be at most 2"),
    ],
)
def test_what_does_not_go_together_is_refused(settings, rule):
    base = {"model.resolution": 32, **SMALL}
    assert check_settings(base) == []
    violations = check_settings({**base, **settings})
    assert [violation.rule[: len(rule)] for violation in violations] == [rule]
