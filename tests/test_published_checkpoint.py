"""Published checkpoints: golden outputs, every form of the file, round trips, errors."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.published_checkpoint import (
    PublishedNetworks,
    load_published,
    save_published,
)

DATA = Path(__file__).parent / "data"
CHECKPOINT = DATA / "published_256_ngf8.pth"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(DATA / "published_256_ngf8_io.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def networks() -> PublishedNetworks:
    return load_published(CHECKPOINT)


@pytest.fixture
def contents() -> dict[str, Any]:
    """The published file as the published code would load it."""
    return torch.load(CHECKPOINT, weights_only=True)


def _assert_near(ours: Tensor, published: Tensor, tolerance: float = 1e-4) -> None:
    assert ours.shape == published.shape
    assert (ours - published).abs().max() <= tolerance * published.abs().max()


def _by_image(logits: Tensor) -> Tensor:
    """Published flattening (branch, image, logit) -> ours (image, branch x logit)."""
    return logits.view(2, 2, 25).transpose(0, 1).flatten(1)


def _parameters(state: dict[str, Tensor]) -> list[str]:
    """The keys that are parameters of the published module, in its order."""
    buffers = ("running_mean", "running_var", "num_batches_tracked", "weight_u", "weight_v")
    return [name for name in state if not name.endswith(buffers)]


def _assert_same_state(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def _randomise(network: nn.Module, seed: int) -> None:
    """Buffers too, so that a mixed-up name shows."""
    rng = torch.Generator().manual_seed(seed)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=rng))
        else:
            tensor.fill_(int(torch.randint(100, (), generator=rng)))


def _published_config(resolution: int = 256, **fields: Any) -> ModelConfig:
    activation = "tanh" if resolution == 1024 else "none"
    sizes = {"resolution": resolution, "ngf": 1, "ndf": 1, "nz": 3}
    return ModelConfig.model_validate({**sizes, "output_activation": activation, **fields})


def test_sizes_are_inferred(networks: PublishedNetworks) -> None:
    expected = ModelConfig(resolution=256, ngf=8, ndf=8, nz=256, output_activation="none")
    assert networks.generator.config == networks.discriminator.config == expected
    assert networks.ema is None
    assert not networks.generator.training
    assert not networks.discriminator.training


@pytest.fixture(scope="module")
def exact(networks: PublishedNetworks) -> tuple[nn.Module, nn.Module]:
    """Both networks in float64: the golden outputs then differ only by their own rounding.

    In float32 the rounding of this machine's kernels is added, which the decoders' batch
    normalisation makes as large as the tolerance.
    """
    return copy.deepcopy(networks.generator).double(), copy.deepcopy(
        networks.discriminator
    ).double()


@torch.no_grad()
def test_generator_reproduces_the_golden_outputs(
    exact: tuple[nn.Module, nn.Module], golden: dict[str, Tensor]
) -> None:
    full, small = exact[0](golden["z"].double())
    _assert_near(full, golden["image"])
    _assert_near(small, golden["image_small"])


@torch.no_grad()
def test_discriminator_reproduces_the_golden_logits(
    exact: tuple[nn.Module, nn.Module], golden: dict[str, Tensor]
) -> None:
    real, fake = golden["x"].double(), golden["image"].double()
    logits, _ = exact[1](fake, golden["image_small"].double())
    _assert_near(logits, _by_image(golden["fake_logits"]))
    logits, _ = exact[1](real, functional.interpolate(real, size=128))
    _assert_near(logits, _by_image(golden["real_logits"]))


@torch.no_grad()
def test_decoders_reproduce_the_golden_pictures(
    exact: tuple[nn.Module, nn.Module], golden: dict[str, Tensor]
) -> None:
    real = golden["x"].double()
    for part in range(4):
        _, pictures = exact[1](real, functional.interpolate(real, size=128), part)
        _assert_near(pictures["full"], golden["rec_all"])
        _assert_near(pictures["small"], golden["rec_small"])
        _assert_near(pictures["part"], golden[f"rec_part{part}"])


@torch.no_grad()
def test_float32_differs_from_float64_only_by_rounding(
    networks: PublishedNetworks, exact: tuple[nn.Module, nn.Module], golden: dict[str, Tensor]
) -> None:
    real = golden["x"]
    small = functional.interpolate(real, size=128)
    _assert_near(networks.generator(golden["z"])[0], exact[0](golden["z"].double())[0])
    logits, pictures = networks.discriminator(real, small, 0)
    exact_logits, exact_pictures = exact[1](real.double(), small.double(), 0)
    _assert_near(logits, exact_logits)
    for name, picture in pictures.items():
        _assert_near(picture, exact_pictures[name], tolerance=5e-4)


def test_module_prefix(
    networks: PublishedNetworks, contents: dict[str, Any], tmp_path: Path
) -> None:
    wrapped = {
        network: {f"module.{name}": tensor for name, tensor in contents[network].items()}
        for network in ("g", "d")
    }
    torch.save(wrapped, tmp_path / "wrapped.pth")
    loaded = load_published(tmp_path / "wrapped.pth")
    _assert_same_state(loaded.generator, networks.generator)
    _assert_same_state(loaded.discriminator, networks.discriminator)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_trainers_file_with_average(
    networks: PublishedNetworks, contents: dict[str, Any], prefix: str, tmp_path: Path
) -> None:
    names = _parameters(contents["g"])
    contents["g_ema"] = [contents["g"][name] + 1 for name in names]
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(2))])
    contents["opt_g"] = contents["opt_d"] = adam.state_dict()
    contents["g"] = {f"{prefix}{name}": tensor for name, tensor in contents["g"].items()}
    torch.save(contents, tmp_path / "all_1.pth")
    loaded = load_published(tmp_path / "all_1.pth")
    _assert_same_state(loaded.generator, networks.generator)
    assert loaded.ema is not None
    assert not loaded.ema.training
    averaged = dict(loaded.ema.named_parameters())
    for name, parameter in networks.generator.named_parameters():
        assert torch.equal(averaged[name], parameter + 1)
    buffers = dict(loaded.ema.named_buffers())
    for name, buffer in networks.generator.named_buffers():
        assert torch.equal(buffers[name], buffer)


def test_saving_gives_the_published_file_back(
    networks: PublishedNetworks, contents: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "again.pth"
    save_published(path, networks.generator, networks.discriminator)
    written = torch.load(path, weights_only=True)
    assert written.keys() == {"g", "d"}
    for network in ("g", "d"):
        assert list(written["g"]) == list(contents["g"])
        assert written[network].keys() == contents[network].keys()
        for name, tensor in contents[network].items():
            assert torch.equal(written[network][name], tensor), name
            assert written[network][name].dtype == tensor.dtype
    assert [file.name for file in tmp_path.iterdir()] == ["again.pth"]


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_round_trip(resolution: int, tmp_path: Path) -> None:
    config = _published_config(resolution)
    generator, ema = build_generator(config), build_generator(config)
    discriminator = build_discriminator(config)
    for seed, network in enumerate((generator, discriminator, ema)):
        _randomise(network, seed)
    path = tmp_path / "saved.pth"
    save_published(path, generator, discriminator, ema)
    loaded = load_published(str(path))
    assert loaded.generator.config == config
    _assert_same_state(loaded.generator, generator)
    _assert_same_state(loaded.discriminator, discriminator)
    assert loaded.ema is not None
    for ours, theirs in zip(loaded.ema.parameters(), ema.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    written = torch.load(path, weights_only=True)
    assert [tensor.shape for tensor in written["g_ema"]] == [
        written["g"][name].shape for name in _parameters(written["g"])
    ]


def test_names_beyond_256_px(tmp_path: Path) -> None:
    """The larger networks' extra layers follow `to_big`, as in the published module."""
    config = _published_config(1024)
    path = tmp_path / "saved.pth"
    save_published(path, build_generator(config), build_discriminator(config))
    written = torch.load(path, weights_only=True)
    stages = list(dict.fromkeys(name.split(".")[0] for name in written["g"]))
    assert stages[-5:] == ["to_128", "to_big", "feat_512", "se_512", "feat_1024"]
    stem = {name.split(".")[1] for name in written["d"] if name.startswith("down_from_big")}
    assert stem == {"0", "2", "3"}


