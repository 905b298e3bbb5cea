"""A headless Chromium, or an error that says what is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

NEEDS = (
    "the browser tests need Chromium, its driver and selenium: "
    "apt-get install chromium chromium-driver; pip install -e '.[browser]' ({} not found)"
)


@pytest.fixture(scope="session")
def chromium():
    """The driver of a Chromium without a window; the tests fail if it is not installed."""
    try:
        from selenium import webdriver
    except ImportError:
        pytest.fail(NEEDS.format("selenium"), pytrace=False)
    binaries = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in binaries.items():
        if path is None:
            pytest.fail(NEEDS.format(name), pytrace=False)
    options = webdriver.ChromeOptions()
    options.binary_location = binaries["chromium"]
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(binaries["chromedriver"])
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The folder for screenshots: FASTGAN_RAY_SCREENSHOTS, or a temporary one."""
    named = os.environ.get("FASTGAN_RAY_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
