"""Replace the old names of settings and file keys by their current names.

A setting that gets a new name must stay in its section. All code that reads names calls
`current_name`: `strict_yaml` for the keys of files, `run_config.flatten` for stored settings (e.g.
in a checkpoint), `run_file` for `--set`, and `population` for lists of names.
"""

from __future__ import annotations

import functools
import sys

# Old name -> new name. Write a setting with its section ("train.old_name": "train.new_name"), and a
# key of a file without one ("old": "new").
ALIASES: dict[str, str] = {"model.d_batch_norm": "model.d_norm"}


def current_name(path: str) -> str:
    """Return the dotted key `path`; replace an old name at its end by the current name.

    `path` is a setting ("train.old_name"), or the path of a setting in a file
    ("base.train.old_name"). The first time that an old name is found, print a note on stderr.
    """
    for old, new in ALIASES.items():
        if path == old or ("." in old and path.endswith(f".{old}")):
            _say_once(old, new)
            return path.removesuffix(old) + new
    return path


@functools.cache
def _say_once(old: str, new: str) -> None:
    print(f"note: {old} is now called {new}", file=sys.stderr)