def test_a_trained_networks_state_survives(tmp_path: Path) -> None:
    """Channels-last weights in training mode come back the same."""
    config = _published_config()
    generator = build_generator(config).to(memory_format=torch.channels_last)
    generator(torch.ones(2, 3))
    save_published(tmp_path / "saved.pth", generator, build_discriminator(config))
    _assert_same_state(load_published(tmp_path / "saved.pth").generator, generator)


def _drop(contents: dict[str, Any]) -> None:
    del contents["g"]["feat_64.1.weight_orig"]


def _drop_first(contents: dict[str, Any]) -> None:
    del contents["g"]["init.init.0.weight_orig"]


def _add(contents: dict[str, Any]) -> None:
    contents["d"]["attention.weight"] = torch.zeros(1)


def _reshape(contents: dict[str, Any]) -> None:
    contents["d"]["rf_small.weight_orig"] = torch.zeros(1, 30, 4, 4)


def _flatten(contents: dict[str, Any]) -> None:
    contents["d"]["rf_big.0.weight_orig"] = torch.zeros(128)


def _odd_width(contents: dict[str, Any]) -> None:
    contents["g"]["init.init.0.weight_orig"] = torch.zeros(256, 250, 4, 4)


def _too_wide(contents: dict[str, Any]) -> None:
    contents["d"]["rf_big.0.weight_orig"] = torch.zeros(16 * 2000, 1, 1, 1)


