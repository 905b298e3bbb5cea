"""Read the votes of blind votes from files, and sum them up.

A file of votes is called a sheet; the page of a blind vote saves it. A sheet is {"format", "page"
(the page's id), "sheet" (a random id of this sheet), "voter" (a name, may be empty), "votes"}. A
vote is {"pair" (its number on the page), "choice" ("left", "right" or "equal"), "seconds"}. A sheet
may be saved several times, but it counts once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.report.data import vote_page
from fastgan_ray.report.data.vote_page import Key
from fastgan_ray.search.votes import Share, Strengths, Vote, agreement, fit, share_for, wins

FORMAT = "fastgan-ray-votes-1"
SCORES = {"left": 1.0, "right": 0.0, "equal": 0.5}
MAX_BYTES = 1_000_000
MAX_NAME = 60  # characters; the page allows no more
SHEET = re.compile(r"[0-9a-f]{4,32}")

Sheet = dict[str, Any]


class Voter(TypedDict):
    """The votes of one voter, from one sheet (a file of votes).

    `votes` is the number of votes, and `equal` is the number of undecided votes.
    """

    name: str
    votes: int
    equal: int
    control: Share
    """Votes for the training pictures (the control) against generated pictures."""
    left: Share
    """Votes for the left side."""


class Result(TypedDict):
    """The sum of all votes on one page; `page` is the page's id.

    `own` has the numbers ("number" in `rows`) of the generators that belong to the run whose folder
    was read.
    """

    page: str
    own: list[int]
    rows: list[dict[str, Any]]
    """{"number", "name", "trial", "arm", "data", "won", "of", "strength", "low", "high", "values"}
    of each generator and of the control (the training pictures), the strongest first. The number of
    the control is the number of generators."""
    lead: tuple[float, float] | None
    """Confidence interval of the difference in strength between the two strongest generators."""
    voters: list[Voter]
    agreements: dict[str, Share]
    """For each metric: the votes for the generator with the better value."""
    same_protocol: bool


def read_results(folder: Path) -> list[Result]:
    """Sum up the votes in the folder of a run; return a result for each page that has votes."""
    results = []
    for path in sorted((folder / vote_page.FOLDER).glob("page-*.json")):
        key = _read_key(path)
        if sheets := _sheets(path.parent, key):
            results.append(sum_up(key, sheets))
    return results


def results_of_runs(folders: Iterable[Path]) -> list[Result]:
    """Sum up the votes in the folders of several runs; return a result for each page with votes.

    A page that compares generators of several runs is in the folders of all these runs. It has one
    result.
    """
    results = (result for folder in folders for result in read_results(folder))
    return list({result["page"]: result for result in results}.values())


def add_votes(folders: Sequence[Path], files: Sequence[Path]) -> None:
    """Copy each file of votes into every run folder in `folders` to which the file belongs.

    A file belongs to each run that has a generator on the file's page. An earlier copy is kept if
    it has more votes. Raise UserError if a file is not a file of votes, or if it belongs to none of
    the folders.
    """
    for file in files:
        sheet = _read_sheet(file)
        keys = [vote_page.key_path(folder, sheet["page"]) for folder in folders]
        keys = [path for path in keys if path.is_file()]
        if not keys:
            run_folders = ", ".join(map(str, folders))
            raise UserError(
                f"{file}: has votes on page {sheet['page']}, but this page does not belong to "
                f"{run_folders}"
            )
        for path in keys:
            _check_pairs(sheet, _read_key(path), file)
            target = path.with_name(f"votes-{sheet['page']}-{sheet['sheet']}.json")
            old = _read_sheet(target)["votes"] if target.is_file() else []
            if len(sheet["votes"]) >= len(old):  # same number: some may be changed
                write_atomically(target, json.dumps(sheet, indent=1))


def sum_up(key: Key, sheets: Sequence[Sheet]) -> Result:
    """Sum up the votes on a page; `key` is the page's key, and `sheets` are the files of votes."""
    control = len(key["generators"])
    by_sheet = [_votes(key, sheet) for sheet in sheets]
    votes = [vote for sheet_votes in by_sheet for vote in sheet_votes]
    table = wins(votes, control + 1)
    strengths = fit(table, range(control))
    intervals = strengths.intervals()
    named = [*key["generators"], {"name": "training pictures (control)", "values": {}}]
    rows = [
        {
            "number": number,
            **{name: generator.get(name) for name in ("name", "trial", "arm", "data", "values")},
            "won": float(table[number].sum()),
            "of": int(table[number].sum() + table[:, number].sum()),
            "strength": float(strengths.values[number]),
            "low": float(intervals[number, 0]),
            "high": float(intervals[number, 1]),
        }
        for number, generator in enumerate(named)
    ]
    rows.sort(key=lambda row: -row["strength"])
    return {
        "page": key["page"],
        "own": key["own"],
        "rows": rows,
        "lead": _lead(strengths, [row["number"] for row in rows if row["number"] != control]),
        "voters": [
            _voter(sheet, sheet_votes, control)
            for sheet, sheet_votes in zip(sheets, by_sheet, strict=True)
        ],
        "agreements": _agreements(key, votes) if key["same_protocol"] else {},
        "same_protocol": key["same_protocol"],
    }


