"""A training that starts from given weights, and frozen blocks of D."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from command_line import call
from latent_checkpoints import model, published
from rich.console import Console
from safetensors.torch import load_file, save_file

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.latent.export import export
from fastgan_ray.latent.load import load_model
from fastgan_ray.models import ARCHITECTURES, build_discriminator
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import sample_configs
from fastgan_ray.train.checkpoint import read_metadata
from fastgan_ray.train.initial_weights import (
    check_start,
    describe,
    read_source,
    start_from,
)
from fastgan_ray.train.loop import train
from fastgan_ray.train.state import TrainState, new_state
from fastgan_ray.tune.preflight import STARTS, absolute_paths, check_starts

CPU = torch.device("cpu")
DCGAN = {"model.architecture": "dcgan", "model.dcgan_depth": 3, "model.dcgan_width": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with pictures and trainings of 4 steps: "run" and "dcgan"."""
    place = tmp_path_factory.mktemp("place")
    (place / "pictures").mkdir()
    tiny.write_pictures(place / "pictures", 4)
    for name, changes in {"run": {}, "dcgan": DCGAN}.items():
        train(settings(place, **changes), tiny.Recorder(place / name))
    return place


def settings(place: Path, **changes) -> RunConfig:
    fixed = {"data.path": str(place / "pictures"), "eval.extractor": "none"}
    return tiny.config(**fixed, **changes)


def started(config: RunConfig) -> TrainState:
    state = new_state(config, 4, CPU)
    start_from(state, read_source(config.train), config)
    return state


def last(folder: Path) -> Path:
    return max(folder.glob("checkpoint-0*"))


@pytest.mark.parametrize("source", ["run", "checkpoint", "export", "hub"])
def test_every_kind_of_source_gives_its_generator(place, tmp_path, source):
    path = {"run": place / "run", "checkpoint": last(place / "run")}.get(source)
    if path is None:
        path = tmp_path / "exported"
        export(place / "run", {"export": "folder", "hub": "hub"}[source], path)
    networks = "both" if source in ("run", "checkpoint") else "generator"
    changes = {"train.init_from": str(path), "train.init_networks": networks}
    state = started(settings(place, **changes, **{"train.seed": 3}))
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    exported = source in ("export", "hub")
    # An export has the normalised weights, whose norms are 1 only as exactly as the training knew
    # them. Its batch statistics are measured again at each evaluation.
    expected = load_model(place / "run")[0].train(exported)(z)[0]
    for network in (state.generator, state.ema):
        pictures = network.train(exported)(z)[0]
        torch.testing.assert_close(pictures, expected, rtol=0, atol=0.03 if exported else 1e-4)
    discriminator = load_file(last(place / "run") / "discriminator.safetensors")
    same = [torch.equal(value, discriminator[name]) for name, value in
            state.discriminator.named_parameters()]  # fmt: skip
    assert all(same) if networks == "both" else not any(same)


def test_a_published_file_is_a_source(tmp_path):
    path = published(tmp_path / "published.pth")
    sizes = {"resolution": 256, "ngf": 4, "ndf": 4, "nz": 8, "output_activation": "none"}
    config = RunConfig.model_validate({"model": sizes, "train": {"init_from": str(path)}})
    record = check_start(config)
    for network in ("generator", "discriminator"):
        assert record[network]["tensors"] == record[network]["all_tensors"]


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("networks", ["both", "generator", "discriminator"])
def test_the_chosen_networks_start_from_it_and_the_others_do_not(place, networks, average):
    changes = {"train.init_networks": networks, "train.init_average": average}
    config = settings(place, **changes, **{"train.init_from": str(place / "run"), "train.seed": 5})
    state, fresh = started(config), new_state(config, 4, CPU)
    files = {"generator": "ema" if average else "generator", "discriminator": "discriminator"}
    for name, file in files.items():
        given = load_file(last(place / "run") / f"{file}.safetensors")
        own = dict(getattr(fresh, name).named_parameters())
        expected = given if networks in ("both", name) else own
        for key, weight in getattr(state, name).named_parameters():
            assert torch.equal(weight, expected[key]), key
    average_now, generator = state.ema.state_dict(), state.generator.state_dict()
    assert all(torch.equal(value, generator[key]) for key, value in average_now.items())
    assert not state.optimizer_g.state and not state.optimizer_d.state


def test_other_widths_are_refused_by_the_names_of_tensors(place):
    config = settings(place, **{"model.ngf": 6, "train.init_from": str(place / "run")})
    with pytest.raises(UserError) as error:
        check_start(config)
    text = str(error.value)
    assert "tensors of the generator" in text and "init_partial to true" in text
    shape = dict(new_state(config, 4, CPU).generator.named_parameters())
    name = next(iter(shape))
    assert (
        f"{name}: (" in text and f" in the source, {tuple(shape[name].shape)} in this model" in text
    )