def _no_discriminator(contents: dict[str, Any]) -> None:
    del contents["d"]


def _no_tensors(contents: dict[str, Any]) -> None:
    contents["g"] = {"epoch": 3}


def _short_average(contents: dict[str, Any]) -> None:
    contents["g_ema"] = [torch.zeros(1)]


def _wrong_average(contents: dict[str, Any]) -> None:
    contents["g_ema"] = {"a": torch.zeros(1)}


def _shuffled_average(contents: dict[str, Any]) -> None:
    tensors = [contents["g"][name] for name in _parameters(contents["g"])]
    contents["g_ema"] = tensors[::-1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop, "g does not fit the published FastGAN: feat_64.1.weight_orig is missing"),
        (_drop_first, "g has no tensor init.init.0.weight_orig"),
        (_add, "d does not fit the published FastGAN: attention.weight is unknown"),
        (_reshape, "rf_small.weight_orig must have shape (1, 32, 4, 4) (got (1, 30, 4, 4))"),
        (_flatten, "rf_big.0.weight_orig must have 4 dimensions (got shape (128,))"),
        (
            _odd_width,
            "a multiple of 32, and those of the discriminator's head a multiple of 16 "
            "(got 250 and 128)",
        ),
        (_too_wide, "the sizes of its networks are not supported: ndf: must be at most 1024 (got "),
        (_no_discriminator, 'it must be a dict with the keys "g" and "d" (got [\'g\'])'),
        (_no_tensors, "g must be a state dict"),
        (
            _short_average,
            "g_ema must have 44 tensors, one for each parameter of the generator (got 1)",
        ),
        (_wrong_average, "g_ema must be a list of tensors (got dict)"),
        (
            _shuffled_average,
            "g_ema does not fit the published FastGAN: init.init.0.weight_orig must have shape",
        ),
    ],
)
def test_wrong_content_is_reported(
    spoil: Any, message: str, contents: dict[str, Any], tmp_path: Path
) -> None:
    spoil(contents)
    path = tmp_path / "spoilt.pth"
    torch.save(contents, path)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_published(path)
    assert str(path) in str(caught.value)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    torch.save({"g": _Bomb(tmp_path / "exploded"), "d": {}}, path)
    with pytest.raises(UserError, match="not a PyTorch checkpoint of plain tensors"):
        load_published(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = CHECKPOINT.read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"cut\.pth: is damaged or not a PyTorch checkpoint"):
        load_published(path)


