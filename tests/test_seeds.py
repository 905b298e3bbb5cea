"""The options that take seeds: the same text means the same seeds in every command."""

import pytest
from command_line import call

from fastgan_ray.cli.seeds import parse_seeds, parse_training_seeds
from fastgan_ray.errors import UserError

SEEDS = {"3": [3], "0-2,7": [0, 1, 2, 7], "4-5": [4, 5], "1, 3": [1, 3], "0": [0]}


@pytest.mark.parametrize("text", SEEDS)
def test_a_text_means_the_same_seeds_in_every_command(text):
    assert parse_seeds(text) == parse_training_seeds(text) == SEEDS[text]


@pytest.mark.parametrize(
    "text",
    ["", "3-1", "0-9999999999999", "²", "1-", "-1", "5,-2", "9" * 30, "a", "1.5", "1,", "2-1"],
)
def test_texts_that_are_refused(text):
    with pytest.raises(UserError, match="--rows: must"):
        parse_seeds(text, "--rows")
    with pytest.raises(UserError, match="--seeds: must"):
        parse_training_seeds(text)


@pytest.mark.parametrize("text", ["1,1", "5-9,3-6", "2147483648"])
def test_seeds_of_trainings_differ_and_are_below_2_to_the_31(text):
    with pytest.raises(UserError, match="--seeds: must be different seeds below"):
        parse_training_seeds(text)


def test_ablate_takes_a_number_as_a_seed(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    file.write_text("metric: {name: fid}\nseeds: 5\nbaseline: {}\narms: {narrow: {model.ngf: 8}}\n")
    for text, seeds, count in (
        ("3", "3", "1 seed = 2"),
        ("0-2", "0, 1, 2", "3 seeds = 6"),
    ):
        assert call("ablate", "--config", file, "--dry-run", "--seeds", text) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert f"seeds: {seeds} data" in out and f"2 arms x 1 data set x {count}" in out


def test_confirm_takes_a_list_of_seeds(tmp_path, capsys):
    assert call("confirm", tmp_path, "--seeds", "five") == 2
    assert "--seeds: must be numbers and ranges" in capsys.readouterr().err
    assert call("confirm", tmp_path, "--seeds", "1-5") == 2
    assert "there is no search to confirm" in capsys.readouterr().err
