"""The kind of a file: a training's configuration, a search or an ablation, for any command."""

import random

import pytest
from command_line import call

from fastgan_ray.config.file_kinds import kind_of_file
from fastgan_ray.config.other_names import OTHER_NAMES
from fastgan_ray.config.run_config import RunConfig, field_names
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import load_search, spec_from_text
from fastgan_ray.search.space import sample

FILES = {
    "run": dump_run_config(RunConfig()),
    "search": "method: random\nmetric: {name: fid}\nparameters: {model.ngf: {values: [8, 16]}}\n",
    "ablation": "metric: {name: fid}\nseeds: 3\nbaseline: {}\narms: {narrow: {model.ngf: 8}}\n",
}
COMMANDS = {"run": "train", "search": "tune", "ablation": "ablate"}
MISTAKES = [(kind, command) for kind in FILES for command in COMMANDS.values()]
MISTAKES = [(kind, command) for kind, command in MISTAKES if COMMANDS[kind] != command]


@pytest.mark.parametrize(("kind", "command"), MISTAKES)
def test_the_wrong_kind_of_file_is_one_sentence_with_the_right_command(
    tmp_path, capsys, kind, command
):
    file = tmp_path / "mine.yaml"
    file.write_text(FILES[kind])
    assert kind_of_file(file) == kind
    assert call(command, "--config", file, "--dry-run") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    what = {
        "run": "is the configuration of one training",
        "search": "is a search",
        "ablation": "is an ablation",
    }[kind]
    assert what in line and f"fastgan-ray {COMMANDS[kind]} --config {file}" in line


@pytest.mark.parametrize("kind", FILES)
def test_check_takes_every_kind(tmp_path, capsys, kind):
    file = tmp_path / "mine.yaml"
    file.write_text(FILES[kind])
    call("check", file, "--json")
    assert f'"kind": "{kind}"' in capsys.readouterr().out


def test_a_method_is_not_repeated_as_its_sampler(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    for sampler, text in (("random", "random"), ("qmc", "random (qmc)")):
        file.write_text(f"{FILES['search']}sampler: {sampler}\nrun_cap: 1\n")
        assert call("check", file) == 0
        assert f"method: {text}, at most 1 trial, seed 0" in capsys.readouterr().out


def test_the_plan_says_how_many_configurations_the_trials_are(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    search = FILES["search"].replace("[8, 16]", "[8, 16, 32, 64]")
    for cap, text in (
        (12, "8 trials: 4 configurations, each with 2 seeds (from seed 0)"),  # all four values
        (6, "6 trials: 3 configurations, each with 2 seeds (from seed 0)"),
        (3, "3 trials: 1 configuration, each with 2 seeds and 1 configuration with 1 seed"),
        (1, "1 trial: 1 configuration with 1 seed (from seed 0)"),
    ):
        file.write_text(f"{search}seeds: 2\nrun_cap: {cap}\n")
        assert call("check", file) == 0
        assert f"seeds: {text}" in " ".join(capsys.readouterr().out.split())
    file.write_text(search)
    call("check", file)
    assert "seeds: " not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("batch_size", "did you mean train.batch_size?"),
        ("model.batch_size", "did you mean train.batch_size?"),
        ("learning_rate", "did you mean train.lr_g or train.lr_d?"),
        ("train.learning-rate", "did you mean train.lr_g or train.lr_d?"),
        ("epochs", "training, in thousands of images (epochs x number of pictures / 1000"),
        ("train.steps", "in thousands of images (steps x train.batch_size / 1000"),
        ("im_size", "did you mean model.resolution?"),
        ("seed", "did you mean train.seed?"),
        ("beta1", "did you mean train.beta1?"),
    ],
)
def test_names_of_other_programs_are_understood(key, hint):
    message = RunConfig.unknown_key(key)
    assert message.startswith("is not a known setting; ") and hint in message


def test_hints_name_settings_that_exist():
    names = {word.strip("?:,") for hint in OTHER_NAMES.values() for word in hint.split()}
    dotted = {name for name in names if "." in name}
    assert dotted and dotted <= set(field_names())
    assert not set(OTHER_NAMES) & {name.partition(".")[2] for name in field_names()}


NESTED = """\
method: random
metric: {name: fid}
parameters:
  model:
    parameters:
      ngf: {values: [8, 16]}
      nz: {min: 16, max: 64}
  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}
  train: {parameters: {loss: {value: hinge, when: {model.ngf: 8}}}}
"""


def test_nested_parameters_are_only_nesting():
    spec = spec_from_text(NESTED, "w.yaml")
    names = ["model.ngf", "model.nz", "train.lr_g", "train.loss"]
    assert [parameter.name for parameter in spec.space] == names
    assert sample(spec.space, random.Random(0))["model.ngf"] in (8, 16)
    assert spec_from_text(spec.text, "w.yaml").space == spec.space


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "nz: {min: 16, max: 64}",
            "nz: {min: 64, max: 16}",
            "w.yaml:7: model.nz: min must be at most max",
        ),
        ("ngf: {values", "nfg: {values", "w.yaml:6: model.nfg: is not a known setting"),
        ("train.lr_g", "model.ngf", "w.yaml:8: model.ngf: is given twice (first in line 6)"),
    ],
)
def test_errors_in_nested_parameters_have_their_line(old, new, message):
    with pytest.raises(UserError) as caught:
        spec_from_text(NESTED.replace(old, new, 1), "w.yaml")
    assert message in str(caught.value)


def test_a_setting_is_either_fixed_or_searched(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(FILES["search"] + "base: {model: {ngf: 8}, train.lr_g: 1e-4}\n")
    with pytest.raises(
        UserError, match=r"s.yaml:3: model.ngf: is also in base; remove it from base "
    ):
        load_search(file)
    file.write_text(FILES["search"])
    assert load_search(file, {"model.ngf": 32}).overrides == {"model.ngf": 32}
