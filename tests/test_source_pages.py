"""The pages of the five sources: each line of their tables, and the settings of their commands."""

import math
import re
import shlex

import pytest
import tiny
import yaml
from documentation import ROOT, blocks, commands

from fastgan_ray.cli.main import main
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.data.catalog import CATALOG

PAGES = [
    ROOT / "docs" / f"{name}.md" for name in ("sle-gan", "fastgan", "keras-ada", "diffaugment")
]
PAGES += [ROOT / "docs" / "re-gan.md"]
PARTS = ("and the same here", "What is better here", "what differs")
SPAN = re.compile(r"`([^`]+)`")
SETTING = re.compile(r"[a-z]+\.\w+=\S+")
FLOWERS, CIFAR_TENTH, BIRDS = 1360, 5000, 46 * 128  # pictures in an epoch


def rows(page):
    """The rows of the first table of a page: (there, here)."""
    table = (
        page.read_text().partition("| there | here | |\n|---|---|---|\n")[2].partition("\n\n")[0]
    )
    return [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()]


def settings(command):
    """The settings of a command, by dotted name."""
    words = shlex.split(command)
    pairs = [words[n + 1].split("=", 1) for n, word in enumerate(words) if word == "--set"]
    return {name: yaml.safe_load(value) for name, value in pairs}


def trainings(page):
    return [line for line in commands(page) if line.startswith("fastgan-ray train --out")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_sources_command_then_what_is_better_then_what_differs(page):
    headings = re.findall(r"^## (.*)$", page.read_text(), re.M)
    assert len(headings) >= 3
    for heading, part in zip(headings, PARTS, strict=False):
        assert heading.endswith(part)
    assert page.read_text().index("```\n") < page.read_text().index("```sh\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_line_of_a_table_is_in_both_commands(page):
    theirs, ours = " ".join(blocks(page, "")[0].split()), " ".join(trainings(page))
    defaults = flatten(RunConfig().model_dump())
    assert len(rows(page)) >= 10
    for there, here in rows(page):
        for span in SPAN.findall(there):
            if re.match(r"--\w+[ =]\w|\w+ = ", span):  # options without a value are only named
                assert span in theirs, span
        for name, value in (s.split("=", 1) for s in SPAN.findall(here) if SETTING.fullmatch(s)):
            is_default = defaults[name] == yaml.safe_load(value)
            assert is_default or f"{name}={value}" in ours, f"{name}={value}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_setting_of_a_command_has_a_line(page):
    table = " ".join(here for _, here in rows(page))
    for command in trainings(page):
        for word in shlex.split(command):
            assert not SETTING.fullmatch(word) or f"`{word}`" in table, word


OURS = re.compile(r"`(--(?:out|overwrite|data|init-from|resume))\b|`([a-z]+\.\w+)")
OPTION = re.compile(r"--(?!resume\b|seeds\b|num-(?:rows|cols)\b)[\w-]+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_name_of_the_source_is_answered_with_the_name_here(page, capsys):
    answered = 0
    for there, here in rows(page):
        ours = ["".join(names) for names in OURS.findall(here)]
        for name in [word for span in SPAN.findall(there) for word in OPTION.findall(span)]:
            if not ours or name in ("--n_sample", "--fid"):
                continue
            with pytest.raises(SystemExit) as ended:
                main(["train", name, "1"])
            printed = capsys.readouterr().err
            assert ended.value.code == 2 and any(our in printed for our in ours), (name, printed)
            answered += 1
        for name in re.findall(r"`(\w+) = ", there):
            message = RunConfig.unknown_key(f"train.{name}")
            known = name == "dataset_name" and "data.path" in message
            assert known or any(our in message for our in ours), (name, message)
            answered += 1
    assert answered >= 5


def test_only_commands_with_settings_answer_with_settings(capsys):
    with pytest.raises(SystemExit):
        main(["report", "--epochs", "1"])
    assert "No such option" in capsys.readouterr().err


def halflife_kimg(decay, batch_size):
    return math.log(0.5) / math.log(decay) * batch_size / 1000


@pytest.mark.parametrize(
    ("page", "number", "expected"),
    [
        ("sle-gan", 0, {"train.total_kimg": 100 * FLOWERS / 1000}),
        ("sle-gan", 0, {"eval.every_kimg": 5 * FLOWERS / 1000}),
        ("fastgan", 0, {"train.total_kimg": 50_000 * 8 / 1000}),
        ("keras-ada", 0, {"train.total_kimg": 400 * BIRDS / 1000}),
        ("keras-ada", 0, {"eval.every_kimg": BIRDS / 1000}),
        ("keras-ada", 0, {"train.ema_halflife_kimg": halflife_kimg(0.99, 128)}),
        ("diffaugment", 0, {"train.total_kimg": 300}),
        ("re-gan", 0, {"train.total_kimg": 1000 * CIFAR_TENTH / 1000}),
        ("re-gan", 0, {"regan.warmup_kimg": 200 * CIFAR_TENTH / 1000}),
        ("re-gan", 0, {"regan.interval_kimg": 100 * CIFAR_TENTH / 1000}),
        ("re-gan", 0, {"data.limit": CIFAR_TENTH / 50_000}),
        ("re-gan", 1, {"train.total_kimg": 40_000 * 32 / 1000}),
        ("re-gan", 1, {"regan.warmup_kimg": 10_000 * 32 / 1000}),
        ("re-gan", 1, {"regan.interval_kimg": 5_000 * 32 / 1000}),
        ("re-gan", 1, {"eval.every_kimg": 2_000 * 32 / 1000}),
    ],
)
def test_epochs_iterations_and_decays_are_converted(page, number, expected):
    command = settings(trainings(ROOT / "docs" / f"{page}.md")[number])
    for name, value in expected.items():
        assert command[name] == pytest.approx(value, rel=1e-4)


def test_the_default_halflife_is_the_published_decay():
    assert RunConfig().train.ema_halflife_kimg == pytest.approx(halflife_kimg(0.999, 8), rel=1e-4)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_nothing_twice(page):
    text = " ".join(re.sub(r"^```.*?^```|^\|.*?$", "", page.read_text(), flags=re.M | re.S).split())
    sentences = [sentence for sentence in re.split(r"(?<=[.:;]) ", text) if len(sentence) > 50]
    assert not {sentence for sentence in sentences if sentences.count(sentence) > 1}


def test_a_grid_of_walks_has_the_columns_and_rows_of_the_source():
    page = ROOT / "docs" / "diffaugment.md"
    (theirs,) = (line for line in blocks(page, "")[0].splitlines() if "generate_gif.py" in line)
    rows_there, columns_there = re.findall(r"--num-(?:rows|cols)=(\d+)", theirs)
    (ours,) = (line for line in commands(page) if line.startswith("fastgan-ray interpolate runs"))
    assert f"--grid {columns_there}x{rows_there} " in ours


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_training_is_ready_to_start_with_the_settings_of_its_page(
    page, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    tiny.write_pictures(tmp_path / "pictures", 20)
    assert trainings(page)
    for command in trainings(page):
        words = ["pictures" if word in CATALOG else word for word in shlex.split(command)]
        with pytest.raises(SystemExit) as ended:
            main([*words[1:], "--dry-run"])
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        config = flatten(yaml.safe_load(printed.out))
        for name, value in settings(command).items():
            assert config[name] == (float(value) if isinstance(config[name], float) else value)
