"""Collect the facts about a file that `check` and `--dry-run` show: the plan of a run and its cost.

All facts are JSON values.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from fastgan_ray.config.feature_networks import shared_data, shared_data_note
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.schedule import as_text
from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.data.plain import plain_share_of
from fastgan_ray.metrics.names import run_metric
from fastgan_ray.progress import Track, silently
from fastgan_ray.search.ablation import AblationSpec, Cell, arm_config, cell_config
from fastgan_ray.search.confirmation import plan_confirmation
from fastgan_ray.search.cost.data_facts import data_facts
from fastgan_ray.search.cost.estimate import (
    gflop_per_image,
    hours,
    kimg_expected,
    parameter_counts,
)
from fastgan_ray.search.cost.memory import gpu_gb_of, host_gb_of
from fastgan_ray.search.cost.timing import CpuSpeed, Timing, seconds_of
from fastgan_ray.search.file.spec import (
    SearchSpec,
    base_config,
    first_trial_point,
    longest_kimg,
    run_config,
    sample_configs,
    start_point,
    substitutes,
    trial_count,
)
from fastgan_ray.search.knowledge.gains import describe_gain
from fastgan_ray.search.knowledge.responses import describe_knowledge
from fastgan_ray.search.space import Parameter, sample

SAMPLES = 3
STEPS_OF_TABLE_1 = 10_000


def search_facts(
    spec: SearchSpec,
    track: Track = silently,
    timing: Timing | None = None,
    cpu: CpuSpeed | None = None,
    needs_data: bool = True,
) -> dict[str, Any]:
    """Return the facts of a search: its trials, its cost, its pictures and some random points.

    `track` shows the progress of reading the pictures. `timing` has the measured speeds of the
    search's configurations on this machine. `cpu` has the speed of this machine's CPU if the
    trainings run on it. `needs_data` says whether the pictures must exist. "kimg_expected" and
    "kimg_at_most" do not include the confirmation; the hours and minutes include it.
    """
    confirmation, config, metric = plan_confirmation(spec), base_config(spec), spec.metric
    first, samples = run_config(spec, first_trial_point(spec)), sample_configs(spec)
    gflop = gflop_per_image(first)
    rng, expected = random.Random(spec.seed), kimg_expected(spec)
    if spec.budget.kimg is not None:
        expected = min(expected, spec.budget.kimg - confirmation.kimg)
    kimg = expected + confirmation.kimg
    data = data_facts(config, _largest(samples), track, needs_data)
    return {
        "kind": "search",
        "name": spec.name,
        "method": spec.method,
        "sampler": spec.sampler,
        "trials": spec.run_cap,
        "seeds": _seed_facts(spec),
        "seed": spec.seed,
        "metric": {"name": metric.name, "goal": metric.goal, "target": metric.target},
        "notes": _notes(samples),
        "costs": [{"name": cost.name, "goal": cost.goal} for cost in spec.costs],
        "early_stopping": _stopping(spec),
        "population": spec.population.describe() if spec.population else "none",
        "knowledge": _knowledge(spec, data),
        "data": [data],
        "budget": spec.budget.facts(),
        "confirmation": asdict(confirmation),
        "expected_gain": describe_gain(spec, expected),
        "kimg_expected": expected,
        "kimg_at_most": trial_count(spec) * longest_kimg(spec),
        "gflop_per_image": gflop,
        **_size_and_pace(first, gflop, timing, cpu),
        "hours_of_rtx_2080_ti": hours(kimg, gflop),
        **_of_this_cpu(cpu, [(kimg, gflop)]),
        **_measured(timing, kimg, config),
        "memory_gb": _memory_facts(samples),
        "parameters": {parameter.name: _domain(parameter) for parameter in spec.space},
        "first_trial": start_point(spec),
        "substitutes": {
            name: {"default": default, "first_trial": value}
            for name, (default, value) in substitutes(spec).items()
        },
        "without_default": sorted(first_trial_point(spec).keys() - start_point(spec).keys()),
        "samples": [sample(spec.space, rng) for _ in range(SAMPLES)],
    }


def _knowledge(spec: SearchSpec, data: Mapping[str, Any]) -> str:
    """Describe the search's knowledge, "" if it needs none.

    Pictures that are not here are not downloaded.
    """
    if spec.sampler != "curves" and spec.budget.until is None:
        return ""
    plain = plain_share_of(base_config(spec).data) if data["pictures"] else None
    return describe_knowledge(spec, plain)


def ablation_facts(
    spec: AblationSpec,
    track: Track = silently,
    timing: Timing | None = None,
    cpu: CpuSpeed | None = None,
    needs_data: bool = True,
) -> dict[str, Any]:
    """Return the facts of an ablation. The arguments are as in `search_facts`.

    "kimg", the hours and the minutes are for all trainings together.
    """
    configs = {arm: arm_config(spec, arm) for arm in spec.arms}
    gflop = {arm: gflop_per_image(config) for arm, config in configs.items()}
    cells = len(spec.data) * len(spec.seeds)
    kimg = {arm: cells * config.train.total_kimg for arm, config in configs.items()}
    first, largest = spec.seeds[0], _largest(list(configs.values()))
    limits = {config.data.limit for config in configs.values()}
    return {
        "kind": "ablation",
        "name": spec.name,
        "trainings": len(spec.arms) * cells,
        "baseline": spec.baseline,
        "seeds": list(spec.seeds),
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "notes": _notes(list(configs.values())),
        "data": [
            data_facts(
                cell_config(spec, Cell(spec.baseline, path, first)),
                largest,
                track,
                needs_data,
                limits,
            )
            for path in spec.data
        ],
        "kimg": sum(kimg.values()),
        "hours_of_rtx_2080_ti": sum(hours(kimg[arm], gflop[arm]) for arm in spec.arms),
        **_of_this_cpu(cpu, [(kimg[arm], gflop[arm]) for arm in spec.arms]),
        **_measured(timing, sum(kimg.values()), configs[spec.baseline]),
        "memory_gb": _memory_facts(list(configs.values())),
        "arms": [
            {
                "name": arm,
                "settings": settings,
                "kimg_each": configs[arm].train.total_kimg,
                "gflop_per_image": gflop[arm],
                **_size_and_pace(configs[arm], gflop[arm], None, cpu),
            }
            for arm, settings in spec.arms.items()
        ],
    }


def run_facts(
    config: RunConfig,
    name: str,
    track: Track = silently,
    timing: Timing | None = None,
    cpu: CpuSpeed | None = None,
    needs_data: bool = True,
) -> dict[str, Any]:
    """Return the facts of a single training. The arguments are as in `search_facts`."""
    gflop, kimg = gflop_per_image(config), config.train.total_kimg
    return {
        "kind": "run",
        "name": name,
        "metric": dict(zip(("name", "goal"), run_metric(config.eval), strict=True)),
        "notes": _notes([config]),
        "data": [data_facts(config, config.model, track, needs_data)],
        "kimg": kimg,
        "gflop_per_image": gflop,
        **_size_and_pace(config, gflop, timing, cpu),
        "hours_of_rtx_2080_ti": hours(kimg, gflop),
        **_of_this_cpu(cpu and replace(cpu, at_once=1), [(kimg, gflop)]),
        **_measured(timing and replace(timing, at_once=1), kimg, config),
        "memory_gb": _memory_facts([config]),
    }


def _notes(configs: Sequence[RunConfig]) -> list[str]:
    """Return the footnotes on metrics that share training data with D's feature network.

    There is one footnote for each shared data set, such as ImageNet.
    """
    shared = dict.fromkeys(shared_data(config.model, config.eval.extractor) for config in configs)
    return [shared_data_note(data) for data in shared if data]


def _size_and_pace(
    config: RunConfig, gflop: float, timing: Timing | None, cpu: CpuSpeed | None
) -> dict[str, float]:
    """Return the numbers of table 1 of Liu et al. 2021 for a configuration.

    They are "params_g" and "params_d" (numbers of parameters), "gpu_gb" (estimated memory) and
    "hours_per_10k_steps" (of one training, without evaluations). With `timing`, these hours come
    from measurements on this machine. Otherwise, they are estimated for this machine's CPU if `cpu`
    is given, else for an RTX 2080 Ti. `gflop` is the GFLOP per image.
    """
    kimg = STEPS_OF_TABLE_1 * config.train.images_per_step / 1000
    pace = hours(kimg, gflop)
    if timing is not None:
        pace = kimg * timing.seconds_per_kimg / 3600
    elif cpu is not None:
        pace = replace(cpu, at_once=1).minutes(kimg, gflop) / 60
    return {**parameter_counts(config), "gpu_gb": gpu_gb_of(config), "hours_per_10k_steps": pace}


def _of_this_cpu(cpu: CpuSpeed | None, trainings: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return {"cpu": {"minutes", "at_once"}}: the estimated time on this machine's CPU.

    "minutes" is the time of all trainings together, and "at_once" is the number of trainings that
    run at the same time. `trainings` has a pair (kimg, GFLOP per image) for each training. The
    value of "cpu" is None if the trainings do not run on the CPU.
    """
    if cpu is None:
        return {"cpu": None}
    minutes = sum(cpu.minutes(kimg, gflop) for kimg, gflop in trainings)
    return {"cpu": {"minutes": minutes, "at_once": cpu.at_once}}


