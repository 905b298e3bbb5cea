"""Every setting with its description, unit, default and range: docs/settings.md and the command."""

import runpy
from pathlib import Path

import pytest
from command_line import call

from fastgan_ray.config.reference import as_lines, as_markdown, reference
from fastgan_ray.config.run_config import RunConfig, field_names, flatten

ROOT = Path(__file__).parents[1]
# Numbers that have no unit: rates, factors, weights, seeds.
PURE = {
    *("train.lr_g", "train.lr_d", "train.beta1", "train.beta2", "train.label_noise"),
    *("train.r1_gamma", "train.r2_gamma", "train.gp_weight", "train.reconstruction_weight"),
    *("train.lecam_weight", "train.lecam_decay", "train.gradient_gap_weight"),
    *("train.mixdl_g_weight", "train.mixdl_d_weight", "train.alignment_weight"),
    *("train.chain_weight", "train.chain_target"),
    *("train.bcr_real_weight", "train.bcr_fake_weight", "train.zcr_d_weight"),
    *("train.zcr_g_weight", "train.zcr_noise", "train.instance_noise"),
    *("train.augself_d_weight", "train.augself_g_weight"),
    *("train.insgen_d_fake_weight", "train.insgen_d_real_weight", "train.insgen_g_weight"),
    *("train.insgen_temperature", "train.insgen_noise", "train.insgen_forgetting"),
    *("train.contrastive_weight", "train.contrastive_temperature", "train.seed", "eval.seed"),
    *("augment.brightness", "augment.saturation", "augment.contrast", "augment.ada_target"),
    *("regan.dense_lr_factor", "model.d_slope"),
}


def settings():
    return {setting.name: setting for setting in reference()}


def test_the_page_is_current():
    page = runpy.run_path(str(ROOT / "docs" / "list_settings.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text() == page, "run: make settings"


def test_every_setting_is_on_the_page_with_what_it_means():
    page = (ROOT / "docs" / "settings.md").read_text()
    assert tuple(settings()) == field_names()
    for setting in reference():
        assert setting.description and setting.default and setting.range
        assert as_markdown([setting]).splitlines()[-1] in page


def test_every_number_has_a_unit_or_needs_none():
    numbers = {
        name
        for name, setting in settings().items()
        if any(kind in setting.range for kind in ("integer", "number")) or name.endswith("_kimg")
    }
    assert {name for name in numbers if not settings()[name].unit} == PURE
    assert all(x.unit == "kimg" for name, x in settings().items() if name.endswith("_kimg"))


@pytest.mark.parametrize(
    ("name", "default", "values", "unit"),
    [
        ("train.lr_g", "0.0002", "number, above 0, below 1", ""),
        ("train.total_kimg", "400", "number, above 0", "kimg"),
        ("train.seed", "0", "integer, 0 to 2147483647", ""),
        ("train.batch_size", "8", "integer, 1 to 4096", "pictures"),
        ("model.resolution", "256", "32, 64, 128, 256, 512, 1024", "px"),
        ("model.g_sle_4", "true", "true, false", ""),
        ("model.d_dropout", "null", "null, or number, at least 0, below 1", "fraction"),
        ("model.g_channels", "null", "null, or list of integers", "channels"),
        ("data.path", "null", "null, or text", ""),
        ("data.limit", "null", "null, or number, above 0", "pictures, or fraction of the pictures"),
        ("data.mode", "rgb", "rgb, grey, rgba", ""),
        ("augment.probability", "1", "number, 0 to 1", "probability"),
    ],
)
def test_default_range_and_unit(name, default, values, unit):
    setting = settings()[name]
    assert (setting.default, setting.range, setting.unit) == (default, values, unit)


def test_defaults_are_those_of_a_run():
    for name, value in flatten(RunConfig().model_dump()).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert float(settings()[name].default) == pytest.approx(value, rel=1e-5)


def test_the_command_prints_the_same(capsys):
    assert call("train", "--help-settings") == 0
    lines = [line for setting in reference() for line in as_lines(setting)]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("word", ["lr_g", "LR_G", "learning rate"])
def test_the_command_prints_the_settings_that_have_a_word(word, capsys):
    assert call("train", "--help-settings", word) == 0
    out = capsys.readouterr().out
    assert "train.lr_g: learning rate of Adam for the generator" in out
    assert "default: 0.0002; range: number, above 0, below 1" in out
    assert "model.resolution:" not in out


def test_a_word_that_no_setting_has_is_an_error(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("train", "--help-settings", "perceptron") == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "no setting has perceptron in its name or description" in err
    assert not [*tmp_path.iterdir()]
