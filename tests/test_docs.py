"""README and docs: every command in them is run here, or said below why not; the Python runs, and
the search file loads."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray.scripts.scripts
import report_runs
import tiny
import torch
import typer
import wandb.cli.cli
from documentation import PAGES, ROOT, blocks, commands
from latent_checkpoints import published, tiny_checkpoint

import fastgan_ray
from fastgan_ray.augment.pipeline import REGISTERED
from fastgan_ray.augment.user_operations import unregister
from fastgan_ray.cli.main import app, main
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.data.grid import save_grid
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.train.checkpoint import stored_config

# What a reader puts his own things for.
WORDS = {
    "FOLDER": "pictures",
    "A": "runs/demo",
    "B": "runs/256px",
    "FILE...": "weights.pt",
    "runs/mine/best/config.yaml": "runs/demo/best/config.yaml",
    **dict.fromkeys(("runs/fewshot", "runs/flowers", "runs/art", "runs/birds"), "runs/demo"),
    "runs/obama": "runs/demo",
    "caltech-birds": "pictures",
    "100-shot-obama": "pictures",
    "100-shot-panda": "pictures",
    "runs/a": "runs/demo",
    "runs/other": "runs/demo",
    "runs/b": "runs/demo/trials/00000",
}
# The same with less of it.
SHORTER = {
    "data.limit=0.1": "data.limit=0.9",  # of three pictures
    "--steps 300": "--steps 3",
    "eval.num_fakes=5000": "eval.num_fakes=4",
    "total_kimg=60": "total_kimg=0.016",
    "total_kimg=50": "total_kimg=0.008",
    # There is no browser here; tests/test_report_commands.py looks after --open.
    "report runs/demo --open": "report runs/demo",
    # The made-up search has no pictures of its own.
    "vote runs/a runs/b": "vote runs/demo runs/demo/trials/00002 --data pictures --no-open",
    "--pairs 60 --pictures 16 --no-open": "--pairs 60 --pictures 16 --no-open --data pictures",
    "vote runs/demo": "vote runs/demo --data pictures --no-open",
}
# With --dry-run: tests/test_product.py runs a search to its end, tests/test_ablate.py an ablation,
# and the trainings of the sources (tests/test_source_pages.py looks at their settings) are long.
PLANNED = ("fastgan-ray tune", "fastgan-ray ablate", "fastgan-ray train --out")
# By its beginning, what is only looked at: that the command is there and takes these options.
NOT_RUN = {
    "make": "each runs one of the other commands here, or the tests themselves",
    "pip install": "installs",
    "python benchmarks/": "half an hour of a core",
    "python docs/": "writes into docs/; test_the_picture_of_the_architecture_is_current runs it",
    "fastgan-ray confirm": "trains ten times; tests/test_confirm.py has a search to confirm",
    "fastgan-ray learn": "wants a search of six trials; tests/test_knowledge.py has one",
    "fastgan-ray vote runs/demo --add": "takes what the page has saved; see tests/test_vote.py",
    "fastgan-ray weights fetch": "downloads; tests/test_metrics_weight_files.py has a server",
    "fastgan-ray weights add": "takes published files; tests/test_metrics_weight_files.py has some",
    "fastgan-ray wandb-report runs/demo": "wants a login; tests/test_wandb_report.py has a server",
    **dict.fromkeys(
        ("ray", "kubectl", "aws", "gcloud"),
        "wants machines or an account; tests/test_cluster_files.py looks into cluster/",
    ),
    "wandb": "sends to W&B, or asks for a key",
    "hf": "sends to the Hugging Face Hub",
    "fastgan-ray --install-completion": "changes the shell's files; tests/test_cli.py completes",
}
RUN_ALL_THE_SAME = ("fastgan-ray wandb-report runs/demo --dry-run",)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the pages speak of, in which their commands are run."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "search_spaces", place / "search_spaces")
    (place / "pictures").mkdir()
    tiny.write_pictures(place / "pictures", 3)
    rows = [f"{index}.PNG,4,8,20,16" for index in range(3)]
    (place / "boxes.csv").write_text("\n".join(["name,x,y,width,height", *rows]))
    published(place / "all_50000.pth")
    best = report_runs.write_search(place / "runs" / "demo") / "best"
    large = {"resolution": 256, "output_activation": "none", "decoder_width": 32}
    for checkpoint, section in (best, {}), (place / "runs" / "256px", large):
        (checkpoint / "checkpoint").mkdir(parents=True)
        tiny_checkpoint(checkpoint / "checkpoint", place / "pictures", **section)
    grids = place / "runs" / "demo" / "grids"  # as of a training, for its film
    for kimg in (500, 1000):
        save_grid(torch.zeros(36, 3, 4, 4), grids / f"{kimg:09d}.png")
    config = stored_config(best / "checkpoint")
    (best / "config.yaml").write_text(dump_run_config(config))
    return place


def to_run(command):
    """A page's command as it is run here."""
    for long, short in SHORTER.items():
        if long in command:
            command = command.replace(long, short)
            break
    if command.startswith(PLANNED):
        command += " --dry-run"
    return [WORDS.get(word, word) for word in shlex.split(command)]


def name(page):
    return str(page.relative_to(ROOT))


def is_run(command):
    return command in RUN_ALL_THE_SAME or not command.startswith(tuple(NOT_RUN))


