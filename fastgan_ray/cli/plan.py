"""A plan, as `search.cost.plan` has it, as text: for `check` and `--dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.report.text import settings_text
from fastgan_ray.search.confirmation import DEFAULT
from fastgan_ray.search.cost.plan import value_text


def print_facts(facts: Mapping[str, Any], console: Console) -> None:
    """Print what one of the functions above has found, for a person."""
    PRINTERS[facts["kind"]](facts, console)


def _print_search(facts: Mapping[str, Any], console: Console) -> None:
    metric = facts["metric"]
    again = facts["confirmation"]["kimg"]
    images = f"about {facts['kimg_expected']:g} thousand images in all trials (at most "
    images += f"{facts['kimg_at_most']:g})" + (f" and {again:g} in the confirmation" * bool(again))
    cost = f"{images}, {facts['gflop_per_image']:.1f} GFLOP each: {_time(facts)}"
    sampler = f" ({facts['sampler']})" if facts["sampler"] else ""
    lines = {
        "method": f"{facts['method']}{sampler}, at most {facts['trials']} trials, seed "
        f"{facts['seed']}",
        "metric": f"{metric['goal']} {metric['name']}"
        + (f" until {metric['target']:g}" if metric["target"] is not None else "")
        + "".join(f", and {cost['goal']} {cost['name']}" for cost in facts["costs"]),
        "early stopping": facts["early_stopping"],
        "population": facts["population"],
        "budget": _budget(facts),
        "confirmation": _confirmation(facts["confirmation"]),
        "data": _data_text(facts["data"][0]),
        "cost": cost,
        "memory": _memory(facts),
    }
    _print_lines(facts["name"], lines, console)
    console.print(_points(facts["parameters"], [facts["first_trial"], *facts["samples"]]))


def _print_ablation(facts: Mapping[str, Any], console: Console) -> None:
    arms, data, seeds = (len(facts[key]) for key in ("arms", "data", "seeds"))
    sets = f"{data} data set{'s' if data > 1 else ''}"
    lines = {
        "trainings": f"{arms} arms x {sets} x {seeds} seeds = {facts['trainings']}",
        "baseline": facts["baseline"],
        "metric": f"{facts['metric']['goal']} {facts['metric']['name']}",
        "seeds": ", ".join(map(str, facts["seeds"])),
        **{f"data {n}": _data_text(one) for n, one in enumerate(facts["data"], start=1)},
        "cost": f"{facts['kimg']:g} thousand images in all trainings: {_time(facts)}",
        "memory": _memory(facts),
    }
    _print_lines(facts["name"], lines, console)
    table = Table("arm", "settings", "kimg each", "GFLOP/image")
    for arm in facts["arms"]:
        numbers = (f"{arm['kimg_each']:g}", f"{arm['gflop_per_image']:.1f}")
        table.add_row(*map(Text, (arm["name"], settings_text(arm["settings"]), *numbers)))
    console.print(table)


def _print_run(facts: Mapping[str, Any], console: Console) -> None:
    lines = {
        "data": _data_text(facts["data"][0]),
        "metric": facts["metric"]["name"],
        "cost": f"{facts['kimg']:g} thousand images, {facts['gflop_per_image']:.1f} GFLOP each: "
        f"{_time(facts)}",
        "memory": _memory(facts),
    }
    _print_lines(facts["name"], lines, console)


def _print_lines(name: str, lines: Mapping[str, str], console: Console) -> None:
    console.print(f"[bold]{name}[/bold]: the file is valid", highlight=False)
    for key, text in lines.items():
        console.print(f"  {key}: {text}", highlight=False, markup=False)


def _confirmation(plan: Mapping[str, Any]) -> str:
    if not plan["top"]:
        return f"none: {plan['why']}"
    trials = "the best trial" if plan["top"] == 1 else f"the {plan['top']} best trials"
    cost = f"{plan['kimg']:g} thousand images more: {plan['why']}"
    return f"{trials} and the {DEFAULT} anew with {plan['seeds']} seeds, {cost}"


def _budget(facts: Mapping[str, Any]) -> str:
    """What is limited, and what of it is the confirmation's."""
    budget, again = facts["budget"], facts["confirmation"]["kimg"]
    text = ", ".join(f"{limit:g} {key.replace('_', '-')}" for key, limit in budget.items())
    if text and again:
        kept = f"{again:g} thousand images" if "kimg" in budget else "its time, half at most,"
        text += f"; of that {kept} kept for the confirmation"
    return text or "none"


def _time(facts: Mapping[str, Any]) -> str:
    if found := facts["measured"]:
        minutes = found["minutes"]
        told = f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
        together = "one at a time" if found["at_once"] == 1 else f"{found['at_once']} at once"
        return (
            f"about {told} on this machine, {together}: {found['seconds_per_kimg']:.3g} s for a "
            f"thousand images, measured on {found['configurations']} configurations of "
            f"{found['classes']} classes in {found['seconds']:.0f} s; statistics of evaluations "
            "and starting not counted"
        )
    time = facts["hours_of_rtx_2080_ti"]
    told = f"{time:.1f} hours" if time >= 1 else f"{60 * time:.2g} minutes"
    return f"about {told} of an RTX 2080 Ti, evaluations not counted"


def _memory(facts: Mapping[str, Any]) -> str:
    ranges = {}
    for place, (least, most) in facts["memory_gb"].items():
        ranges[place] = f"{least:.1f}" + f" to {most:.1f}" * (f"{least:.1f}" != f"{most:.1f}")
    return (
        f"about {ranges['gpu']} GB of a GPU for each training, or {ranges['cpu']} GB of the "
        "machine's on its CPU (estimated)"
    )


def _data_text(data: Mapping[str, Any]) -> str:
    return str(data["note"]) or f"{data['pictures']} pictures in {data['path']}"


def _points(space: Mapping[str, str], points: Sequence[Mapping[str, Any]]) -> Table:
    """What is searched, and its values in the first trial and in samples."""
    table = Table()
    for heading in ("searched", "values", "first trial", *("sample" for _ in points[1:])):
        table.add_column(heading, overflow="fold")
    for name, domain in space.items():
        table.add_row(name, domain, *(_value(point, name) for point in points))
    return table


def _value(point: Mapping[str, Any], name: str) -> str:
    return value_text(point[name]) if name in point else "-"


PRINTERS: dict[str, Callable[[Mapping[str, Any], Console], None]] = {
    "search": _print_search,
    "ablation": _print_ablation,
    "run": _print_run,
}
