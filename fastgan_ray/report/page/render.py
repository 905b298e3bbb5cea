"""Render a template as one HTML file, which loads no other file and runs only our own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = files("fastgan_ray.report.page") / "templates"


def render(template: str, script: str, styles: Sequence[str], content: Mapping[str, Any]) -> str:
    """Return the HTML of a template; all text in `content` is escaped.

    `template`, `script` and the `styles` are names of files in the folder templates/. `content`
    maps the template's variables to their values.
    """
    environment = Environment(
        loader=PackageLoader("fastgan_ray.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    code = (TEMPLATES / script).read_text()
    style = "".join((TEMPLATES / name).read_text() for name in styles)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return environment.get_template(template).render(
        **content,
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(code),  # noqa: S704 - our own file
        # Only this script can run, and nothing can be loaded, even if names in the run contain
        # HTML.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
    )
