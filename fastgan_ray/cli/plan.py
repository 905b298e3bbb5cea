"""Print the plan of a search, an ablation or a training, for `check` and `--dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.report.text import parameter_count, settings_text
from fastgan_ray.search.confirmation import best_trials
from fastgan_ray.search.cost.data_facts import unusable_data
from fastgan_ray.search.cost.plan import value_text
from fastgan_ray.search.file.budget import COUNTED
from fastgan_ray.search.file.spec import DEFAULT

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.search.cost.timing import CpuSpeed


def print_plan(
    configs: Sequence[RunConfig],
    address: str | None,
    facts: Callable[[CpuSpeed | None], Mapping[str, Any]],
    console: Console,
) -> None:
    """Print the plan of a search or an ablation (--dry-run).

    `configs` are examples of the trials' configurations. `address` is the address of a Ray cluster,
    or None for this machine. `facts` is a function that returns the plan. Its argument is the speed
    of this machine's CPU, or None if the trials do not run on this CPU. Raise UserError if this
    machine cannot run the trials, or if the data or the initial weights cannot be used.
    """
    from fastgan_ray.train.initial_weights import describe_starts
    from fastgan_ray.tune.preflight import check_this_machine
    from fastgan_ray.tune.trial.calibration import speed_of_this_cpu

    check_this_machine(configs, address)
    starts = describe_starts(configs, must_exist=True)
    plan = facts(None if address else speed_of_this_cpu(configs[0]))
    print_facts({**plan, "starts": starts}, console)


def print_facts(facts: Mapping[str, Any], console: Console) -> None:
    """Print the plan `facts`, and then raise UserError if the data of the plan cannot be used.

    `facts` is the result of a function of `search.cost.plan`.
    """
    PRINTERS[facts["kind"]](facts, console)
    require_usable_data(facts)


def require_usable_data(facts: Mapping[str, Any]) -> None:
    """Raise UserError if the data of the plan `facts` cannot be used."""
    if error := unusable_data(facts):
        raise UserError(error)


def _print_search(facts: Mapping[str, Any], console: Console) -> None:
    sampler = f" ({facts['sampler']})" if facts["sampler"] not in ("", facts["method"]) else ""
    lines = {
        "method": f"{facts['method']}{sampler}, at most {counted(facts['trials'], 'trial')}, seed "
        f"{facts['seed']}",
        **({"seeds": _seeds_text(facts)} if facts["seeds"] else {}),
        "first trial": _first_trial_text(facts),
        "metric": _metric_text(facts),
        "early stopping": facts["early_stopping"],
        "population": facts["population"],
        **({"knowledge": facts["knowledge"]} if facts["knowledge"] else {}),
        "budget": _budget_text(facts),
        "confirmation": _confirmation_text(facts["confirmation"]),
        "data": _data_text(facts["data"][0]),
        "expected gain": facts["expected_gain"],
        "cost": _search_cost_text(facts),
        "networks of the first trial": _size_text(facts),
        "memory": _memory_text(facts),
    }
    _print_lines(facts, lines, console)
    console.print(_parameter_table(facts, console.width))


def _seeds_text(facts: Mapping[str, Any]) -> str:
    """Describe how many configurations are trained, and with how many seeds."""
    seeds = facts["seeds"]
    each, configurations, left = seeds["each"], seeds["configurations"], seeds["left"]
    parts = []
    if configurations:
        parts.append(f"{counted(configurations, 'configuration')}, each with {each} seeds")
    if left:
        parts.append(f"1 configuration with {counted(left, 'seed')}")
    return (
        f"{counted(each * configurations + left, 'trial')}: {' and '.join(parts)} (from seed "
        f"{seeds['first']}). A configuration gets no further seed if one of its trials does not "
        "finish; then the search tries more configurations"
    )


def _first_trial_text(facts: Mapping[str, Any]) -> str:
    """Describe the first trial: the published default, or its differences from this default."""
    parts = [
        f"{name} = {value_text(value['first_trial'])} (default {value_text(value['default'])})"
        for name, value in facts["substitutes"].items()
    ]
    parts += [f"{name} (chosen by the sampler)" for name in facts["without_default"]]
    if not parts:
        return "the published default"
    return (
        "the published default, except for these parameters, which cannot have their default "
        f"value in this search: {', '.join(parts)}"
    )


def _print_ablation(facts: Mapping[str, Any], console: Console) -> None:
    arms, data, seeds = (len(facts[key]) for key in ("arms", "data", "seeds"))
    lines = {
        "trainings": f"{counted(arms, 'arm')} x {counted(data, 'data set')} x "
        f"{counted(seeds, 'seed')} = {facts['trainings']}",
        "baseline": facts["baseline"],
        "metric": f"{facts['metric']['goal']} {facts['metric']['name']}",
        "seeds": ", ".join(map(str, facts["seeds"])),
        **{f"data {n}": _data_text(part) for n, part in enumerate(facts["data"], start=1)},
        "cost": (
            f"{facts['kimg']:g} thousand images in all trainings together: {_time_text(facts)}"
        ),
        "memory": _memory_text(facts),
    }
    _print_lines(facts, lines, console)
    device = "this CPU" if facts["cpu"] else "RTX 2080 Ti"
    table = Table()
    for heading in ("arm", "settings"):
        table.add_column(heading, overflow="fold")
    speed = f"h/10k\nsteps,\n{device}"
    for heading in ("kimg\neach", "GFLOP/\nimage", "parameters", "GPU\nGB", speed):
        table.add_column(heading, no_wrap=True)
    for arm in facts["arms"]:
        numbers = (
            *(f"{arm['kimg_each']:g}", f"{arm['gflop_per_image']:.1f}"),
            _parameters(arm).replace(" + ", " +\n"),
            *(f"{arm['gpu_gb']:.1f}", f"{arm['hours_per_10k_steps']:.2g}"),
        )
        table.add_row(*map(Text, (arm["name"], settings_text(arm["settings"]), *numbers)))
    console.print(table)


def _parameters(facts: Mapping[str, Any]) -> str:
    return " + ".join(parameter_count(facts[network]) for network in ("params_g", "params_d"))


def _size_text(facts: Mapping[str, Any]) -> str:
    """Describe the networks by parameters and time, as table 1 of the FastGAN paper does."""
    where = "this machine" if facts["measured"] or facts["cpu"] else "an RTX 2080 Ti"
    return (
        f"{_parameters(facts)} parameters (generator + discriminator); 10,000 steps take about "
        f"{facts['hours_per_10k_steps']:.2g} hours on {where}, without evaluations"
    )


def _print_run(facts: Mapping[str, Any], console: Console) -> None:
    lines = {
        "data": _data_text(facts["data"][0]),
        "metric": facts["metric"]["name"],
        "cost": f"{facts['kimg']:g} thousand images, {facts['gflop_per_image']:.1f} GFLOP each: "
        f"{_time_text(facts)}",
        "size": _size_text(facts),
        "memory": _memory_text(facts),
    }
    _print_lines(facts, lines, console)


def _print_lines(facts: Mapping[str, Any], lines: Mapping[str, str], console: Console) -> None:
    state = "its data cannot be used" if unusable_data(facts) else "the file is valid"
    console.print(f"[bold]{facts['name']}[/bold]: {state}", highlight=False)
    for key, text in lines.items():
        console.print(f"  {key}: {text}", highlight=False, markup=False)
    for line in (*facts.get("starts", ()), *facts["notes"]):
        console.print(f"  {line}", highlight=False, markup=False)


def _metric_text(facts: Mapping[str, Any]) -> str:
    metric = facts["metric"]
    target = "" if metric["target"] is None else f" until {metric['target']:g}"
    costs = "".join(f", and {cost['goal']} {cost['name']}" for cost in facts["costs"])
    return f"{metric['goal']} {metric['name']}{target}{costs}"


def _search_cost_text(facts: Mapping[str, Any]) -> str:
    confirmation = facts["confirmation"]["kimg"]
    images = (
        f"about {facts['kimg_expected']:g} thousand images in all trials together (at "
        f"most {facts['kimg_at_most']:g})"
    )
    if confirmation:
        images += f" and at most {confirmation:g} thousand in the confirmation"
    return f"{images}, {facts['gflop_per_image']:.1f} GFLOP each: {_time_text(facts)}"


def _confirmation_text(plan: Mapping[str, Any]) -> str:
    if not plan["top"]:
        return f"none: {plan['why']}"
    trials, seeds = best_trials(plan["top"]), counted(plan["seeds"], "seed")
    cost = f"which takes at most {plan['kimg']:g} thousand images more ({plan['why']})"
    return f"trains {trials} and the {DEFAULT} again with at most {seeds}, one by one, {cost}"


def _budget_text(facts: Mapping[str, Any]) -> str:
    """Describe the limits of the budget, and the part that is reserved for the confirmation."""
    budget, confirmation = facts["budget"], facts["confirmation"]["kimg"]
    limits = {key: budget[key] for key in COUNTED if key in budget}
    parts = [f"{limit:g} {key.replace('_', '-')}" for key, limit in limits.items()]
    if "until" in budget:
        parts.append(
            "until a further trial is expected to improve the result by less than "
            f"{budget['least_gain']:g} %"
        )
    text = ", ".join(parts)
    if limits and confirmation:
        part = "as much as the confirmation needs, but at most half of the budget"
        if "kimg" in budget:
            part = f"{confirmation:g} thousand images"
        text += f"; reserved for the confirmation: {part}"
    return text or "none"


def _time_text(facts: Mapping[str, Any]) -> str:
    if measured := facts["measured"]:
        minutes, count = measured["minutes"], measured["at_once"]
        time = _duration(minutes)
        trainings = counted(count, "training")
        timed = f"{measured['classes']} of {counted(measured['configurations'], 'configuration')}"
        return (
            f"about {time} on this machine with {trainings} at a time "
            f"({measured['seconds_per_kimg']:.3g} s per thousand images). This was measured on "
            f"{timed} in {measured['seconds']:.0f} s. The start of processes and the computation "
            "of metrics from features need additional time"
        )
    if cpu := facts["cpu"]:
        time, count = _duration(cpu["minutes"]), cpu["at_once"]
        trainings = counted(count, "training")
        return (
            f"about {time} on this machine's CPU with {trainings} at a time, without evaluations. "
            "For a better estimate, use `fastgan-ray check --timed`"
        )
    hours = facts["hours_of_rtx_2080_ti"]
    time = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.2g} minutes"
    return f"about {time} on an RTX 2080 Ti, without evaluations"


def _duration(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _memory_text(facts: Mapping[str, Any]) -> str:
    ranges = {}
    for device, (least, most) in facts["memory_gb"].items():
        low, high = f"{least:.1f}", f"{most:.1f}"
        ranges[device] = low if low == high else f"{low} to {high}"
    return (
        f"each training needs about {ranges['gpu']} GB of GPU memory, or {ranges['cpu']} GB of "
        "main memory if it runs on a CPU"
    )


def _data_text(data: Mapping[str, Any]) -> str:
    pictures = f"{counted(data['pictures'] or 0, 'picture')} in {data['path']}"
    return "\n    ".join([str(data["note"]) or pictures, *data["remarks"], *data["advice"]])


def _parameter_table(facts: Mapping[str, Any], width: int) -> Table:
    """Return a table with a row for each searched parameter, for a terminal of `width` characters.

    The columns are the name of the parameter, its possible values, its value in the first trial,
    and its values in random samples of the search space. There are as many samples as fit into
    `width`, but at least one.
    """
    samples = facts["samples"][: max(1, (width - 60) // 16)]
    points: Sequence[Mapping[str, Any]] = [facts["first_trial"], *samples]
    table = Table()
    table.add_column("parameter", no_wrap=True)
    for heading in ("values", "first trial", *("sample" for _ in samples)):
        table.add_column(heading, overflow="fold")
    for name, domain in facts["parameters"].items():
        values = (value_text(point[name]) if name in point else "-" for point in points)
        table.add_row(*map(Text, (name, domain, *values)))
    return table


PRINTERS: dict[str, Callable[[Mapping[str, Any], Console], None]] = {
    "search": _print_search,
    "ablation": _print_ablation,
    "run": _print_run,
}