@pytest.mark.parametrize(
    "content", [b"hello, I am a text\n" * 9, b"\x89PNG\r\n\x1a\n" + bytes(90), pickle.dumps([1, 2])]
)
def test_another_kind_of_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.pth: is "):
        load_published(path)


@pytest.mark.parametrize("value", [{}, [], {"weights": 1}, torch.zeros(2)])
def test_another_checkpoint_is_refused(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: is not a published FastGAN checkpoint"):
        load_published(tmp_path / "other.pth")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.pth: no such file"):
        load_published(tmp_path / "nowhere.pth")
    with pytest.raises(UserError, match="no such file"):
        load_published(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 128}, "model.resolution must be one of [256, 512, 1024] (got 128)"),
        ({"output_activation": "tanh"}, "because of output_activation."),
        ({"resolution": 1024, "output_activation": "none"}, "because of output_activation."),
        ({"g_noise": False, "d_sle": False}, "because of g_noise, d_sle."),
        ({"d_small": False, "decode_small": False}, "because of d_small, decode_small."),
        ({"d_norm": "none", "d_slope": 0.1}, "because of d_norm, d_slope."),
        ({"decode_full": False}, "because of decode_full."),
        ({"decode_part": "none"}, "because of decode_part."),
        ({"spectral_norm": False}, "because of spectral_norm."),
        (
            {"g_wavelet_skips": True, "d_high_frequency": True},
            "because of g_wavelet_skips, d_high_frequency.",
        ),
        ({"g_sle_8": False}, "because of g_sle_4/8/16/32."),
        ({"g_channels": [9, 8, 7, 6, 5, 4, 3]}, "because of g_channels."),
        ({"d_channels": [9, 8, 7, 6, 5, 4]}, "because of d_channels."),
        (
            {"aspect": "2:3"},
            "because of aspect. The format needs every component of the published FastGAN, square",
        ),
    ],
)
def test_what_the_published_form_lacks_is_refused(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = _published_config(**fields)
    with pytest.raises(UserError, match=re.escape(message)):
        save_published(tmp_path / "x.pth", build_generator(config), build_discriminator(config))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_another_mode_are_refused(channels: int, tmp_path: Path) -> None:
    config = _published_config()
    networks = [
        build(config, picture_channels=channels) for build in (build_generator, build_discriminator)
    ]
    with pytest.raises(UserError, match=f"needs RGB pictures .* have {channels} channels"):
        save_published(tmp_path / "x.pth", *networks)
    assert not list(tmp_path.iterdir())


def test_networks_of_two_configurations_are_refused(tmp_path: Path) -> None:
    generator = build_generator(_published_config(ngf=2))
    with pytest.raises(UserError, match="must have the same model settings"):
        save_published(tmp_path / "x.pth", generator, build_discriminator(_published_config()))


def test_an_unused_switch_does_not_matter(tmp_path: Path) -> None:
    config = _published_config(g_sle_32=False, decode_part="centre")
    save_published(tmp_path / "x.pth", build_generator(config), build_discriminator(config))
    load_published(tmp_path / "x.pth")


@pytest.mark.parametrize("target", ["missing/x.pth", "file/x.pth"])
def test_an_unwritable_path_is_reported(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = _published_config()
    with pytest.raises(UserError, match=r"x\.pth: cannot be written"):
        save_published(tmp_path / target, build_generator(config), build_discriminator(config))


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pth"
    path.write_text("old")

    def fail(_: object, file: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    config = _published_config()
    with pytest.raises(UserError, match="No space left on device"):
        save_published(path, build_generator(config), build_discriminator(config))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.pth"]
