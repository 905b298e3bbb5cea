"""Check devices, pictures, weights and the metric's protocol before the first trial."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.progress import track_on
from fastgan_ray.tune.driver.terminal import say
from fastgan_ray.tune.ray.resources import check_feasible, request
from fastgan_ray.tune.ray.session import resources_of_this_machine


def check_this_machine(configs: Sequence[RunConfig], address: str | None) -> None:
    """Raise UserError if this machine lacks a device or resources that trials need.

    `configs` are examples of the trials' configurations. Nothing is checked if the trials run on a
    Ray cluster that has already started. This function does not start Ray.
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

STARTS = "starts.json"  # in the experiment's folder; {description: sha256} of initial weights


def check_inputs(
    configs: Sequence[RunConfig],
    examples: Sequence[RunConfig],
    folder: Path,
    here: bool,
    console: Console,
) -> None:
    """Check, before the first trial, that pictures and network weights exist and are unchanged.

    `configs` are the configurations whose pictures and weights are checked. `examples` are samples
    of the configurations that trials may have. `folder` is the experiment's folder.

    Remarks about the pictures are printed and written to `folder`. The remarks refer to the largest
    resolution in `configs` and `examples`. If `here` is true, the trials run on this machine. Then
    the features of the real pictures are also computed, and the metric's protocol is checked (see
    `keep_protocol`). Raises UserError if something is missing or has changed.
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
        described.append(describe(source, config.data, largest.model.size, is_searched=True))
        for sentence in described[-1]["remarks"]:
            say(console, f"  {sentence}")
    write_described(folder, described)


def check_starts(configs: Sequence[RunConfig], folder: Path, console: Console) -> None:
    """Check that trainings can start from the weights in `train.init_from`.

    All trials must start from the same weights. So the SHA-256 hashes of the weights are written to
    `folder`, or compared with the hashes that `folder` already has. Raises UserError if the weights
    cannot be used or have changed.
    """
    from fastgan_ray.train.initial_weights import check_start, describe, different_starts

    path = folder / STARTS
    before = json.loads(path.read_text()) if path.is_file() else {}
    now = {}
    for config in different_starts(configs):
        record = check_start(absolute_paths(config))
        assert record is not None
        say(console, describe(record))
        name = f"{record['from']} ({config.train.init_networks}, {record['average']})"
        now[name] = record["sha256"]
        if before.get(name, now[name]) != now[name]:
            raise UserError(
                f"train.init_from: {record['from']} has changed since the first trials started "
                f"from it (sha256 {before[name][:12]} then, {now[name][:12]} now). Restore the "
                "old weights, or start another run with --name."
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
        held_out = f", and {counted(len(sets.reference), 'held-out picture')} in {held_in}"
    say(console, f"{counted(len(source), 'picture')} in {config.data.path}{held_out}")
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
    """Write `protocol` to the file `path`, or compare it with the protocol in this file.

    The protocol says how the metric is measured. It must not change, because a resumed search
    compares values from before and after the interruption. Raises UserError with the differences.
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

    So the paths are valid in any working directory. A value that is not an existing path does not
    change.
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