def votes_of(
    results: Sequence[Result], trial: str | None, arm: str | None, data: str = ""
) -> list[dict[str, Any]]:
    """Return the votes for a trial, or for an arm on the data set `data`, one entry per page.

    An entry is {"page", "won", "of", "strength", "low", "high"}. "page" is the page's id. "of" is
    the number of votes on pairs with this trial or arm, and "won" is the number of votes for it.
    "strength" is the strength in the votes, with the interval from "low" to "high".
    """
    wanted = (trial, None, None) if trial else (None, arm, data)
    return [
        {
            "page": result["page"],
            **{key: row[key] for key in ("won", "of", "strength", "low", "high")},
        }
        for result in results
        for row in result["rows"]
        if row["number"] in result["own"]
        and (row["trial"], row["arm"], row["data"] if row["arm"] else None) == wanted
    ]


def _lead(strengths: Strengths, order: Sequence[int]) -> tuple[float, float] | None:
    return strengths.difference(order[0], order[1]) if len(order) > 1 else None


def _votes(key: Key, sheet: Sheet) -> list[Vote]:
    votes = []
    for vote in sheet["votes"]:
        left, right = key["pairs"][vote["pair"]]
        votes.append(Vote(left, right, SCORES[vote["choice"]]))
    return votes


def _voter(sheet: Sheet, votes: Sequence[Vote], control: int) -> Voter:
    choices = [vote["choice"] for vote in sheet["votes"]]
    decided = [choice for choice in choices if choice != "equal"]
    return {
        "name": sheet["voter"] or "a voter without a name",
        "votes": len(votes),
        "equal": len(choices) - len(decided),
        "control": share_for(votes, control),
        "left": Share(decided.count("left"), len(decided)),
    }


def _agreements(key: Key, votes: Sequence[Vote]) -> dict[str, Share]:
    generators = key["generators"]
    names = dict.fromkeys(name for generator in generators for name in generator["values"])
    shares = {}
    for name in names:
        values = {n: g["values"][name] for n, g in enumerate(generators) if name in g["values"]}
        minimize = next(g["minimize"][name] for g in generators if name in g["minimize"])
        shares[name] = agreement(votes, values, minimize)
    return {name: share for name, share in shares.items() if share.of}


def _sheets(folder: Path, key: Key) -> list[Sheet]:
    """Return the sheets (files of votes) in `folder` that belong to the page of `key`.

    If several files have the same sheet id, only the file with the most votes counts.
    """
    sheets: dict[str, Sheet] = {}
    for path in sorted(folder.glob(f"votes-{key['page']}*.json")):
        sheet = _read_sheet(path)
        _check_pairs(sheet, key, path)
        known = sheets.get(sheet["sheet"])
        if sheet["votes"] and (known is None or len(sheet["votes"]) > len(known["votes"])):
            sheets[sheet["sheet"]] = sheet
    return list(sheets.values())


def _read_key(path: Path) -> Key:
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != vote_page.FORMAT:
        raise UserError(
            f"{path}: is not the key of a page of a blind vote. Remove this file, and make the "
            "page again with the same command"
        )
    return content


def _read_sheet(path: Path) -> Sheet:
    """Read a file of votes, which may come from anyone; raise UserError if it is not valid."""
    content = _read(path)
    valid = (
        isinstance(content, dict)
        and content.get("format") == FORMAT
        and isinstance(content.get("page"), str)
        and isinstance(content.get("voter"), str)
        and len(content["voter"]) <= MAX_NAME
        and content["voter"].isprintable()
        and isinstance(content.get("sheet"), str)
        and SHEET.fullmatch(content["page"]) is not None
        and SHEET.fullmatch(content["sheet"]) is not None
        and isinstance(content.get("votes"), list)
        and all(_is_vote(vote) for vote in content["votes"])
    )
    if not valid:
        raise UserError(f"{path}: is not a file of votes from a page of `fastgan-ray vote`")
    assert isinstance(content, dict)
    return content


def _is_vote(vote: object) -> bool:
    if not isinstance(vote, dict) or vote.get("choice") not in list(SCORES):
        return False
    return type(vote.get("pair")) is int and vote["pair"] >= 0


def _check_pairs(sheet: Sheet, key: Key, path: Path) -> None:
    numbers = [vote["pair"] for vote in sheet["votes"]]
    if len(numbers) > len(set(numbers)) or max(numbers, default=0) >= len(key["pairs"]):
        raise UserError(
            f"{path}: must have at most one vote for each of the {len(key['pairs'])} pairs"
        )


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: a file of votes must have at most {MAX_BYTES:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