def test_partly_what_fits_is_taken_and_counted(place):
    changes = {"model.ngf": 6, "train.init_partial": True, "train.init_from": str(place / "run")}
    config = settings(place, **changes)
    state, fresh = started(config), new_state(config, 4, CPU)
    given = load_file(last(place / "run") / "ema.safetensors")
    own = dict(fresh.generator.named_parameters())
    taken = []
    for key, weight in state.generator.named_parameters():
        fits = key in given and given[key].shape == weight.shape
        assert torch.equal(weight, given[key] if fits else own[key]), key
        taken += [weight.numel()] if fits else []
    share = state.start["generator"]
    assert (share["tensors"], share["parameters"]) == (len(taken), sum(taken))
    assert 0 < share["tensors"] < share["all_tensors"] == len(own)
    assert share["all_parameters"] == sum(weight.numel() for weight in own.values())
    percent = f"{sum(taken) / share['all_parameters']:.0%} of parameters"
    assert f"generator: {len(taken)} of {len(own)} tensors ({percent})" in describe(state.start)
    everything = state.start["discriminator"]
    assert everything["tensors"] == everything["all_tensors"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train.init_from": "nowhere"}, "train.init_from: nowhere: no such file or folder"),
        ({"train.init_from": "pictures"}, "no checkpoint found"),
        ({"train.init_from": "pictures/0.PNG"}, "is damaged or not a PyTorch checkpoint"),
        ({"train.init_from": "exported"}, "set train.init_networks to generator"),
        (
            {
                "train.init_from": "exported",
                "train.init_networks": "generator",
                "train.init_average": False,
            },
            "set train.init_average to true",
        ),
        ({"train.init_from": "dcgan", "train.init_partial": True}, "of the generator"),
        ({"train.init_from": "cut"}, "missing, truncated or damaged"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(place, monkeypatch, changes, expected):
    monkeypatch.chdir(place)
    if not Path("exported").exists():
        export(Path("run"), "folder", Path("exported"))
        shutil.copytree(last(Path("run")), "cut")
        weights = Path("cut/ema.safetensors")
        weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError) as error:
        check_start(settings(place, **changes))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train.freeze_d": 1}, "freeze_d must be 0 unless the discriminator's weights come"),
        (
            {"train.freeze_d": 1, "train.init_from": "x", "train.init_networks": "generator"},
            "init_networks generator",
        ),
        ({"train.freeze_d": 4, "train.init_from": "x"}, "freeze_d must be at most 3"),
    ],
)
def test_frozen_blocks_need_given_weights(changes, expected):
    with pytest.raises(ValueError, match=expected):
        tiny.config(**changes)


