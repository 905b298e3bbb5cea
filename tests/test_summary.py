"""`summary`: the layers of the networks, with shapes, parameters and operations."""

import json
from typing import get_args

import pytest
from command_line import call
from latent_checkpoints import published, tiny_checkpoint

from fastgan_ray.config.model_values import SelfSupervision
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.train.costs import count_parameters, sampling_gflop
from fastgan_ray.train.summary import summarise_discriminator, summarise_generator

SMALL = {"model.resolution": 64, "model.ngf": 8, "model.ndf": 8, "model.decoder_width": 4}
CONFIGS = {
    "fastgan": SMALL,
    "every part off": {
        **SMALL,
        **{f"model.{part}": False for part in ("g_sle_4", "g_noise", "d_sle", "spectral_norm")},
        **{"model.d_small": False, "model.self_supervision": "none", "model.decode_small": False},
    },
    "contrastive, grey, not square": {
        **SMALL,
        "model.self_supervision": "ae_contrastive",
        "model.aspect": "2:3",
        "data.mode": "grey",
    },
    "dcgan": {"model.architecture": "dcgan", "model.resolution": 64, "model.dcgan_width": 16},
    "stylegan2": {**SMALL, "model.architecture": "stylegan2"},
    "sngan": {**SMALL, "model.architecture": "sngan", "model.self_supervision": "contrastive"},
    "high frequencies, MixDL": {**SMALL, "model.d_high_frequency": True, "model.d_mixdl": True},
    **{task: {**SMALL, "model.self_supervision": task} for task in get_args(SelfSupervision)},
}


def test_the_frozen_layers_of_a_projected_discriminator_have_operations_but_no_parameters():
    projected = {**SMALL, "model.discriminator": "projected", "model.d_input_px": 128}
    config = RunConfig.model_validate(projected)
    frozen, *layers = summarise_discriminator(config).layers
    assert (frozen.kind, frozen.output) == ("efficientnet_lite1, frozen", (64, 64, 64))
    assert frozen.parameters == 0 and frozen.gflop > 0.1
    network = build_discriminator(config.model)
    assert sum(layer.parameters for layer in layers) == count_parameters(network)
    assert {layer.name.partition(".")[0] for layer in layers} == {"blocks", "heads"}


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_layers_add_up_to_the_counts_of_the_networks(settings):
    config = RunConfig.model_validate(settings)
    channels = config.data.channels
    generator, discriminator = summarise_generator(config), summarise_discriminator(config)
    network = build_generator(config.model, picture_channels=channels)
    assert generator.parameters == count_parameters(network)
    assert generator.gflop == pytest.approx(sampling_gflop(config), rel=1e-9)
    network = build_discriminator(config.model, picture_channels=channels)
    assert discriminator.parameters == count_parameters(network)
    assert any(layer.output == (channels, *config.model.size) for layer in generator.layers)
    for layer in generator.layers + discriminator.layers:
        assert layer.parameters > 0 and layer.output and layer.name
        assert bool(layer.gflop) == layer.kind.startswith(("Conv", "Linear")), layer


def test_operations_and_shape_of_a_layer():
    layers = {layer.name: layer for layer in summarise_discriminator(config_of(SMALL)).layers}
    stem = layers["stem.0"]  # 3 -> 8 channels, 3x3 kernel
    assert (stem.kind, stem.output, stem.parameters) == ("Conv2d", (8, 64, 64), 3 * 8 * 9)
    assert stem.gflop == pytest.approx(2 * 3 * 8 * 9 * 64 * 64 / 1e9)


def config_of(settings):
    return RunConfig.model_validate(settings)


def layers_of(capsys, *arguments):
    assert call("summary", *arguments, "--json") == 0
    return {row["network"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_published_networks(capsys):
    networks = layers_of(capsys)
    assert networks["generator"]["parameters"] == 29_127_846
    assert networks["discriminator"]["parameters"] == 11_526_160


def test_of_a_configuration_a_checkpoint_and_a_run(capsys, tmp_path):
    folder = tmp_path / "run" / "checkpoint"
    folder.mkdir(parents=True)
    tiny_checkpoint(folder, ngf=6)
    config = RunConfig.model_validate(json.loads((folder / "metadata.json").read_text())["config"])
    (tmp_path / "run.yaml").write_text(dump_run_config(config))
    expected = layers_of(capsys, folder)
    assert expected["generator"]["parameters"] == summarise_generator(config).parameters
    assert layers_of(capsys, tmp_path / "run") == expected
    assert layers_of(capsys, tmp_path / "run.yaml") == expected
    changed = layers_of(capsys, folder, "--set", "model.ngf=12")
    assert changed["generator"]["parameters"] > expected["generator"]["parameters"]
    assert changed["discriminator"] == expected["discriminator"]


def test_of_a_published_file_and_of_an_exported_folder(capsys, tmp_path):
    networks = layers_of(capsys, published(tmp_path / "all.pth"))
    (tmp_path / "run").mkdir()
    tiny_checkpoint(tmp_path / "run")
    assert networks.keys() == {"generator", "discriminator"}
    assert call("export", tmp_path / "run", "--out", tmp_path / "exported") == 0
    capsys.readouterr()
    exported = layers_of(capsys, tmp_path / "exported")
    assert exported == {"generator": layers_of(capsys, tmp_path / "run")["generator"]}


def test_the_table_ends_with_the_sums(capsys, tmp_path):
    (tmp_path / "run.yaml").write_text(dump_run_config(config_of(SMALL)))
    assert call("summary", tmp_path / "run.yaml") == 0
    out = capsys.readouterr().out
    generator = summarise_generator(config_of(SMALL))
    assert f"generator: {generator.parameters:,} parameters" in out
    assert "to judge one real picture and reconstruct it" in out and "stem.conv" in out


def test_a_discriminator_without_decoders_reconstructs_nothing(capsys):
    assert call("summary", "--set", "model.architecture=dcgan", "--set", "model.resolution=64") == 0
    out = capsys.readouterr().out
    assert "GFLOP to judge one real picture" in out and "reconstruct" not in out


def test_what_is_no_target_is_refused(capsys, tmp_path):
    assert call("summary", tmp_path / "nothing") == 2
    assert "no such file or folder" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "search.yaml").write_text("method: random\nparameters: {}\n")
    assert call("summary", tmp_path / "search.yaml") == 2
    assert "is a search" in " ".join(capsys.readouterr().err.split())
