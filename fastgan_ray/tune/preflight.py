"""What is looked at before the first trial: pictures, network weights, the metric's protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from rich.console import Console

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.progress import track_on


def check_inputs(configs: Sequence[RunConfig], folder: Path, here: bool, console: Console) -> None:
    """Find out now, not in every trial, that pictures or network weights are missing or changed.

    `here`: the trials run on this machine, so the real pictures' features are made once for all,
    and the metric's protocol is written to `folder`, or compared with what it was.
    """
    from fastgan_ray.metrics.weight_files import require_weights

    sets = {config.data.path: config for config in reversed(configs)}
    networks = {(config.eval.extractor, config.train.reconstruction): config for config in configs}
    for config in networks.values():
        require_weights(config)
    for number, config in enumerate(reversed(sets.values())):
        name = "protocol.json" if len(sets) == 1 else f"protocol-{number}.json"
        limits = {other.data.limit for other in configs if other.data.path == config.data.path}
        _check_pictures(config, limits, folder / name, here, console)


def _check_pictures(
    config: RunConfig, limits: Set[int | None], record: Path, here: bool, console: Console
) -> None:
    import torch

    from fastgan_ray.data.source import open_source
    from fastgan_ray.metrics.extractors import load_extractor
    from fastgan_ray.metrics.protocol import protocol
    from fastgan_ray.metrics.reference import load_reference

    track = track_on(Console(stderr=True, quiet=console.quiet))
    source = open_source(config.data.model_copy(update={"limit": None}), track=track)
    left_out = f", {len(source.skipped)} unreadable ones left out" if source.skipped else ""
    console.print(
        f"{len(source)} pictures in {source.path}{left_out}", highlight=False, soft_wrap=True
    )
    idle = [limit for limit in limits if limit is not None and limit >= len(source)]
    if idle and len(limits) > 1:  # set against each other, two of them would be the same
        raise UserError(
            f"data.limit: {source.path} has {len(source)} pictures, so that a limit of "
            f"{min(idle)} is none; set a lower one, or name a larger data set"
        )
    if here:
        extractor = load_extractor(config.eval.extractor, torch.device("cpu"))
        keep_protocol(record, protocol(config, extractor, source))
        load_reference(source, config, extractor, track)


def keep_protocol(path: Path, found: dict[str, Any]) -> None:
    """Write the metric's protocol, or check that what is resumed goes on under the same.

    UserError with what differs: values from before and after would be compared with each other.
    """
    from fastgan_ray.metrics.protocol import require_same_protocol

    if not path.is_file():
        write_atomically(path, json.dumps(found, indent=1))
        return
    mend = (
        "Values measured before and after would not compare. Restore the pictures and the weights, "
        "or begin another one with --name."
    )
    before = json.loads(path.read_text())
    require_same_protocol({"what there is so far": before, "what it is now": found}, mend)


def rooted(config: RunConfig) -> RunConfig:
    """`config` with the pictures' path good in any working directory."""
    path = config.data.path
    if path is None or not Path(path).exists():
        return config
    data = config.data.model_copy(update={"path": str(Path(path).resolve())})
    return config.model_copy(update={"data": data})
