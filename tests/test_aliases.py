"""A setting that has a new name is read under its old one, everywhere, and said so once."""

from __future__ import annotations

import json

import pytest
import tiny

from fastgan_ray.config import aliases
from fastgan_ray.config.run_config import RunConfig, field_names
from fastgan_ray.config.run_file import load_run_config, parse_assignments
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.model import AblationFile, SearchFile
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.warm_start import load_earlier_trials
from fastgan_ray.train.checkpoint import stored_config

OLD, NEW = "train.generator_rate", "train.lr_g"
OLD_BETA, BETA = "train.first_moment", "train.beta1"
NOTE = "note: train.generator_rate is now called train.lr_g"
SEARCH = """\
method: random
metric: {name: fid}
base: {train: {first_moment: 0.3}, model.ngf: 8}
changes: {every: 40, change: [train.generator_rate]}
parameters:
  train.generator_rate: {values: [1e-4, 1e-3]}
  train.lr_d: {value: 1e-3, when: {train.generator_rate: 1e-3}}
"""


@pytest.fixture(autouse=True)
def renamed(monkeypatch):
    """As if `lr_g` and `population` had been called otherwise."""
    monkeypatch.setattr(aliases, "ALIASES", {OLD: NEW, OLD_BETA: BETA, "changes": "population"})
    aliases._say_once.cache_clear()
    yield
    aliases._say_once.cache_clear()


def test_a_search_file(capsys):
    spec = spec_from_text(SEARCH, "x.yaml")
    assert spec.base == {BETA: 0.3, "model.ngf": 8}
    assert [parameter.name for parameter in spec.space] == [NEW, "train.lr_d"]
    assert spec.space[1].when == ((NEW, (1e-3,)),)
    assert spec.population is not None and spec.population.change == [NEW]
    err = capsys.readouterr().err
    assert err.count(NOTE) == 1 and "note: changes is now called population" in err


def test_an_error_keeps_its_line():
    text = SEARCH.replace("first_moment: 0.3}, model", "\n  first_moment: 3}, model")
    with pytest.raises(UserError) as caught:
        spec_from_text(text, "x.yaml")
    assert str(caught.value) == "x.yaml:4: train.beta1: must be less than 1 (got 3)"


def test_both_names_are_one_key():
    text = SEARCH.replace("model.ngf: 8", "train.beta1: 0.4")
    with pytest.raises(UserError, match=r"train\.beta1: is given twice"):
        spec_from_text(text, "x.yaml")


def test_an_ablation_file():
    arms = "arms: {slow: {train: {generator_rate: 1e-5}}, fast: {train.generator_rate: 1e-3}}"
    text = f"metric: {{name: fid}}\nbaseline: slow\nseeds: 1\n{arms}\n"
    spec = ablation_from_text(text, "x.yaml")
    assert spec.arms == {"slow": {NEW: 1e-5}, "fast": {NEW: 1e-3}}


def test_a_run_file_and_set(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("train: {generator_rate: 1e-3}\n")
    assert load_run_config(tmp_path / "run.yaml").train.lr_g == 1e-3
    assert parse_assignments([f"{OLD}=1e-3"]) == {NEW: 1e-3}
    with pytest.raises(UserError, match=r"train\.lr_g: is given twice"):
        parse_assignments([f"{OLD}=1e-3", f"{NEW}=1e-4"])
    assert capsys.readouterr().err.count(NOTE) == 1


def test_a_checkpoint(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    config = tiny.config(
        **{"data.path": str(tiny.write_pictures(pictures, 4)), "train.total_kimg": 0.008}
    )
    tiny.train(config, tiny.Recorder(tmp_path / "run"))
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-[0-9]*")
    metadata = json.loads((checkpoint / "metadata.json").read_text())
    metadata["config"]["train"]["generator_rate"] = metadata["config"]["train"].pop("lr_g")
    (checkpoint / "metadata.json").write_text(json.dumps(metadata))
    assert stored_config(checkpoint) == config


def test_what_a_search_is_resumed_with():
    stored = json.loads(json.dumps({OLD: 1e-3}))
    spec = spec_from_text(SEARCH.replace(", change: [train.generator_rate]", ""), "x.yaml", stored)
    assert spec.overrides == {NEW: 1e-3}
    assert spec_from_text(spec.text, "x.yaml", spec.overrides) == spec


def test_another_search_as_a_start(tmp_path):
    trial = {"trial_id": "00003", "state": "finished", "value": 3.0, "kimg": 400}
    summary = {"metric": {"goal": "minimize"}, "trials": [{**trial, "point": {OLD: 1e-3}}]}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (earlier,) = load_earlier_trials(tmp_path, spec_from_text(SEARCH, "x.yaml"))
    assert earlier.point == {NEW: 1e-3}


def test_the_table_leads_to_names_that_exist(monkeypatch):
    monkeypatch.undo()
    keys = {*field_names(), *SearchFile.model_fields, *AblationFile.model_fields}
    for old, new in aliases.ALIASES.items():
        assert old not in keys and new in keys
        assert old.rpartition(".")[0] == new.rpartition(".")[0], "a setting keeps its section"
    assert RunConfig.model_validate({}) == RunConfig()
