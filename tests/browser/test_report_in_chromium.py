"""The report in Chromium: by mouse, by keyboard, on a phone, and in dark mode."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import report_runs
import tiny
from pages import DESK, PHONE, requests, screenshot, show

from fastgan_ray.tune.driver.reports import write_report

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

SEARCH = """
name: real
method: random
metric: {name: fd_efficientnet_lite0}
run_cap: 2
base:
  model: {resolution: 32, nz: 8, ndf: 4, decoder_width: 2}
  train: {batch_size: 4, total_kimg: 0.04, reconstruction: l1}
  eval: {extractor: efficientnet_lite0, num_fakes: 4, every_kimg: 0.02}
parameters:
  model.ngf: {values: [2, 4]}
"""


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Twenty trials that ended in every way, with hostile names."""
    return write_report(report_runs.write_search(tmp_path_factory.mktemp("runs") / "many&<b>"))


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    return write_report(report_runs.write_ablation(tmp_path_factory.mktemp("runs") / "arms"))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The report that a search with real trainings writes."""
    runs = tmp_path_factory.mktemp("real")
    pictures = tmp_path_factory.mktemp("pictures")
    tiny.write_pictures(pictures, 6)
    (runs / "real.yaml").write_text(SEARCH)
    command = [sys.executable, "-m", "fastgan_ray.tune", "--config", str(runs / "real.yaml")]
    command += ["--data", str(pictures), "--runs", str(runs), "--max-concurrent", "1"]
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Report:  {runs / 'real' / 'report.html'}" in done.stdout
    return runs / "real" / "report.html"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "empty"
    return write_report(report_runs.write_search(folder, 0, verdict="No trial has ended."))


@pytest.fixture(params=["made_up", "ablation", "real", "empty"])
def report(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light")])
def test_it_shows_without_an_error_or_a_request_and_fits(chromium, report, pictures, width, scheme):
    show(chromium, report, width, scheme)
    assert requests(chromium) == [report.as_uri()]
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter((image) => !image.naturalWidth).length"
    assert chromium.execute_script(broken) == 0
    assert chromium.find_element("tag name", "h1").text == report.parent.name
    screenshot(chromium, pictures / f"{report.parent.name}-{width}-{scheme}.png")
    assert chromium.get_log("browser") == []


def test_it_prints(chromium, made_up, pictures):
    show(chromium, made_up)
    printed = chromium.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    show(chromium, made_up, 794, media="print")
    screenshot(chromium, pictures / "print.png")


def column(chromium, number):
    script = (
        "return [...document.querySelectorAll('table.sortable tbody tr')]"
        ".map((row) => row.cells[arguments[0]].textContent)"
    )
    return chromium.execute_script(script, number)


def test_a_heading_sorts_by_click_and_by_key(chromium, made_up):
    show(chromium, made_up)
    heads = chromium.find_elements("css selector", "table.sortable thead th")
    button = heads[2].find_element("tag name", "button")
    button.click()
    values = column(chromium, 2)
    numbers = [float(text.split()[0]) for text in values if text]
    assert numbers == sorted(numbers) and values[-1] == "" and len(values) == 20
    assert heads[2].get_attribute("aria-sort") == "ascending"
    button.send_keys("\ue007")  # the enter key
    values = column(chromium, 2)
    numbers = [float(text.split()[0]) for text in values if text]
    assert numbers == sorted(numbers, reverse=True) and values[-1] == ""
    assert heads[0].get_attribute("aria-sort") is None
    assert chromium.get_log("browser") == []


def focused(chromium):
    return chromium.switch_to.active_element


def test_the_keyboard_reaches_a_chart_and_goes_from_trial_to_trial(chromium, made_up):
    show(chromium, made_up)
    chart = chromium.find_element("css selector", "#curves svg")
    stops = chart.find_elements("css selector", ".mark[tabindex='0']")
    assert [stop.get_attribute("data-trial") for stop in stops] == ["00000"]
    for _ in range(60):
        focused(chromium).send_keys("\ue004")  # the tabulator
        if focused(chromium).get_attribute("data-trial"):
            break
    assert focused(chromium).get_attribute("data-trial") == "00000"
    focused(chromium).send_keys("\ue015")  # down
    second = focused(chromium).get_attribute("data-trial")
    assert second == "00002"
    marks = chromium.find_elements("css selector", ".highlighted")
    assert {mark.get_attribute("data-trial") for mark in marks} == {second}
    assert {mark.tag_name for mark in marks} >= {"tr", "g", "figure"}
    readout = chromium.find_element("css selector", "#curves .readout").text
    assert readout.startswith("trial 00002: finished at 4 kimg")


def test_a_grid_grows_when_clicked(chromium, made_up):
    show(chromium, made_up, PHONE)
    button = chromium.find_element("css selector", ".zoom")
    chromium.execute_script("arguments[0].click()", button)
    assert button.get_attribute("aria-pressed") == "true"
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= PHONE


def test_a_hostile_name_runs_nothing(chromium, made_up):
    show(chromium, made_up)
    assert report_runs.HOSTILE in chromium.find_element("css selector", ".verdict").text
    assert len(chromium.find_elements("tag name", "script")) == 1