def look_at(command):
    """Fail unless a command that is not run is there and takes what it is given."""
    program, name, *arguments = to_run(command)
    if program == "fastgan-ray":
        parser = typer.main.get_command(app)
        words = [name, *arguments]
        while words and words[0] in getattr(parser, "commands", {}):
            parser, words = parser.commands[words[0]], words[1:]
        if isinstance(parser, typer.core.TyperGroup):  # an option that acts as soon as it is parsed
            assert any(words[0] in option.opts for option in parser.params), command
        else:
            parser.make_context("it", words)
    elif program == "make":
        assert f"\n{name}:" in (ROOT / "Makefile").read_text()
    elif program == "wandb":
        assert name in wandb.cli.cli.cli.commands
    elif program == "hf":
        hf = Path(sys.executable).with_name("hf")
        subprocess.run([hf, name, "--help"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    elif program == "pip":
        for extra in re.findall(r"fastgan-ray\[(\S+)\]", arguments[0]):
            assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    elif program in ("ray", "kubectl", "aws", "gcloud"):
        assert program != "ray" or name in ray.scripts.scripts.cli.commands
        files = [word for word in arguments if word.startswith("cluster/")]
        assert all((ROOT / file).is_file() for file in files), command
    else:
        assert program == "python" and (ROOT / name).is_file()


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_every_command_of_a_page(page, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("FASTGAN_RAY_WEIGHTS_URL", "http://127.0.0.1:9")
    for command in commands(page):
        if not is_run(command):
            look_at(command)
            continue
        program, *words = to_run(command)
        assert program == "fastgan-ray", f"{page}: nothing here knows how to run: {command}"
        with pytest.raises(SystemExit) as ended:
            main(words)
        printed = capsys.readouterr()
        assert not ended.value.code, f"{page}: {command}: {printed.err}"
        assert json.loads(printed.out) if "--json" in words else printed.out
        if "--out" in words and "--dry-run" not in words:
            assert (place / words[words.index("--out") + 1]).exists()


def test_no_reason_is_left_of_a_command_that_is_gone():
    known = [command for page in PAGES for command in commands(page)]
    for beginning in (*NOT_RUN, *PLANNED, *RUN_ALL_THE_SAME):
        assert any(command.startswith(beginning) for command in known), beginning
    for part in (*SHORTER, *WORDS):
        assert any(part in command for command in known), part


PYTHON = [(page, code) for page in PAGES for code in blocks(page, "python")]
# `name = ...  # float16 (8, 3, 64, 64)`: the type may be missing, and a letter is any size.
SHAPE = re.compile(r"^ *(\w+) = .*# ?(\w+)? ?\(([\w, ]*)\)$", re.M)


@pytest.mark.parametrize(
    ("page", "code"), PYTHON, ids=[f"{name(page)}-{n}" for n, (page, _) in enumerate(PYTHON)]
)
def test_the_python_of_the_pages(page, code, place, monkeypatch, operations):
    monkeypatch.chdir(place)
    names: dict = {}
    exec(code, names)  # our own page
    for variable, dtype, shape in SHAPE.findall(code):
        sizes = [size.strip() for size in shape.split(",") if size.strip()]
        assert len(names[variable].shape) == len(sizes), variable
        for size, expected in zip(names[variable].shape, sizes, strict=True):
            assert not expected.isdigit() or size == int(expected), variable
        assert str(names[variable].dtype).removeprefix("torch.") == (dtype or "float32"), variable
    if page.name == "library.md":
        assert len(code.splitlines()) <= 13
        return
    assert names["pictures"].shape == (8, 32, 32, 3) and names["pictures"].dtype == np.uint8
    if "between" in names:
        assert names["between"].shape == (1, 32, 32, 3)
        assert (place / "grid.png").is_file() and len(list((place / "folder").iterdir())) == 8


@pytest.fixture
def operations():
    """Remove the augmentation operations that a page registers."""
    yield
    for operation in list(REGISTERED):
        unregister(operation)


def test_every_part_of_the_library_is_on_its_page():
    text = (ROOT / "docs" / "library.md").read_text()
    parts = {*fastgan_ray.__all__} - {"__version__", "unregister"}
    assert not [part for part in parts if not re.search(rf"\b{part}\b", text)]


def test_the_picture_of_the_architecture_is_current():
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))["draw"]()
    picture = ROOT / "docs" / "images" / "architecture.svg"
    assert picture.read_text() == drawn, "run: python docs/draw_architecture.py"


def test_every_file_that_the_architecture_names_exists():
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = re.findall(r"`([a-z_]+/[\w/]*(?:\.py|/))`", text)
    assert len(paths) > 30
    places = (ROOT, ROOT / "fastgan_ray")
    assert not [path for path in paths if not any((place / path).exists() for place in places)]


def test_every_file_of_tune_is_in_a_room_but_five():
    loose = {path.stem for path in (ROOT / "fastgan_ray" / "tune").glob("*.py")}
    five = {"search", "ablation", "confirmation", "experiment", "preflight"}
    assert loose == five | {"__init__", "__main__"}


def test_the_search_file_of_the_readme_is_one():
    (text,) = blocks(ROOT / "README.md", "yaml")
    assert spec_from_text(text, "README.md").run_cap == 32


@pytest.mark.parametrize(
    "text",
    ["```sh\nrm -rf /\n```", "    rm -rf /", "`docker run x y`"],
)
def test_a_command_that_nothing_knows_is_noticed(text, tmp_path):
    (tmp_path / "page.md").write_text(f"Text.\n\n{text}\n")
    (command,) = commands(tmp_path / "page.md")
    assert is_run(command) and not command.startswith("fastgan-ray ")
