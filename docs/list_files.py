"""Write the list of files in CONTRIBUTING.md: every file of the package with its purpose.

    python docs/list_files.py

The purpose of a file is the first paragraph of its docstring, and that of a folder is the first
paragraph of its `__init__.py`. `make files` runs this program.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastgan_ray"
PAGE = ROOT / "CONTRIBUTING.md"
HEADING = "## What each file is for\n"
INTRODUCTION = """
`make files` writes this list from the docstrings of the files, after a change of one.
"""


def page(text: str) -> str:
    """Return the text of CONTRIBUTING.md with the list as it is now; it ends with the list."""
    before = text.partition(HEADING)[0]
    folders = groupby(modules(), key=lambda path: path.parent)
    parts = [_folder(folder, list(paths)) for folder, paths in folders]
    return before + HEADING + INTRODUCTION + "".join(parts)


def modules() -> Iterator[Path]:
    """Yield the package's modules by folder; files that only mark a folder are left out."""
    paths = sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.name))
    return (path for path in paths if path.name not in ("__init__.py", "__main__.py"))


def purpose(path: Path) -> str:
    """Return the first paragraph of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def _folder(folder: Path, paths: list[Path]) -> str:
    name = folder.relative_to(ROOT).as_posix()
    lines = [f"- `{path.name}`: {purpose(path)}\n" for path in paths]
    return f"\n### {name}/\n\n{purpose(folder / '__init__.py')}\n\n" + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
