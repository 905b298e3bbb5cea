"""The report at W&B: its outline, what is built of it, and what a W&B server is sent."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from wandb_files import no_login, no_process_left  # noqa: F401 - for every test here
from wandb_server import server  # noqa: F401 - a fixture

from fastgan_ray.cli.main import app
from fastgan_ray.errors import UserError
from fastgan_ray.tune.wandb.report import PANELS, outline, save
from fastgan_ray.tune.wandb.rows import CONSTANTS

FIRST_KIMG = 2.0  # at which the search first stops a trial
SPACES = Path(__file__).parents[1] / "search_spaces"
# wandb-workspaces is written for pydantic 1.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")


@pytest.fixture
def search(tmp_path):
    folder = tmp_path / "heads"
    folder.mkdir()
    rule = f"early_terminate: {{type: hyperband, min_iter: {FIRST_KIMG:g}, eta: 3}}\n"
    (folder / "search.yaml").write_text(rule + (SPACES / "demo.yaml").read_text())
    (folder / "overrides.json").write_text("{}")
    return folder


@pytest.fixture
def ablation(tmp_path):
    folder = tmp_path / "arms"
    folder.mkdir()
    (folder / "ablation.yaml").write_text((SPACES / "ablation_demo.yaml").read_text())
    (folder / "overrides.json").write_text('{"set": {}, "seeds": [0, 1]}')
    return folder


def section_of(told, heading):
    return next(section for section in told["sections"] if section["heading"] == heading)


def panels(told):
    return [panel for section in told["sections"] for panel in section["panels"]]


def test_a_search_is_shown_by_what_it_searched(search):
    told = outline(search, "heads-project")
    assert (told["project"], told["group"]) == ("heads-project", "heads")
    assert {panel["kind"] for panel in panels(told)} == PANELS.keys()
    axes = section_of(told, "Which settings matter")["panels"][0]["columns"]
    assert {"config": "train.lr_g", "log": True} in axes
    assert {"config": "augment.policy", "log": False} in axes
    assert axes[-3:] == [{"summary": name, "log": False} for name in ("kimg", "state", "value")]
    keys = [key for one in panels(told) if one["kind"] == "curves" for key in one["y"]]
    assert {"grad/g", "logits/real", "augment/p"} <= set(keys)
    copies = ("precision_k5", "recall_k5", "nearest_ratio", "memorised", "images_per_second")
    assert {"fd_efficientnet_lite0", "kd_efficientnet_lite0", *copies} <= set(keys)
    assert not set(keys) & set(CONSTANTS)
    media = [key for one in panels(told) if one["kind"] == "media" for key in one["keys"]]
    assert media == ["grid", "pairs", "decoded"]
    runs = {
        section["heading"]: [runs["job"] for runs in section["runs"]]
        for section in told["sections"]
    }
    assert (runs["Leaderboard"], runs["Curves"]) == (["search"], ["trial"])
    assert runs["Confirmation"] == ["confirmation"]
    finished, stopped = section_of(told, "Which settings matter")["runs"]
    assert (finished["states"], stopped["states"]) == (["finished"], ["stopped"])
    assert (finished["least_kimg"], stopped["least_kimg"]) == (0.0, FIRST_KIMG)


def test_the_verdict_is_in_the_report(search):
    summary = {"verdict": "Confirmed: trial 00003 is better."}
    (search / "summary.json").write_text(json.dumps(summary))
    told = outline(search, "p")
    assert section_of(told, "Leaderboard")["text"].startswith(summary["verdict"])
    tables = [one["name"] for one in panels(told) if one["kind"] == "table"]
    assert tables == ["leaderboard", "confirmation"]


def test_an_ablation_is_shown_by_its_cells(ablation):
    told = outline(ablation, "p")
    (axes,) = (one["columns"] for one in panels(told) if one["kind"] == "parallel_coordinates")
    names = [axis.get("config", axis.get("summary")) for axis in axes]
    assert names == ["cell.arm", "cell.data", "cell.seed", "kimg", "state", "value"]
    assert told["sections"][0]["runs"][0]["job"] == "ablation"
    assert "Confirmation" not in {section["heading"] for section in told["sections"]}


def test_the_command_prints_the_outline_without_a_login(search, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "of-the-environment")
    result = CliRunner().invoke(app, ["wandb-report", str(search), "--dry-run"])
    assert json.loads(result.stdout) == outline(search, "of-the-environment")
    result = CliRunner().invoke(app, ["wandb-report", str(search), "--project=x", "--dry-run"])
    assert json.loads(result.stdout)["project"] == "x"


def test_without_a_login_the_error_names_the_command(search):
    with pytest.raises(UserError, match=r"needs a login.*`wandb login`.*--dry-run"):
        save(outline(search, "p"), None)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not the folder of a search or an ablation"):
        outline(tmp_path, "p")


def test_without_the_package_the_error_says_what_to_install(search, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(UserError, match=r"pip install 'fastgan-ray\[wandb-report\]'"):
        save(outline(search, "p"), None)


def test_the_report_is_saved_at_the_server(search, server):  # noqa: F811 - the fixture
    told = outline(search, "p")
    assert save(told, None).endswith("--VIEW")
    (sent,) = (one["variables"] for one in server.requests if "upsertView" in one["query"])
    assert (sent["entityName"], sent["projectName"]) == ("me", "p")
    assert sent["displayName"] == told["title"]
    grids = [one for one in json.loads(sent["spec"])["blocks"] if one["type"] == "panel-grid"]
    assert len(grids) == len(told["sections"])
    shown = [
        panel for grid in grids for panel in grid["metadata"]["panelBankSectionConfig"]["panels"]
    ]
    assert len(shown) == len(panels(told))
    _, axes = (one["config"]["columns"] for one in shown if "columns" in one["config"])
    # Nested, as the configuration is logged.
    logarithmic = {axis["accessor"]: axis["log"] for axis in axes}
    assert logarithmic["config:train.value.lr_g"] is True
    assert [axis["accessor"] for axis in axes[-3:]] == [
        "summary:kimg",
        "summary:state",
        "summary:value",
    ]
    runs = sum(len(section["runs"]) for section in told["sections"])
    assert sent["spec"].count('"heads"') == runs  # the runs of this group alone
    (which,) = (grid for grid in grids if len(grid["metadata"]["runSets"]) == 2)
    finished, stopped = (json.dumps(runs["filters"]) for runs in which["metadata"]["runSets"])
    assert "finished" in finished and "stopped" in stopped and f"{FIRST_KIMG:g}" in stopped
