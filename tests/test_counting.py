"""Counts in messages: the noun agrees with the number, everywhere by the same function."""

import re
from pathlib import Path

import pytest

from fastgan_ray.counting import counted, minutes_text

ROOT = Path(__file__).parents[1]
NOUNS = (
    "picture|trial|seed|file|step|arm|run|training|worker|frame|row|mixture|process|point|GPU"
    "|data set|copy|configuration|class|bracket|machine|generator|checkpoint|error"
)


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "picture", "1 picture"),
        (0, "picture", "0 pictures"),
        (2, "data set", "2 data sets"),
        (3, "copy", "3 copies"),
        (1, "copy", "1 copy"),
        (2, "day", "2 days"),
        (4, "other process", "4 other processes"),
        (5, "class", "5 classes"),
        (2, "batch", "2 batches"),
        (2, "box", "2 boxes"),
    ],
)
def test_a_noun_agrees_with_its_count(count, noun, text):
    assert counted(count, noun) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2.0, "less than a minute"),
        (0.0, "less than a minute"),
        (29.0, "less than a minute"),
        (60.0, "about 1 minute"),
        (150.0, "about 2 minutes"),
    ],
)
def test_rough_times_are_never_negative(seconds, text):
    assert minutes_text(seconds) == text


def test_no_message_counts_by_itself():
    """A count in an f-string, followed by a plural, would read "1 pictures"."""
    counts = re.compile(rf"\{{(len\([^{{}}]*\)|[a-z_]*count)\}} (?:new )?({NOUNS})s\b")
    places = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sorted((ROOT / "fastgan_ray").rglob("*.py"))
        for match in counts.finditer(path.read_text())
    ]
    assert places == []


def test_no_page_counts_by_itself():
    """The same in templates and scripts: `${votes.length} votes` would read "1 votes"."""
    counts = re.compile(rf"(?:length|count|files) ?\}}\}}? (?:more )?({NOUNS}|vote)s\b")
    folder = ROOT / "fastgan_ray" / "report" / "page" / "templates"
    places = {path.name: counts.findall(path.read_text()) for path in sorted(folder.iterdir())}
    assert {name: nouns for name, nouns in places.items() if nouns} == {}