def _measured(timing: Timing | None, kimg: float, config: RunConfig) -> dict[str, Any]:
    """Return {"measured": {...}}: the time that `timing` predicts for all trainings.

    The value of "measured" has the fields of `timing`, and "minutes", the time of all trainings
    together. The value is None if `timing` is None. All trainings have the configuration `config`;
    `kimg` is the sum of their lengths.
    """
    if timing is None:
        return {"measured": None}
    return {"measured": {"minutes": seconds_of(timing, kimg, config) / 60, **asdict(timing)}}


def _memory_facts(configs: Sequence[RunConfig]) -> dict[str, list[float]]:
    """Return {device: [smallest, largest]}: the range of the estimated memory, in GB.

    The devices are "gpu" and "cpu". There is an estimate for the training of each configuration.
    """
    estimates = {"gpu": gpu_gb_of, "cpu": host_gb_of}
    needs = {device: [gb_of(config) for config in configs] for device, gb_of in estimates.items()}
    return {device: [min(gbs), max(gbs)] for device, gbs in needs.items()}


def _largest(configs: Sequence[RunConfig]) -> ModelConfig:
    """Return the model settings of the configuration with the largest resolution."""
    return max(configs, key=lambda config: config.model.resolution).model


def _seed_facts(spec: SearchSpec) -> dict[str, Any] | None:
    """Return the facts of a search that trains each configuration with several seeds, else None.

    The keys are "each" (the number of seeds), "first" (the first seed), "configurations" (the
    number of configurations with all seeds if all trials finish), and "left" (the number of
    remaining trials, which train one more configuration with fewer seeds).
    """
    if spec.seeds == 1:
        return None
    configurations, left = divmod(trial_count(spec), spec.seeds)
    first = base_config(spec).train.seed
    return {"each": spec.seeds, "first": first, "configurations": configurations, "left": left}


def _stopping(spec: SearchSpec) -> str:
    total = base_config(spec).train.total_kimg
    return "; ".join(rule.describe(total) for rule in spec.early_terminate) or "none"


def _domain(parameter: Parameter) -> str:
    values = ", ".join(value_text(value) for value in parameter.values)
    text = values or f"{parameter.low:g} to {parameter.high:g}{' (log)' if parameter.log else ''}"
    conditions = [
        f"{parent} = {' or '.join(value_text(value) for value in values)}"
        for parent, values in parameter.when
    ]
    return text + (f", when {' and '.join(conditions)}" if conditions else "")


def value_text(value: Value) -> str:
    """Return a searched value as text.

    A float has three significant digits, and an empty text is written as two quotes. A schedule is
    written as in `as_text`.
    """
    if isinstance(value, float):
        return f"{value:.3g}"
    return '""' if value == "" else str(as_text(value))
