"""Build the table of a blind vote, and sentences that say what the votes mean.

In some pairs, one side shows training pictures. These pictures are called the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.report.data.votes import Result, Voter
from fastgan_ray.report.tables.table import Table
from fastgan_ray.report.text import p_value
from fastgan_ray.search.votes import CONFIDENCE, Share

EXPLANATION = (
    "Votes won are all votes for a generator, including votes against the training pictures. An "
    "undecided vote counts as half a vote for each side. The strength (Bradley-Terry) also depends "
    "on the strength of the opponents. If two strengths differ by 1, the stronger generator wins "
    "73% of the votes between the two; if they differ by 2, it wins 88%. The mean strength of the "
    f"generators is 0. Brackets are {CONFIDENCE:.0%} confidence intervals."
)
RARE = 0.01  # below this probability of chance, a preference for one side gives a warning
LEVEL = 1 - CONFIDENCE


def votes_table(result: Result) -> Table:
    """Return a table with a row for each generator and the control, the strongest first."""
    metrics = list(dict.fromkeys(name for row in result["rows"] for name in row["values"]))
    rows = [
        [
            row["name"],
            f"{row['won']:g} of {row['of']}",
            interval_text(row),
            *(f"{row['values'][name]:.4g}" if name in row["values"] else "" for name in metrics),
        ]
        for row in result["rows"]
    ]
    return Table(["", "votes won", "strength", *metrics], rows)


def interval_text(row: Mapping[str, Any]) -> str:
    """Return the strength in the votes and the interval of the strength: "+0.81 [+0.10, +1.52]"."""
    return f"{row['strength']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"


def sentences(result: Result) -> list[str]:
    """Return sentences about the voters, the preferred generator, each metric, and the control.

    For each metric, a sentence says whether the metric agrees with the votes.
    """
    voters = result["voters"]
    total, equal = (sum(voter[key] for voter in voters) for key in ("votes", "equal"))
    who = "1 voter" if len(voters) == 1 else f"{len(voters)} voters"
    unsure = f", {equal} of them undecided" if equal else ""
    return [
        f"{who}, {_count(total, 'vote')}{unsure}. {_favourite(result)}",
        *(_agreement(metric, share) for metric, share in result["agreements"].items()),
        *(
            ["The generators were measured differently, so no metric is compared with the votes."]
            if not result["same_protocol"]
            else []
        ),
        *(text for voter in voters for text in _about(voter)),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _favourite(result: Result) -> str:
    control = max(row["number"] for row in result["rows"])
    first, second, *_ = (row["name"] for row in result["rows"] if row["number"] != control)
    assert result["lead"] is not None  # a page has at least two generators
    if result["lead"][0] > 0:
        return f"The votes prefer {first}."
    return f"The strongest generator is {first}, but its lead over {second} may be due to chance."


def _agreement(metric: str, share: Share) -> str:
    low, high = share.interval()
    agreement = (
        f"{metric} agrees with {share.won} of {_count(share.of, 'vote')} between generators "
        f"({share.won / share.of:.0%}, confidence interval {low:.0%} to {high:.0%})"
    )
    if low > 0.5:
        return f"{agreement}, so it ranks the generators as the voters do."
    if high < 0.5:
        return f"{agreement}, so it ranks the generators in the opposite order."
    return f"{agreement}. This agreement can be chance."


def _about(voter: Voter) -> list[str]:
    """Return sentences about a voter: the votes on the control, and a preference for one side."""
    control, left, voter_name = voter["control"], voter["left"], voter["name"]
    if not control.of:
        capitalised_name = f"{voter_name[:1].upper()}{voter_name[1:]}"
        return [f"{capitalised_name} decided no pair with the control (training pictures)."]
    p = control.chance()
    text = (
        f"Control: {voter_name} preferred the training pictures in {control.won} of "
        f"{_count(control.of, 'pair')} with generated pictures"
    )
    if p < LEVEL:
        texts = [
            f"{text}. Someone who only guesses would reach this number with probability "
            f"{p_value(p)}, so {voter_name} can see the difference."
        ]
    else:
        texts = [
            f"{text}. This can be chance: someone who only guesses would reach this number with "
            f"probability {p_value(p)}. Either the generated pictures look real to {voter_name}, "
            f"or {voter_name} did not look closely."
        ]
    most = Share(max(left.won, left.of - left.won), left.of)
    if 2 * most.chance() < RARE:
        side = "left" if left.won == most.won else "right"
        texts.append(
            f"Warning: {voter_name} chose the {side} side in {most.won} of {left.of} pairs, "
            f"although the sides are random."
        )
    return texts
