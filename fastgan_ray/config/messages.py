"""Build parts of error messages: format values, suggest similar words, and collect errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fastgan_ray.errors import UserError

# Words from other programs -> our words for the same things.
OTHER_WORDS = {"gpu": "cuda", "minimise": "minimize", "maximise": "maximize", "bayesian": "bayes"}


def format_value(value: object) -> str:
    """Format a value for a message, in at most 80 characters, e.g. true, 0.5 or 'text'.

    None is formatted as "nothing".
    """
    if value is None or isinstance(value, bool):
        text = {None: "nothing", True: "true", False: "false"}[value]
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?", where X is the word in `known` that is most similar to `word`.

    Return "" if no word is similar. If a name in `known` differs from `word` only in its section, X
    is this name.
    """
    known = list(known)
    if OTHER_WORDS.get(word) in known:
        return f"; did you mean {OTHER_WORDS[word]}?"
    leaf = word.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == leaf][:1]
    near = near or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not near:  # compare without the section, which may be missing or wrong
        leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
        near = [leaves[hit] for hit in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
    return f"; did you mean {near[0]}?" if near else ""


class ErrorList:
    """A list of the errors of one file or of `--set`, to report all of them at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._texts: dict[tuple[int, str], None] = {}

    def add(self, line: int | None, text: str) -> None:
        """Add the error message `text`; `line` counts from 1; None means that no line is known."""
        source = self.name if line is None else f"{self.name}:{line}"
        self._texts[line or 0, f"{source}: {text}"] = None

    def check(self) -> None:
        """Raise a UserError if there are errors; its text lists all of them, sorted by line."""
        if self._texts:
            ordered = sorted(self._texts, key=lambda error: error[0])
            raise UserError("\n".join(text for _, text in ordered))
