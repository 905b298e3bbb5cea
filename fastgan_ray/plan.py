"""What a file says: facts for machines, and for a person, by `check` and `tune --dry-run`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.config.yaml_tree import Value
from fastgan_ray.data.catalog import catalog
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import metric_name
from fastgan_ray.progress import Track, silently
from fastgan_ray.report.tables import settings_text
from fastgan_ray.search.ablation import AblationSpec, Cell, arm_config, cell_config
from fastgan_ray.search.confirm import DEFAULT, plan_confirmation
from fastgan_ray.search.estimate import Timing, estimate, gflop_per_image, hours, seconds_of
from fastgan_ray.search.memory import gpu_gb_of, host_gb_of
from fastgan_ray.search.space import Parameter, sample
from fastgan_ray.search.spec import SearchSpec, base_config, probe, start_point

SAMPLES = 3


def search_facts(
    spec: SearchSpec, track: Track = silently, timing: Timing | None = None
) -> dict[str, Any]:
    """What would be searched, its cost, a few points, and whether the data is there: JSON-able.

    `timing`: of the search's configurations on this machine. kimg are those of the trials, hours
    those of the confirmation too.
    """
    cost, metric, rng = estimate(spec), spec.metric, random.Random(spec.seed)
    confirmation, config = plan_confirmation(spec), base_config(spec)
    expected = cost.kimg_expected
    if spec.budget.kimg is not None:
        expected = min(expected, spec.budget.kimg - confirmation.kimg)
    kimg = expected + confirmation.kimg
    return {
        "kind": "search",
        "name": spec.name,
        "method": spec.method,
        "sampler": spec.sampler,
        "trials": spec.run_cap,
        "seed": spec.seed,
        "metric": {"name": metric.name, "goal": metric.goal, "target": metric.target},
        "costs": [{"name": cost.name, "goal": cost.goal} for cost in spec.costs],
        "early_stopping": _stopping(spec),
        "population": spec.population.said() if spec.population else "none",
        "data": [_data(base_config(spec), track)],
        "budget": {key: limit for key, limit in asdict(spec.budget).items() if limit is not None},
        "confirmation": asdict(confirmation),
        "kimg_expected": expected,
        "kimg_at_most": cost.kimg_at_most,
        "gflop_per_image": cost.gflop_per_image,
        "hours_of_rtx_2080_ti": hours(kimg, cost.gflop_per_image),
        **_measured(timing, kimg, config),
        "memory_gb": _memory_facts(probe(spec)),
        "parameters": {parameter.name: _domain(parameter) for parameter in spec.space},
        "first_trial": start_point(spec),
        "samples": [sample(spec.space, rng) for _ in range(SAMPLES)],
    }


def ablation_facts(
    spec: AblationSpec, track: Track = silently, timing: Timing | None = None
) -> dict[str, Any]:
    """What an ablation would train, as above; kimg and hours are of all trainings."""
    configs = {arm: arm_config(spec, arm) for arm in spec.arms}
    gflop = {arm: gflop_per_image(config) for arm, config in configs.items()}
    cells = len(spec.data) * len(spec.seeds)
    kimg = {arm: cells * config.train.total_kimg for arm, config in configs.items()}
    first = spec.seeds[0]
    return {
        "kind": "ablation",
        "name": spec.name,
        "trainings": len(spec.arms) * cells,
        "baseline": spec.baseline,
        "seeds": list(spec.seeds),
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "data": [
            _data(cell_config(spec, Cell(spec.baseline, path, first)), track) for path in spec.data
        ],
        "kimg": sum(kimg.values()),
        "hours_of_rtx_2080_ti": sum(hours(kimg[arm], gflop[arm]) for arm in spec.arms),
        **_measured(timing, sum(kimg.values()), configs[spec.baseline]),
        "memory_gb": _memory_facts(list(configs.values())),
        "arms": [
            {
                "name": arm,
                "settings": settings,
                "kimg_each": configs[arm].train.total_kimg,
                "gflop_per_image": gflop[arm],
            }
            for arm, settings in spec.arms.items()
        ],
    }


def run_facts(
    config: RunConfig, name: str, track: Track = silently, timing: Timing | None = None
) -> dict[str, Any]:
    """What a training would do, as above."""
    gflop, kimg = gflop_per_image(config), config.train.total_kimg
    return {
        "kind": "run",
        "name": name,
        "metric": {"name": metric_name(config.eval), "goal": "minimize"},
        "data": [_data(config, track)],
        "kimg": kimg,
        "gflop_per_image": gflop,
        "hours_of_rtx_2080_ti": hours(kimg, gflop),
        **_measured(timing and replace(timing, at_once=1), kimg, config),
        "memory_gb": _memory_facts([config]),
    }


def _measured(timing: Timing | None, kimg: float, config: RunConfig) -> dict[str, Any]:
    """What `kimg` in trainings like `config` take here, and what that rests on."""
    if timing is None:
        return {"measured": None}
    return {"measured": {"minutes": seconds_of(timing, kimg, config) / 60, **asdict(timing)}}


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


def _memory_facts(configs: Sequence[RunConfig]) -> dict[str, list[float]]:
    """The least and the most that one of these trainings takes, in GB, by where it trains."""
    places = {"gpu": gpu_gb_of, "cpu": host_gb_of}
    needs = {place: [needed(config) for config in configs] for place, needed in places.items()}
    return {place: [min(found), max(found)] for place, found in needs.items()}


def _memory(facts: Mapping[str, Any]) -> str:
    ranges = {}
    for place, (least, most) in facts["memory_gb"].items():
        ranges[place] = f"{least:.1f}" + f" to {most:.1f}" * (f"{least:.1f}" != f"{most:.1f}")
    return (
        f"about {ranges['gpu']} GB of a GPU for each training, or {ranges['cpu']} GB of the "
        "machine's on its CPU (estimated)"
    )


def _data(config: RunConfig, track: Track) -> dict[str, Any]:
    """{"path", "pictures": how many, None where that is not known, "note": why not}."""
    path = config.data.path
    if path is None:
        note = "not named yet: give --data FOLDER when you start"
        return {"path": None, "pictures": None, "note": note}
    known = {row["name"]: row["available"] for row in catalog()}
    if not known.get(path, True) and not Path(path).exists():
        return {"path": path, "pictures": None, "note": f"{path}: downloads on first use"}
    try:
        count = len(open_source(config.data, track=track))
        return {"path": path, "pictures": count, "note": ""}
    except UserError as error:
        return {"path": path, "pictures": None, "note": f"not usable yet: {error}"}


def _data_text(data: Mapping[str, Any]) -> str:
    return str(data["note"]) or f"{data['pictures']} pictures in {data['path']}"


def _stopping(spec: SearchSpec) -> str:
    total = base_config(spec).train.total_kimg
    return "; ".join(rule.said(total) for rule in spec.early_terminate) or "none"


def _points(space: Mapping[str, str], points: Sequence[Mapping[str, Any]]) -> Table:
    """What is searched, and its values in the first trial and in samples."""
    table = Table()
    for heading in ("searched", "values", "first trial", *("sample" for _ in points[1:])):
        table.add_column(heading, overflow="fold")
    for name, domain in space.items():
        table.add_row(name, domain, *(_shown(point, name) for point in points))
    return table


def _domain(parameter: Parameter) -> str:
    values = ", ".join(_text(value) for value in parameter.values)
    text = values or f"{parameter.low:g} to {parameter.high:g}{' (log)' if parameter.log else ''}"
    conditions = [
        f"{parent} = {' or '.join(_text(value) for value in values)}"
        for parent, values in parameter.when
    ]
    return text + (f", when {' and '.join(conditions)}" if conditions else "")


def _shown(point: Mapping[str, Any], name: str) -> str:
    return _text(point[name]) if name in point else "-"


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return '""' if value == "" else str(value)


PRINTERS: dict[str, Callable[[Mapping[str, Any], Console], None]] = {
    "search": _print_search,
    "ablation": _print_ablation,
    "run": _print_run,
}
