"""What a search file says, for a person: shown by `check` and `tune --dry-run`."""

from __future__ import annotations

import random
from collections.abc import Callable
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
from fastgan_ray.report.tables import settings_text
from fastgan_ray.search.ablation import AblationSpec, Cell, arm_config, cell_config
from fastgan_ray.search.estimate import estimate, gflop_per_image, hours
from fastgan_ray.search.population import Population
from fastgan_ray.search.space import Parameter, sample
from fastgan_ray.search.spec import SearchSpec, base_config, start_point
from fastgan_ray.search.stopping import Halving, Median, Patience

SAMPLES = 3


def print_plan(spec: SearchSpec, console: Console) -> None:
    """Print what would be searched, a few sampled configurations, the cost, and whether the data
    is there."""
    metric = spec.metric
    console.print(f"[bold]{spec.name}[/bold]: the file is valid", highlight=False)
    lines = {
        "method": f"{_method(spec)}, at most {spec.run_cap} trials, seed {spec.seed}",
        "metric": f"{metric.goal} {metric.name}"
        + (f" until {metric.target:g}" if metric.target is not None else "")
        + "".join(f", and {cost.goal} {cost.name}" for cost in spec.costs),
        "early stopping": _stopping(spec),
        **({"population": _population(spec.population)} if spec.population else {}),
        "data": _data(base_config(spec)),
        "cost": _cost(spec),
    }
    for name, text in lines.items():
        console.print(f"  {name}: {text}", highlight=False, markup=False)
    console.print(_points(spec))


def print_ablation(spec: AblationSpec, console: Console) -> None:
    """Print the arms, how many trainings they make and what these cost, and whether the data is
    there."""
    arms, data, seeds = len(spec.arms), len(spec.data), len(spec.seeds)
    configs = {arm: arm_config(spec, arm) for arm in spec.arms}
    gflop = {arm: gflop_per_image(config) for arm, config in configs.items()}
    kimg = {arm: data * seeds * config.train.total_kimg for arm, config in configs.items()}
    time = sum(hours(kimg[arm], gflop[arm]) for arm in spec.arms)
    console.print(f"[bold]{spec.name}[/bold]: the file is valid", highlight=False)
    sets = f"{data} data set{'s' if data > 1 else ''}"
    lines = {
        "trainings": f"{arms} arms x {sets} x {seeds} seeds = {arms * data * seeds}",
        "baseline": spec.baseline,
        "metric": f"{spec.metric.goal} {spec.metric.name}",
        "seeds": ", ".join(map(str, spec.seeds)),
        **{
            f"data {number}": _data(cell_config(spec, Cell(spec.baseline, path, spec.seeds[0])))
            for number, path in enumerate(spec.data, start=1)
        },
        "cost": f"{sum(kimg.values()):g} thousand images in all trainings: about {time:.1f} hours "
        "of an RTX 2080 Ti, evaluations not counted",
    }
    for name, text in lines.items():
        console.print(f"  {name}: {text}", highlight=False, markup=False)
    table = Table("arm", "settings", "kimg each", "GFLOP/image")
    for arm, settings in spec.arms.items():
        total = configs[arm].train.total_kimg
        cells = (arm, settings_text(settings), f"{total:g}", f"{gflop[arm]:.1f}")
        table.add_row(*map(Text, cells))
    console.print(table)


def print_run(config: RunConfig, name: str, console: Console) -> None:
    """Print that a run configuration is valid, what a step costs, and whether the data is there."""
    gflop = gflop_per_image(config)
    lines = {
        "data": _data(config),
        "metric": metric_name(config.eval),
        "cost": f"{config.train.total_kimg:g} thousand images, {gflop:.1f} GFLOP each: about "
        f"{hours(config.train.total_kimg, gflop):.1f} hours of an RTX 2080 Ti, evaluations not "
        "counted",
    }
    console.print(f"[bold]{name}[/bold]: the file is valid", highlight=False)
    for key, text in lines.items():
        console.print(f"  {key}: {text}", highlight=False, markup=False)


def _data(config: RunConfig) -> str:
    path = config.data.path
    if path is None:
        return "not named yet: give --data FOLDER when you start"
    known = {row["name"]: row["available"] for row in catalog()}
    if not known.get(path, True) and not Path(path).exists():
        return f"{path}: downloads on first use"
    try:
        source = open_source(config.data)
        return f"{len(source)} pictures in {path}"
    except UserError as error:
        return f"not usable yet: {error}"


def _method(spec: SearchSpec) -> str:
    return f"{spec.method} ({spec.sampler})" if spec.sampler else spec.method


def _stopping(spec: SearchSpec) -> str:
    total = base_config(spec).train.total_kimg
    return "; ".join(SAID[type(rule)](rule, total) for rule in spec.early_terminate) or "none"


def _population(rule: Population) -> str:
    return (
        f"every {rule.every:g} kimg, those in the worst {rule.quantile:.0%} go on from one of the "
        f"best, with other {', '.join(rule.change)}"
    )


def _halving(rule: Halving, total: float) -> str:
    if not rule.rungs(total):
        return f"never: trials end at {total:g} kimg, before the first rung at {rule.min_iter:g}"
    dealt = f", dealt to {rule.brackets} brackets" if rule.brackets > 1 else ""
    return f"from {rule.min_iter:g} kimg, the best 1/{rule.eta:g} go on{dealt}"


def _median(rule: Median, total: float) -> str:
    return f"from {rule.min_iter:g} kimg, trials whose best is worse than the median end"


def _patience(rule: Patience, total: float) -> str:
    return f"after {rule.kimg:g} kimg without improvement"


def _cost(spec: SearchSpec) -> str:
    cost = estimate(spec)
    time = hours(cost.kimg_expected, cost.gflop_per_image)
    return (
        f"about {cost.kimg_expected:g} thousand images in all trials (at most "
        f"{cost.kimg_at_most:g}), {cost.gflop_per_image:.1f} GFLOP each: about "
        f"{time:.1f} hours of an RTX 2080 Ti, evaluations not counted"
    )


def _points(spec: SearchSpec) -> Table:
    rng = random.Random(spec.seed)
    samples = [sample(spec.space, rng) for _ in range(SAMPLES)]
    table = Table()
    for heading in ("searched", "values", "first trial", *("sample" for _ in samples)):
        table.add_column(heading, overflow="fold")
    start = start_point(spec)
    for parameter in spec.space:
        chosen = [_shown(point, parameter.name) for point in (start, *samples)]
        table.add_row(parameter.name, _domain(parameter), *chosen)
    return table


def _domain(parameter: Parameter) -> str:
    values = ", ".join(_text(value) for value in parameter.values)
    text = values or f"{parameter.low:g} to {parameter.high:g}{' (log)' if parameter.log else ''}"
    conditions = [
        f"{parent} = {' or '.join(_text(value) for value in values)}"
        for parent, values in parameter.when
    ]
    return text + (f", when {' and '.join(conditions)}" if conditions else "")


def _shown(point: dict[str, Any], name: str) -> str:
    return _text(point[name]) if name in point else "-"


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return '""' if value == "" else str(value)


SAID: dict[type, Callable[..., str]] = {
    Halving: _halving,
    Median: _median,
    Patience: _patience,
}
