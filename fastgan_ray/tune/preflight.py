"""Checks before the first trial: pictures, network weights, the metric's protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.progress import track_on
from fastgan_ray.tune.driver.terminal import say
from fastgan_ray.tune.ray.resources import check_feasible, request
from fastgan_ray.tune.ray.session import resources_of_this_machine


def check_this_machine(configs: Sequence[RunConfig], address: str | None) -> None:
    """Check, before Ray starts, that this machine has the devices and resources that trials need.

    Nothing is checked if the trials run on a Ray cluster that has already started. Raises
    UserError.
    """
    from fastgan_ray.train.device import choose_device

    nodes = resources_of_this_machine(address)
    if nodes is None:
        return
    for name in {config.train.device for config in configs}:
        choose_device(name)
    check_feasible([request(config, nodes) for config in configs], nodes)


if TYPE_CHECKING:
    from fastgan_ray.data.source import Source

STARTS = "starts.json"  # in the experiment's folder; {file: sha256} of each train.init_from


def check_inputs(
    configs: Sequence[RunConfig],
    examples: Sequence[RunConfig],
    folder: Path,
    here: bool,
    console: Console,
) -> None:
    """Check once, before all trials, that pictures and network weights exist and are unchanged.

    If `here` is true, the trials run on this machine. Then the features of the real pictures are
    computed, too, and the metric's protocol is written to `folder`, or compared with the protocol
    that `folder` already has. Remarks about the pictures are printed and written to `folder`; they
    refer to the largest resolution in `configs` and `examples`. `examples` are samples of the
    configurations that a search may try. Raises a UserError that says what is missing or has
    changed.
    """
    from fastgan_ray.data.described import describe, write_described
    from fastgan_ray.metrics.weight_files import require_weights

    check_starts([*configs, *examples], folder, console)
    by_data = {config.data.path: config for config in reversed(configs)}
    largest = max([*configs, *examples], key=lambda config: config.model.resolution)
    described = []
    networks = {(config.eval.extractor, config.train.reconstruction): config for config in configs}
    for config in networks.values():
        require_weights(config)
    for number, config in enumerate(reversed(by_data.values())):
        name = "protocol.json" if len(by_data) == 1 else f"protocol-{number}.json"
        limits = {other.data.limit for other in configs if other.data.path == config.data.path}
        source = _check_pictures(config, limits, folder / name, here, console)
        described.append(describe(source, config.data, largest.model.size))
        for sentence in described[-1]["remarks"]:
            say(console, escape(f"  {sentence}"))
    write_described(folder, described)


def check_starts(configs: Sequence[RunConfig], folder: Path, console: Console) -> None:
    """Check that trainings can start from the weights in `train.init_from`.

    All trials must start from the same weights. So the hashes of the weights are written to
    `folder`, or compared with the hashes that `folder` already has. Raises UserError.
    """
    from fastgan_ray.train.initial_weights import check_start, describe, different_starts

    path = folder / STARTS
    before = json.loads(path.read_text()) if path.is_file() else {}
    now = {}
    for config in different_starts(configs):
        record = check_start(absolute_paths(config))
        assert record is not None
        say(console, escape(describe(record)))
        name = f"{record['from']} ({config.train.init_networks}, {record['average']})"
        now[name] = record["sha256"]
        if before.get(name, now[name]) != now[name]:
            raise UserError(
                f"train.init_from: {record['from']} has changed since the first trials started "
                f"from it (sha256 {before[name][:12]} then, {now[name][:12]} now). Restore it, or "
                "start another run with --name."
            )
    if now:
        write_atomically(path, json.dumps(before | now, indent=1))


def _check_pictures(
    config: RunConfig, limits: Set[float | None], protocol_file: Path, here: bool, console: Console
) -> Source:
    import torch

    from fastgan_ray.data.sets import open_sets, require_different_limits
    from fastgan_ray.metrics.extractors import load_extractor
    from fastgan_ray.metrics.protocol import protocol
    from fastgan_ray.metrics.reference import load_sets
    from fastgan_ray.train.threads import cpu_threads

    track = track_on(Console(stderr=True, quiet=console.quiet))
    sets = open_sets(config, track)
    source, held_out = sets.pool, ""
    if sets.held_out:
        held_in = config.eval.data or config.data.path
        held_out = f", and {len(sets.reference)} held out in {held_in}"
    say(console, escape(f"{counted(len(source), 'picture')} in {config.data.path}{held_out}"))
    require_different_limits(limits, source)
    if here:
        extractor = load_extractor(
            config.eval.extractor,
            torch.device("cpu"),
            config.data.background,
            config.eval.picture_px,
        )
        keep_protocol(protocol_file, protocol(config, extractor, sets.reference))
        with cpu_threads(config.resources):
            load_sets(sets, config, extractor, track)
    return source


def keep_protocol(path: Path, protocol: dict[str, Any]) -> None:
    """Write the metric's protocol to `path`, or compare it with the protocol in that file.

    The protocol must not change, because a resumed search compares values from before and after the
    interruption. Raises UserError with the differences.
    """
    from fastgan_ray.metrics.protocol import require_same_protocol

    if not path.is_file():
        write_atomically(path, json.dumps(protocol, indent=1))
        return
    mend = (
        "Values measured before and after this change cannot be compared. Restore the "
        "pictures and the weights, or start another run with --name."
    )
    before = json.loads(path.read_text())
    require_same_protocol({"the trials so far": before, "this run": protocol}, mend)


def absolute_paths(config: RunConfig) -> RunConfig:
    """Return `config` with absolute paths of pictures, boxes and initial weights.

    The result is valid in any working directory.
    """
    data, train, measuring = config.data, config.train, config.eval
    paths = {"path": _absolute(data.path), "boxes": _absolute(data.boxes)}
    return config.model_copy(
        update={
            "data": data.model_copy(update=paths),
            "train": train.model_copy(update={"init_from": _absolute(train.init_from)}),
            "eval": measuring.model_copy(update={"data": _absolute(measuring.data)}),
        }
    )


def _absolute(path: str | None) -> str | None:
    if path is None or not Path(path).exists():
        return path
    return str(Path(path).resolve())
