"""The page of a blind vote in Chromium: by mouse, by keyboard, and what it saves."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import vote_runs
from command_line import call
from pages import DESK, PHONE, requests, screenshot, show
from selenium.common.exceptions import WebDriverException

from fastgan_ray.report.data.votes import read_results

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

LEFT, RIGHT, DOWN, BACKSPACE, ENTER = "\ue012", "\ue014", "\ue015", "\ue003", "\ue007"
PAIRS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vote")
    pictures = vote_runs.write_pictures(folder / "pictures")
    run = vote_runs.search(folder / "faces", pictures)
    assert call("vote", run, "--pairs", PAIRS, "--no-open") == 0
    return run


@pytest.fixture
def page(run):
    (path,) = (run / "votes").glob("page-*.html")
    return path


@pytest.fixture
def downloads(chromium, tmp_path):
    """The folder into which the browser saves files."""
    chromium.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    yield tmp_path
    leave(chromium)


def leave(chromium):
    """Go to an empty page; if the old one asks about unsaved votes, accept."""
    try:
        chromium.get("about:blank")
    except WebDriverException:
        chromium.switch_to.alert.accept()
        chromium.get("about:blank")


def saved(folder):
    """The only file of votes in a folder, when the browser has written it."""
    deadline = time.monotonic() + 20
    while not (files := list(folder.glob("votes-*.json"))):
        assert time.monotonic() < deadline, "the browser has saved nothing"
        time.sleep(0.1)
    time.sleep(0.2)
    return files[0]


def press(chromium, *keys):
    for key in keys:
        chromium.switch_to.active_element.send_keys(key)


def text(chromium, name):
    return chromium.find_element("id", name).text


def shown(chromium):
    script = "return [...document.querySelectorAll('.side img')].map((image) => image.src)"
    return chromium.execute_script(script)


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light")])
def test_it_shows_without_an_error_or_a_request_and_fits(chromium, page, pictures, width, scheme):
    show(chromium, page, width, scheme)
    assert requests(chromium) == [page.as_uri()]
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter((image) => !image.naturalWidth).length"
    assert chromium.execute_script(broken) == 0
    assert text(chromium, "count") == f"pair 1 of {PAIRS}"
    assert chromium.find_element("id", "done").is_displayed() is False
    screenshot(chromium, pictures / f"vote-{width}-{scheme}.png")
    assert chromium.get_log("browser") == []


def test_the_page_says_nothing_of_what_it_shows(chromium, page, run):
    show(chromium, page)
    html = chromium.execute_script("return document.documentElement.outerHTML")
    for word in ("faces", "trial", "fd_efficientnet_lite0", "control"):
        assert word not in html


def test_keys_vote_go_back_and_save(chromium, page, run, downloads, pictures):
    show(chromium, page)
    first = shown(chromium)
    press(chromium, RIGHT)
    second = shown(chromium)
    assert second != first and text(chromium, "count") == f"pair 2 of {PAIRS}"
    press(chromium, BACKSPACE)
    assert shown(chromium) == first and text(chromium, "count") == f"pair 1 of {PAIRS}"
    press(chromium, LEFT, DOWN, *[RIGHT] * (PAIRS - 2))
    assert text(chromium, "count") == f"{PAIRS} of {PAIRS}"
    assert chromium.find_element("id", "question").is_displayed() is False
    screenshot(chromium, pictures / "vote-done.png")
    press(chromium, LEFT)  # one vote too many
    press(chromium, ENTER)  # the button to save has the focus
    file = saved(downloads)
    content = json.loads(file.read_text())
    choices = [vote["choice"] for vote in content["votes"]]
    assert choices == ["left", "equal", *["right"] * (PAIRS - 2)]
    assert [vote["pair"] for vote in content["votes"]] == list(range(PAIRS))
    assert all(0 <= vote["seconds"] < 600 for vote in content["votes"])
    assert file.name in text(chromium, "saved")
    assert call("vote", run, "--add", file) == 0
    (result,) = read_results(run)
    assert result["voters"][0]["votes"] == PAIRS and result["voters"][0]["equal"] == 1
    assert chromium.get_log("browser") == []


def test_clicks_vote_and_a_part_can_be_saved_under_a_name(chromium, page, downloads):
    show(chromium, page)
    save = chromium.find_element("id", "save")
    assert save.is_enabled() is False
    for choice in ("left", "equal", "right"):
        chromium.find_element("css selector", f"[data-choice={choice}]").click()
    chromium.find_element("id", "back").click()
    name = chromium.find_element("id", "voter")
    name.send_keys("Ada", LEFT, BACKSPACE, "b")  # keys in the name are no votes
    assert text(chromium, "count") == f"pair 3 of {PAIRS}"
    assert save.text == "Save the votes so far"
    save.click()
    content = json.loads(saved(downloads).read_text())
    assert content["voter"] == "Aba"
    assert [vote["choice"] for vote in content["votes"]] == ["left", "equal"]
    assert chromium.get_log("browser") == []


def test_unsaved_votes_are_not_lost_by_an_accident(chromium, page, downloads):
    show(chromium, page)
    chromium.find_element("css selector", "[data-choice=left]").click()
    # Without a handler, or after saving, the page would let the reader go.
    asks = "return !window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert chromium.execute_script(asks) is True
    chromium.find_element("id", "save").click()
    saved(downloads)
    assert chromium.execute_script(asks) is False


def test_a_key_that_is_held_votes_once(chromium, page, downloads):
    show(chromium, page)
    for repeat in (False, True, True):
        chromium.execute_script(
            "document.dispatchEvent(new KeyboardEvent('keydown', "
            "{ key: 'ArrowLeft', repeat: arguments[0] }))",
            repeat,
        )
    assert text(chromium, "count") == f"pair 2 of {PAIRS}"
