"""Ablation files: what they mean, every error with its line, and the presets that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgan_ray.cli.main import main
from fastgan_ray.data.catalog import CATALOG
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_generator
from fastgan_ray.search.ablation import arm_config, cell_config, cells, data_name
from fastgan_ray.search.file.read_ablation import ablation_from_text, load_ablation
from fastgan_ray.train.losses import LOSSES

SPACES = Path(__file__).parents[1] / "search_spaces"
PRESETS = sorted(SPACES.glob("ablation_*.yaml"))

GOOD = """\
# Two arms.
name: good
metric: {name: fid}
baseline: plain
seeds: [3, 1]
data: [pictures/cats, 100-shot-obama]
base: {train.total_kimg: 10, model: {ngf: 16}}
arms:
  plain:
  no SLE: {model: {g_sle_4: false, d_sle: false}}
  wide: {model.ngf: 32}
"""
HEAD = "metric: {name: fid}\nseeds: 2\n"


def errors_of(text: str, **more: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        ablation_from_text(text, "bad.yaml", **more)
    return str(caught.value).split("\n")


def test_a_file_means_what_it_says():
    spec = ablation_from_text(GOOD, "good.yaml")
    assert (spec.name, spec.baseline, spec.seeds) == ("good", "plain", (3, 1))
    assert spec.data == ("pictures/cats", "100-shot-obama")
    assert spec.description == "Two arms."
    assert (spec.metric.name, spec.metric.goal) == ("fid5k_full", "minimize")
    assert spec.arms == {
        "plain": {},
        "no SLE": {"model.g_sle_4": False, "model.d_sle": False},
        "wide": {"model.ngf": 32},
    }
    assert [data_name(data) for data in spec.data] == ["cats", "100-shot-obama"]


def test_cells_are_arms_by_data_sets_by_seeds_a_whole_seed_first():
    spec = ablation_from_text(GOOD, "good.yaml")
    found = cells(spec)
    assert len(found) == len(set(found)) == 3 * 2 * 2
    assert [cell.arm for cell in found[:3]] == ["plain", "no SLE", "wide"]
    assert {cell.seed for cell in found[:6]} == {3}
    config = cell_config(spec, found[-1])
    assert (config.data.path, config.train.seed) == ("100-shot-obama", 1)
    assert (config.model.ngf, config.train.total_kimg) == (32, 10)
    assert arm_config(spec, "no SLE").model.ngf == 16


def test_the_baseline_may_be_settings_and_seeds_a_count():
    text = HEAD + "baseline: {model.ngf: 8}\narms: {wide: {model.ngf: 64}}\n"
    spec = ablation_from_text(text, "x.yaml")
    assert spec.baseline == "baseline" and list(spec.arms) == ["baseline", "wide"]
    assert arm_config(spec, "baseline").model.ngf == 8
    assert spec.seeds == (0, 1) and spec.data == (None,)
    base_itself = HEAD + "baseline: {}\narms: {wide: {model.ngf: 8}}\n"
    assert ablation_from_text(base_itself, "x.yaml").arms["baseline"] == {}


def test_overrides_win_over_base_and_arms():
    chosen = {"model.resolution": 64, "data.path": "mine", "eval.extractor": "efficientnet_lite0"}
    spec = ablation_from_text(GOOD, "good.yaml", chosen, seeds=[7])
    assert spec.data == ("mine",) and spec.seeds == (7,)
    assert spec.metric.name == "fd_efficientnet_lite0"
    assert arm_config(spec, "wide").model.resolution == 64
    again = ablation_from_text(spec.text, "good.yaml", spec.overrides, spec.seeds)
    assert again == spec


def test_an_override_that_makes_two_arms_one_is_refused():
    (error,) = errors_of(GOOD, overrides={"model.ngf": 8})
    assert error.startswith("bad.yaml:11: arm wide: has the same settings as arm plain after the")
    (error,) = errors_of(GOOD, overrides={"train.seed": 8})
    assert error == "--set: train.seed: the file's key `seeds` sets it; use --seeds to change it"
    text = HEAD + "baseline: {}\narms: {one: {model: {d_small: false, decode_small: false}}}\n"
    (error,) = errors_of(text, overrides={"model.decode_small": True})
    assert (
        "arm one, after the changes of --set: model: decode_small must be false if d_small is false"
        in error
    )


def test_an_override_that_breaks_base_alone_is_an_error_of_the_command():
    text = HEAD + "baseline: {train.batch_size: 9}\narms: {one: {train.batch_size: 12}}\n"
    (error,) = errors_of(text, overrides={"resources.workers": 3})
    assert "after the changes of --set: " in error and "batch_size" in error


def test_every_error_is_reported_at_once_with_its_line():
    text = """\
