"""A page in Chromium: open it, take its picture, list what it loads."""

from __future__ import annotations

import base64
import json

DESK, PHONE = 1280, 360  # widths in pixels


def show(chromium, path, width=DESK, scheme="light", media="screen"):
    """Open a page and clear the browser's logs."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preference = {"name": "prefers-color-scheme", "value": scheme}
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": media, "features": [preference]}
    )
    for log in ("browser", "performance"):
        chromium.get_log(log)
    chromium.get(path.as_uri())


def screenshot(chromium, path):
    """A picture of the whole page."""
    height = chromium.execute_script("return document.documentElement.scrollHeight")
    width = chromium.execute_script("return window.innerWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = chromium.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    path.write_bytes(base64.b64decode(taken["data"]))
    assert path.stat().st_size > 5000


def requests(chromium):
    """Everything that the page loaded, except data inside it."""
    messages = [
        json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")
    ]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("data:")]
