"""Translation of old names of settings and file keys to their current names.

A renamed setting must stay in its section. All code that reads names uses `current_name`: for keys
of files (strict_yaml), stored settings such as a checkpoint's (run_config.flatten), `--set`
(run_file), and lists of names (population).
"""

from __future__ import annotations

import functools
import sys

# Maps each old name to its new name: a setting as "train.old_name": "train.new_name", a key of a
# file as "old": "new".
ALIASES: dict[str, str] = {}


def current_name(path: str) -> str:
    """Return a dotted key with the current name in place of an old one; print a note once per name.

    `path` is a setting ("train.old_name") or the path of a setting in a file
    ("base.train.old_name").
    """
    for old, new in ALIASES.items():
        if path == old or ("." in old and path.endswith(f".{old}")):
            _say_once(old, new)
            return path.removesuffix(old) + new
    return path


@functools.cache
def _say_once(old: str, new: str) -> None:
    print(f"note: {old} is now called {new}", file=sys.stderr)