@pytest.mark.parametrize(
    ("architecture", "resolution"),
    [*((name, side) for name in ARCHITECTURES for side in (32, 64, 128)), ("fastgan", 512)],
)
def test_the_configuration_knows_the_number_of_blocks(resolution, architecture):
    depth = (resolution // 4).bit_length() - 1
    sizes = {"resolution": resolution, "architecture": architecture, "dcgan_depth": depth}
    config = model(**sizes, dcgan_width=4)
    assert len(build_discriminator(config).blocks_from_picture()) == config.d_blocks


@pytest.mark.parametrize("network", ["run", "dcgan"])
def test_frozen_weights_are_equal_bit_for_bit_after_training(place, tmp_path, network):
    changes = DCGAN if network == "dcgan" else {}
    fixed = {"train.init_from": str(place / network), "train.freeze_d": 2, "train.seed": 8}
    config = settings(place, **changes, **fixed)
    train(config, tiny.Recorder(tmp_path))
    before, after = (
        load_file(last(folder) / "discriminator.safetensors")
        for folder in (place / network, tmp_path)
    )
    discriminator = new_state(config, 4, CPU).discriminator
    blocks = discriminator.blocks_from_picture()
    frozen = {weight for block in blocks[:2] for part in block for weight in part.parameters()}
    names = {name for name, weight in discriminator.named_parameters() if weight in frozen}
    others = {name for name, _ in discriminator.named_parameters()} - names
    assert names and all(torch.equal(before[name], after[name]) for name in names)
    assert others and not any(torch.equal(before[name], after[name]) for name in others)


def test_a_resumed_training_does_not_load_it_again_and_says_that_it_changed(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "source")
    config = settings(place, **{"train.init_from": str(tmp_path / "source")})
    train(config, tiny.Recorder(tmp_path / "whole"))
    first = tiny.Recorder(tmp_path / "half")
    half = config.model_copy(
        update={"train": config.train.model_copy(update={"total_kimg": 0.008})}
    )
    train(half, first)
    record = read_metadata(last(first.folder))["start"]
    assert record["from"] == str(tmp_path / "source") and len(record["sha256"]) == 64
    weights = last(tmp_path / "source") / "ema.safetensors"
    tensors = {name: value + 1 for name, value in load_file(weights).items()}
    save_file(tensors, weights)
    with pytest.warns(UserWarning, match="has changed since this training started from it"):
        train(config, tiny.Recorder(tmp_path / "half"), last(first.folder))
    shutil.rmtree(tmp_path / "source")
    train(config, tiny.Recorder(tmp_path / "again"), last(first.folder.parent / "half"))
    files = ("generator", "discriminator", "ema")
    whole, resumed = (
        [load_file(last(tmp_path / run) / f"{name}.safetensors") for name in files]
        for run in ("whole", "half")
    )
    for expected, tensors in zip(whole, resumed, strict=True):
        assert all(torch.equal(value, tensors[name]) for name, value in expected.items())
    assert read_metadata(last(tmp_path / "half"))["start"] == record


def test_the_command_says_how_much_fits_before_it_reads_pictures(place, tmp_path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps(tiny.SETTINGS))
    command = ("train", "--config", config, "--data", tmp_path / "nowhere", "--wandb", "off")
    out = ("--out", tmp_path / "out", "--init-from")
    assert call(*command, *out, place / "dcgan") == 2
    assert "tensors of the generator in" in " ".join(capsys.readouterr().err.split())
    assert call(*command, *out, place / "run") == 2
    streams = capsys.readouterr()
    assert f"Start from {place / 'run'} (sha256 " in streams.out
    assert "(100% of parameters); discriminator:" in streams.out and "nowhere" in streams.err
    assert not (tmp_path / "out" / "config.yaml").exists()


SEARCH = """
method: random
run_cap: 4
metric: {name: fd_efficientnet_lite0, goal: minimize}
parameters:
  train.init_from: {values: [null, SOURCE]}
  train.freeze_d: {values: [0, 2], when: {train.init_from: SOURCE}}
"""


def test_from_scratch_or_from_a_source_is_a_choice_of_a_search(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    text = SEARCH.replace("SOURCE", "run") + f"base: {json.dumps(tiny.SETTINGS)}"
    configs = sample_configs(spec_from_text(text, "search.yaml"))
    choices = {(config.train.init_from, config.train.freeze_d) for config in configs}
    assert choices == {(None, 0), ("run", 0), ("run", 2)}
    assert {absolute_paths(c).train.init_from for c in configs} == {None, str(place / "run")}
    check_starts(configs, tmp_path, Console(quiet=True))
    (sha256,) = json.loads((tmp_path / STARTS).read_text()).values()
    (first, *_) = (config.train for config in configs if config.train.init_from)
    assert sha256 == read_source(first).sha256
    check_starts(configs, tmp_path, Console(quiet=True))
    (tmp_path / STARTS).write_text((tmp_path / STARTS).read_text().replace(sha256, "0" * 64))
    with pytest.raises(UserError, match="has changed since the first trials started from it"):
        check_starts(configs, tmp_path, Console(quiet=True))


def test_check_says_what_fits_and_refuses_what_does_not(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    settings = {key: value for key, value in tiny.SETTINGS.items() if key != "model.ngf"}

    def check(source: str, ngf: int) -> tuple[int, str]:
        run = {**settings, "model.ngf": ngf, "train.init_from": source}
        Path("check.yaml").write_text(json.dumps(run))
        status = call("check", "check.yaml")
        streams = capsys.readouterr()
        return status, " ".join((streams.out + streams.err).split())

    status, text = check("run", 4)
    assert status == 0 and "Start from run (sha256 " in text
    status, text = check("run", 6)
    assert status == 2 and "tensors of the generator in run do not fit" in text
    status, text = check("elsewhere", 4)
    assert status == 0 and "Start from elsewhere, which does not exist on this machine" in text


@pytest.mark.parametrize("source", ["run", "dcgan", "elsewhere"])
def test_a_dry_run_needs_the_given_weights(place, monkeypatch, capsys, source):
    monkeypatch.chdir(place)
    text = SEARCH.replace("SOURCE", source) + f"base: {json.dumps(tiny.SETTINGS)}"
    Path("search.yaml").write_text(text)
    status = call("tune", "--config", "search.yaml", "--data", "pictures", "--dry-run")
    streams = capsys.readouterr()
    expected = {
        "run": "Start from run (sha256 ",
        "dcgan": "do not fit",
        "elsewhere": "elsewhere: no such file or folder",
    }
    assert status == (0 if source == "run" else 2)
    assert expected[source] in " ".join((streams.out + streams.err).split())
