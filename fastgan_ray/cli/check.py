"""The command `check` and its options; `plan` prints its lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import console, print_json, progress

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.search.cost.timing import CpuSpeed, Timing


def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Search file, ablation file or run configuration (YAML), or the name of a preset.",
        ),
    ],
    data: opt.Data = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    as_json: opt.AsJson = False,
    timed: Annotated[
        bool,
        typer.Option(
            "--timed",
            help="Measure the time of some training steps on this machine. This takes a minute.",
        ),
    ] = False,
) -> None:
    """Check a file, and print what the run would do and cost. Nothing is trained."""
    from fastgan_ray.cli.plan import print_facts, require_usable_data
    from fastgan_ray.config.file_kinds import kind_of_file
    from fastgan_ray.config.override import override
    from fastgan_ray.config.run_file import load_run_config
    from fastgan_ray.search.ablation import arm_config
    from fastgan_ray.search.cost import plan
    from fastgan_ray.search.file.presets import file_or_preset
    from fastgan_ray.search.file.read import load_search
    from fastgan_ray.search.file.read_ablation import load_ablation
    from fastgan_ray.search.file.spec import sample_configs
    from fastgan_ray.train.initial_weights import describe_starts

    file = file_or_preset(file)
    fields, track = opt.overrides(data, assignments, embedded), progress()
    needs_data = "data.path" in fields  # without --data, the data may be on another machine
    kind = kind_of_file(file)
    if kind == "run":
        run = override(load_run_config(file), fields)
        configs = [run]
        facts = plan.run_facts(run, str(file), track, *_speeds([run], timed), needs_data)
    elif kind == "ablation":
        ablation = load_ablation(file, fields)
        configs = [arm_config(ablation, arm) for arm in ablation.arms]
        facts = plan.ablation_facts(ablation, track, *_speeds(configs, timed), needs_data)
    else:
        search = load_search(file, fields)
        configs = sample_configs(search)
        facts = plan.search_facts(search, track, *_speeds(configs, timed), needs_data)
    facts["starts"] = describe_starts(configs, must_exist=False)
    if as_json:
        print_json(facts)
        require_usable_data(facts)
    else:
        print_facts(facts, console)


def _speeds(configs: Sequence[RunConfig], timed: bool) -> tuple[Timing | None, CpuSpeed | None]:
    """Return a pair: the measured times of training steps, and the speed of this CPU.

    If `timed` is True, the pair is (times, None). If not, it is (None, speed). The speed is None if
    trainings would not run on this CPU.
    """
    from fastgan_ray.tune.trial.calibration import speed_of_this_cpu

    return (_timing(configs), None) if timed else (None, speed_of_this_cpu(configs[0]))


def _timing(configs: Sequence[RunConfig]) -> Timing:
    from fastgan_ray.metrics.weight_files import require_weights
    from fastgan_ray.tune.trial.timing import time_configs

    require_weights(configs[0])
    return time_configs(configs)
