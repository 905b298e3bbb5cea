"""docs/wandb.md: its commands are taken, and it names what is logged."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
import wandb.cli.cli
from wandb_files import METRIC, no_login  # noqa: F401 - for every test here

from fastgan_ray.cli import app
from fastgan_ray.tune.wandb_log.callback import PICTURES
from fastgan_ray.tune.wandb_log.report import WATCHED
from fastgan_ray.tune.wandb_log.rows import SUMMARY, summary
from fastgan_ray.tune.wandb_log.session import PROJECT

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "wandb.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder with what the commands speak of."""
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    (tmp_path / "runs/demo").mkdir(parents=True)
    shutil.copy(ROOT / "search_spaces/demo.yaml", tmp_path / "runs/demo/search.yaml")
    (tmp_path / "runs/demo/overrides.json").write_text("{}")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_taken(words, runs):
    program, name, *arguments = words
    if program == "wandb":
        assert name in wandb.cli.cli.cli.commands
        return
    command = typer.main.get_command(app).commands[name]
    context = command.make_context(name, arguments)  # parsed and checked, but not run
    if name == "wandb-report" and "--dry-run" in arguments:
        command.invoke(context)


def test_everything_that_is_named_in_the_code_is_on_the_page():
    words = set(re.findall(r"`([^`\s]+)`", PAGE))
    watched = {key for keys in WATCHED.values() for key in keys} - {"loss/d", "loss/g"}
    known = {METRIC: 1.0, f"{METRIC}_se_fakes": 1.0, "memorised": 1.0, "best": 1.0}
    told = summary("finished", known, METRIC).keys() - {METRIC}
    assert {*watched, *told, *SUMMARY, *PICTURES, PROJECT} - words == set()
