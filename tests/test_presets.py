"""The presets by name: listed, printed, copied, and accepted in place of a file."""

import json
from pathlib import Path

import pytest
from command_line import call

from fastgan_ray.errors import UserError
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.file.presets import file_or_preset, preset_names, presets_folder
from fastgan_ray.search.file.read_ablation import ablation_from_text, load_ablation

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A user's folder, without a checkout."""
    monkeypatch.chdir(tmp_path)


def test_every_preset_is_listed_with_its_kind_and_its_first_sentence(capsys):
    assert call("presets", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert sorted(rows) == NAMES == preset_names()
    assert rows["demo"]["kind"] == "search" and rows["ablation_sle"]["kind"] == "ablation"
    assert rows["demo"]["description"].startswith("Demonstration: 198 drawn heads")
    for row in rows.values():
        assert row["cost"] and "Expect" not in row["cost"] and "Metric" not in row["cost"]
    assert call("presets") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)


def test_a_preset_is_printed_and_copied(tmp_path, capsys):
    assert call("presets", "demo") == 0
    text = capsys.readouterr().out
    schema = presets_folder() / "schema.json"
    assert text.startswith(f"# yaml-language-server: $schema={schema}\n")
    original = (ROOT / "search_spaces" / "demo.yaml").read_text()
    assert text.splitlines()[1:] == original.splitlines()[1:]
    assert call("presets", "demo", "--write", "new/mine.yaml") == 0
    assert (tmp_path / "new" / "mine.yaml").read_text() == text
    assert call("check", "new/mine.yaml") == 0
    assert call("presets", "demo", "--write", "new/mine.yaml") == 2
    assert "already exists" in capsys.readouterr().err
    assert call("presets", "--write", "x.yaml") == 2
    assert "--write: needs the name of a preset" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert call("presets", "demo", "--write", "file/x.yaml") == 2
    assert "--write: file/x.yaml cannot be written" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("preset", ["ablation_paper", "ablation_table3"])
def test_the_row_finetune_needs_only_a_start_of_the_users(preset):
    line = "  # finetune: {train.init_from: runs/NAME}\n"
    text = (ROOT / "search_spaces" / f"{preset}.yaml").read_text()
    assert text.endswith(line) and "finetune" not in ablation_from_text(text, "x").arms
    mine = text.replace(line, "  finetune: {train.init_from: runs/faces}\n")
    spec = ablation_from_text(mine, "mine.yaml")
    finetune = arm_config(spec, "finetune")
    assert finetune.train.init_from == "runs/faces"
    train = {"train": finetune.train.model_copy(update={"init_from": None})}
    assert finetune.model_copy(update=train) == arm_config(spec, "FastGAN")


def test_table_4_trains_on_parts_of_the_users_pictures():
    spec = load_ablation(presets_folder() / "ablation_table4.yaml", {"data.path": "nature"})
    limits = {arm: arm_config(spec, arm).data.limit for arm in spec.arms}
    assert limits == {"10000": 10_000, "5000": 5000, "2000": 2000}
    assert spec.baseline == "10000" and arm_config(spec, "2000").model.resolution == 1024


def test_commands_take_the_name_of_a_preset(capsys):
    assert call("check", "demo", "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "search"
    assert call("tune", "--config", "demo", "--dry-run") == 0
    assert "198 pictures" in capsys.readouterr().out
    assert call("ablate", "--config", "ablation_demo", "--dry-run") == 0
    assert "baseline" in capsys.readouterr().out


def test_a_file_comes_before_a_preset_of_its_name(tmp_path):
    (tmp_path / "demo").mkdir()  # a folder is not a file of settings
    assert file_or_preset(Path("demo")) == presets_folder() / "demo.yaml"
    (tmp_path / "fewshot").write_text("name: mine\n")
    assert file_or_preset(Path("fewshot")) == Path("fewshot")
    assert file_or_preset(Path("none/fewshot.txt")) == Path("none/fewshot.txt")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("demoo", "demoo: no preset has this name; did you mean demo?"),
        ("search_spaces/demo.yaml", "to use the preset, give only its name: demo"),
        ("fewshot.yml", "to use the preset, give only its name: fewshot"),
    ],
)
def test_a_name_that_is_nearly_right_is_explained(path, words, capsys):
    with pytest.raises(UserError) as caught:
        file_or_preset(Path(path))
    assert words in str(caught.value)
    assert call("tune", "--config", path) == 2
    assert words in " ".join(capsys.readouterr().err.split())
