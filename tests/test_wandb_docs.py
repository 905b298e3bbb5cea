"""docs/wandb.md names what is logged."""

import re
from pathlib import Path

from wandb_files import METRIC, no_login  # noqa: F401 - for every test here

from fastgan_ray.tune.wandb.report import WATCHED
from fastgan_ray.tune.wandb.rows import PICTURES, SUMMARY, summary
from fastgan_ray.tune.wandb.session import PROJECT
from fastgan_ray.tune.wandb.trial_run import BEST, CONFIRMED, DEFAULT, STOPPED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "wandb.md").read_text()


def test_everything_that_is_named_in_the_code_is_on_the_page():
    words = set(re.findall(r"`([^`\s]+)`", PAGE))
    watched = {key for keys in WATCHED.values() for key in keys} - {"loss/d", "loss/g"}
    known = {METRIC: 1.0, f"{METRIC}_se_fakes": 1.0, "memorised": 1.0, "best": 1.0}
    told = summary("finished", known, METRIC).keys() - {METRIC}
    tags = {DEFAULT, STOPPED, BEST, CONFIRMED}
    assert {*watched, *told, *SUMMARY, *PICTURES, *tags, PROJECT} - words == set()
