"""`early_terminate` of a search file, one stopping rule or a list of them, and `population`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastgan_ray.config.strict_yaml import Document, format_value, suggestion
from fastgan_ray.search.file.options import Place, note
from fastgan_ray.search.file.parameters import is_int, is_number
from fastgan_ray.search.pbt import Population, changeable
from fastgan_ray.search.space import SearchSpace
from fastgan_ray.search.stopping import Halving, Median, Patience, Rule

Given = Mapping[str, Any]
Note = Callable[[str, str], None]  # takes a key ("" = the whole rule) and what is wrong with it

POPULATION_KEYS = "; its keys are every, quantile, change"
LIMITS = {
    "min_iter": (1e-6, 1e9),
    "max_iter": (1e-6, 1e9),
    "kimg": (1e-6, 1e9),
    "eta": (1.5, 100),
    "tolerance": (0, 10),
}
COUNTS = {"s": (1, 20), "brackets": (1, 20), "min_trials": (1, 1000)}


def read_early_terminate(document: Document, total_kimg: float | None) -> tuple[Rule, ...]:
    """The stopping rules, none where the key is left out or null.

    `total_kimg` is the trials' length, None where it is not known yet: a rule that could never
    stop one is a fault.
    """
    given = document.data.get("early_terminate")
    if given is None:
        return ()
    if not isinstance(given, list):
        rule = _read(document, ("early_terminate",), given, total_kimg)
        return () if rule is None else (rule,)
    rules = [
        _read(document, ("early_terminate", index), one, total_kimg)
        for index, one in enumerate(given)
    ]
    return tuple(rule for rule in rules if rule is not None)


def read_population(
    document: Document, total_kimg: float | None, space: SearchSpace
) -> Population | None:
    """`population`: how trials take over from each other; None where it is left out or null."""
    given = document.data.get("population")
    if given is None:
        return None
    place, known = ("population",), changeable(space)
    if not isinstance(given, dict):
        note(
            document, place, f"must be a mapping such as {{every: 40}} (got {format_value(given)})"
        )
        return None
    for key in given:
        if key not in ("every", "quantile", "change"):
            hint = suggestion(key, ("every", "quantile", "change"))
            note(document, (*place, key), f"is no key of population{hint or POPULATION_KEYS}")
    every, quantile = given.get("every"), given.get("quantile", 0.25)
    change = given.get("change", known)
    if not is_number(every) or not 0 < every < (total_kimg or 1e9):
        rule = "must be the kimg between comparisons, less than train.total_kimg"
        note(document, (*place, "every"), f"{rule} (got {format_value(every)})")
        return None
    if not is_number(quantile) or not 0 < quantile <= 0.5:
        rule = f"must be a number above 0, at most 0.5 (got {format_value(quantile)})"
        note(document, (*place, "quantile"), rule)
        return None
    if not isinstance(change, list) or not change or any(name not in known for name in change):
        rule = "must list searched numbers that may change in mid-training, of: "
        text = f"{rule}{', '.join(known) or 'none here'} (got {format_value(change)})"
        note(document, (*place, "change"), text)
        return None
    return Population(float(every), float(quantile), tuple(change))


def _read(document: Document, place: Place, given: object, total_kimg: float | None) -> Rule | None:
    faults: list[str] = []

    def fault(key: str, rule: str) -> None:
        faults.append(key)
        note(document, (*place, key) if key else place, rule)

    if not isinstance(given, dict):
        rule = "must be a mapping such as {type: hyperband, min_iter: 40}, or a list of such"
        fault("", f"{rule} (got {format_value(given)})")
        return None
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in READERS:
        names = ", ".join(READERS)
        fault(
            "type",
            f"must be one of {names} (got {format_value(kind)}){suggestion(str(kind), READERS)}",
        )
        return None
    keys, read = READERS[kind]
    for key in given:
        if key == "strict" and given[key] is not False:
            fault(key, "is not supported: only the best 1/eta go on anyway; leave it out")
        elif key not in ("type", "strict", *keys):
            hint = suggestion(key, keys) or f"; its keys are {', '.join(keys)}"
            fault(key, f"is no key of {kind}{hint}")
        elif key in LIMITS or key in COUNTS:
            _check_number(key, given[key], fault)
        elif key == "revisit" and not isinstance(given[key], bool):
            fault(key, f"must be true or false (got {format_value(given[key])})")
    if faults:
        return None
    found = read(given, fault)
    if found is not None and total_kimg is not None:
        key, first = _first(found)
        if first >= total_kimg:
            rule = "must be less than train.total_kimg, or no trial is ever stopped"
            fault(key, f"{rule} (got {first:g}, total_kimg {total_kimg:g})")
    return found


def _check_number(key: str, value: object, fault: Note) -> None:
    whole = key in COUNTS
    least, most = COUNTS[key] if whole else LIMITS[key]
    if not is_number(value) or (whole and not is_int(value)) or not least <= value <= most:
        what = "whole number" if whole else "number"
        fault(key, f"must be a {what} from {least:g} to {most:g} (got {format_value(value)})")


def _first(rule: Rule) -> tuple[str, float]:
    """The earliest kimg at which a rule can stop a trial, and the key that says so."""
    return ("kimg", rule.kimg) if isinstance(rule, Patience) else ("min_iter", rule.min_iter)


def _halving(given: Given, fault: Note) -> Halving | None:
    """W&B's hyperband in kimg: min_iter, or max_iter with s rungs below it."""
    eta, last = float(given.get("eta", 3)), given.get("max_iter")
    end = None if last is None else float(last)
    rest = (
        int(given.get("brackets", 1)),
        float(given.get("tolerance", 0)),
        given.get("revisit", True),
    )
    if "s" in given:
        if end is None or "min_iter" in given:
            fault("s", f"goes with max_iter, without min_iter (got {format_value(given['s'])})")
            return None
        return Halving(end / eta ** given["s"], eta, end, *rest)
    if "min_iter" not in given:
        rule = "needs min_iter, the kimg at which trials are first compared (or max_iter with s)"
        fault("", rule)
        return None
    return Halving(float(given["min_iter"]), eta, end, *rest)


def _median(given: Given, fault: Note) -> Median | None:
    if "min_iter" not in given:
        fault("", "needs min_iter, the kimg from which trials are compared")
        return None
    tolerance = float(given.get("tolerance", 0))
    return Median(float(given["min_iter"]), int(given.get("min_trials", 3)), tolerance)


def _patience(given: Given, fault: Note) -> Patience | None:
    if "kimg" not in given:
        fault("", "needs kimg, the thousands of images without improvement that end a trial")
        return None
    return Patience(float(given["kimg"]), float(given.get("tolerance", 0)))


_HALVING_KEYS = ("min_iter", "max_iter", "s", "eta", "brackets", "tolerance", "revisit")
READERS: dict[str, tuple[tuple[str, ...], Callable[[Given, Note], Rule | None]]] = {
    "hyperband": (_HALVING_KEYS, _halving),
    "median": (("min_iter", "min_trials", "tolerance"), _median),
    "patience": (("kimg", "tolerance"), _patience),
}
