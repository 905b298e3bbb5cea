"""Translate old names of settings and file keys to their new names.

A setting stays in its section. All code that reads names uses this: keys of files (strict_yaml),
stored settings, e.g. of a checkpoint (run_config.flatten), `--set` (run_file), lists of names
(population).
"""

from __future__ import annotations

import functools
import sys

# Old name -> new one: "train.old_name": "train.new_name", or of a file's own key, "old": "new".
ALIASES: dict[str, str] = {}


def current_name(path: str) -> str:
    """Return a dotted key with the new name in place of an old one; says so once.

    `path` is a setting ("train.old_name") or leads to one in a file ("base.train.old_name").
    """
    for old, new in ALIASES.items():
        if path == old or ("." in old and path.endswith(f".{old}")):
            _say_once(old, new)
            return path.removesuffix(old) + new
    return path


@functools.cache
def _say_once(old: str, new: str) -> None:
    print(f"note: {old} is now called {new}", file=sys.stderr)