metric: {name: fid, target: 3}
methd: bayes
parameters: {}
early_terminate: {min_iter: 1}
seeds: [1, 1]
data: [x, x]
baseline: plan
base: {data.path: y, train.seed: 4, train.beta1: 1.2}
arms:
  plain:
  seeded: {train.seed: 3}
  measured: {eval.num_fakes: 3, data: {path: z, fit: crop}}
  mistyped: {model.nfg: 8, model.ngf: 0}
  clash: {model.d_small: false}
"""
    found = errors_of(text)
    for place, words in {
        "1: metric.target": "is possible only in a search",
        "2: methd": "is not a known key",
        "3: parameters": "an ablation has arms",
        "4: early_terminate": "trains every arm to the end",
        "5: seeds": "must be the number of seeds",
        "6: data": "base already has data.path",
        "7: baseline": "did you mean plain?",
        "8: train.seed": "is set by the key `seeds`",
        "8: train.beta1": "must be less than 1",
        "11: arm seeded: train.seed": "is set by the key `seeds`",
        "12: arm measured: eval.num_fakes": "must be the same for all arms",
        "12: arm measured: data.path": "is set by the key `data`",
        "12: arm measured: data.fit": "must be the same for all arms",
        "13: arm mistyped: model.nfg": "did you mean model.ngf?",
        "13: arm mistyped: model.ngf": "must be at least 1",
        "14: arm clash: model": "decode_small must be false if d_small is false",
    }.items():
        line = next((line for line in found if line.startswith(f"bad.yaml:{place}: ")), None)
        assert line is not None, f"{place} is not among\n" + "\n".join(found)
        assert words in line


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("baseline: a\narms: {a: }", "baseline: is the only arm; add another arm"),
        ("baseline: a\narms: [a, b]", "arms: must be a mapping from names of arms to settings"),
        ("baseline: a", "needs arms: a mapping from the name of each arm to its settings"),
        (
            "arms: {a: , b: {model.ngf: 8}}",
            "needs baseline: the baseline that each arm is compared with",
        ),
        (
            "baseline: {}\narms: {baseline: {model.ngf: 8}}",
            "arms already has an arm with the name baseline",
        ),
        ("baseline: a\narms: {a: , b: {}}", "b: has the same settings as arm a"),
        (
            "baseline: a\narms: {a: , b: 3}",
            "b: must be a mapping of settings, such as {model.ngf: 8} (got 3)",
        ),
        (
            "baseline: a\narms: {a: , '': {model.ngf: 8}}",
            "name of an arm must have 1 to 60 printable characters",
        ),
        ("baseline: a\narms: {a: , a: {model.ngf: 8}}", "is given twice"),
        ("data: []\nbaseline: {}\narms: {b: {model.ngf: 8}}", "data: must be a list"),
        (
            "data: [a/x, b/x]\nbaseline: {}\narms: {b: {model.ngf: 8}}",
            "the last part of each path must be different",
        ),
    ],
)
def test_errors(rest, words):
    assert any(words in error for error in errors_of(HEAD + rest))


@pytest.mark.parametrize("seeds", ["0", "-1", "[]", "[-1]", "[1.5]", "true", "five", "99999999"])
def test_seeds_that_are_refused(seeds):
    text = f"metric: {{name: fid}}\nseeds: {seeds}\nbaseline: {{}}\narms: {{b: {{model.ngf: 8}}}}\n"
    assert errors_of(text)[0].startswith("bad.yaml:2: seeds: must be the number of seeds")


def test_a_dry_run_shows_cells_cost_and_data(capsys):
    file = SPACES / "ablation_demo.yaml"
    for command in (["ablate", "--config", str(file), "--dry-run"], ["check", str(file)]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        out = capsys.readouterr().out
        assert ended.value.code == 0
        assert "4 arms x 1 data set x 5 seeds = 20" in out
        assert "198 pictures in fluent-heads" in out
        assert "+ decode" in out and "cost" in out


def test_an_error_is_a_sentence_and_exit_status_2(tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(HEAD + "baseline: a\narms: {b: {model.nfg: 8}}\n")
    for more in ([], ["--seeds", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(["ablate", "--config", str(tmp_path / "x.yaml"), *more])
        assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "did you mean model.ngf?" in err and "--seeds: must be" in err


@pytest.mark.parametrize("file", PRESETS, ids=lambda path: path.stem)
def test_presets(file):
    spec = load_ablation(file)
    assert spec.name == file.stem
    assert 2 <= len(spec.arms) <= 10 and len(spec.seeds) >= 3
    for line in ("Command:", "Cost:", "Expect:"):
        assert line in spec.description
    assert f"fastgan-ray ablate --config {file.stem}" in spec.description
    load_ablation(file, {"eval.extractor": "efficientnet_lite0", "data.path": "mine"})


def test_the_preset_of_losses_has_every_loss_and_only_changes_the_loss():
    spec = load_ablation(SPACES / "ablation_losses.yaml")
    assert {arm["train.loss"] for arm in spec.arms.values()} == set(LOSSES)
    assert spec.arms[spec.baseline] == {"train.loss": "hinge"}
    penalised = {name for name, arm in spec.arms.items() if arm.get("train.r1_gamma")}
    assert penalised == {"relativistic"}  # which needs R1 and R2
    assert spec.arms["relativistic"]["train.r2_gamma"] > 0


def test_the_preset_of_table_3_has_its_seven_sets_and_two_models_at_1024_px():
    spec, paper = (load_ablation(SPACES / f"ablation_{name}.yaml") for name in ("table3", "paper"))
    published = {
        "art-painting",
        "ffhq-1k",
        "flower-1k",
        "pokemon",
        "anime-face",
        "skulls",
        "shells",
    }
    assert set(spec.data) == published and published <= set(CATALOG)
    assert not [name for name in published if CATALOG[name].downloadable]
    assert set(spec.arms) == {"Baseline", "FastGAN"}
    for arm in spec.arms:
        assert spec.arms[arm] == paper.arms[arm]
        assert arm_config(spec, arm).model.resolution == 1024


def test_the_preset_of_sle_at_1024_px_switches_every_site_off():
    spec = load_ablation(SPACES / "ablation_sle_1024.yaml")
    sites = {f"model.g_sle_{source}" for source in (4, 8, 16, 32)}
    off = {
        name: {key for key, value in arm.items() if value is False}
        for name, arm in spec.arms.items()
    }
    assert {name for arm in off.values() if len(arm) == 1 for name in arm} == sites | {
        "model.d_sle"
    }
    assert off["none"] == sites | {"model.d_sle"} and off["none in G"] == sites
    small = {"ngf": 1, "nz": 4, "spectral_norm": False}
    generator = build_generator(arm_config(spec, "FastGAN").model.model_copy(update=small))
    assert len(generator.skips) == 4  # at 1024 px all four sites exist
