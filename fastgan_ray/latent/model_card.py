"""Write the model card of a generator for the Hugging Face Hub: README.md and samples.png.

The card describes the generator, its training pictures, its metrics and how they were measured. The
card contains no path of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.catalog import catalog
from fastgan_ray.data.grid import save_grid
from fastgan_ray.errors import UserError
from fastgan_ray.latent.sample import sample
from fastgan_ray.metrics.evaluate import with_other_latents
from fastgan_ray.metrics.names import (
    early_name,
    error_name,
    format_with_error,
    metric_name,
    searchable,
)
from fastgan_ray.metrics.protocol import LABELS
from fastgan_ray.models import ARCHITECTURES
from fastgan_ray.train.checkpoint import read_metadata, stored_config
from fastgan_ray.train.costs import count_parameters
from fastgan_ray.train.find_checkpoint import find_checkpoint

CARD = "README.md"
SAMPLES = "samples.png"
SEEDS = range(16)
LICENCE = "unknown"  # the Hub's word for a licence that nobody has chosen yet
ALIKE = ("diversity", "nearest_ratio", "memorised")  # metrics that a search does not optimise
UNKNOWN_LICENCE = (
    "The licence of the training pictures is not known. Find out what it is before you publish."
)
NOT_RECORDED = "This generator was exported from a file that does not store the generator's {}."

Facts = dict[str, Any]


def training_record(path: Path) -> Facts | None:
    """Return a dict about the training of the generator at `path`.

    "config" is the RunConfig, "metrics" is {metric name: value}, and "protocol" is the evaluation
    protocol. "kimg" is the number of training images in thousands. Return None if `path` is an
    exported folder or a published file, because these do not describe the training.
    """
    try:
        folder = find_checkpoint(path)
    except UserError:
        return None
    metadata, config = read_metadata(folder), stored_config(folder)
    protocol = dict(metadata.get("protocol", {}))
    if "measured_again" in metadata and config.eval.early_fakes is None:
        protocol["eval_seed"] = with_other_latents(config.eval).seed
    return {
        "config": config,
        # Leave out the values that chose the best checkpoint, because they are too good.
        "metrics": metadata.get("measured_again", metadata.get("metrics", {})),
        "protocol": protocol,
        "kimg": metadata.get("kimg"),
    }


def write_model_card(
    generator: nn.Module, config: RunConfig, record: Facts | None, folder: Path
) -> None:
    """Write README.md and samples.png to `folder`, the folder of an exported generator.

    `record` is the result of `training_record`.
    """
    save_grid(sample(generator, config.model.nz, SEEDS), folder / SAMPLES)
    name = folder.resolve().name
    metrics = _metrics(record) if record else {}
    data = _data(record) if record else None
    header = yaml.safe_dump(_header(name, metrics, data), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{header}---\n\n# {name}",
        _introduction(generator, config, record, data),
        f"![{len(SEEDS)} generated pictures]({SAMPLES})\n\nThese are the pictures of the seeds 0 "
        f"to {SEEDS[-1]}. They were not selected.",
        _use(config),
        _quality(metrics, record["protocol"] if record else {}),
        _licence(data),
    ]
    (folder / CARD).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _metrics(record: Facts) -> dict[str, tuple[float, float | None]]:
    """Return {metric name: (value, standard error or None)} from the record of a training."""
    settings, values = record["config"].eval, record["metrics"]
    names = [*searchable(settings), metric_name(settings, "is"), *ALIKE]
    measured = [key for name in names for key in (name, early_name(name)) if key in values]
    return {name: (values[name], values.get(error_name(name))) for name in measured}


def _data(record: Facts) -> Facts:
    """Return a dict about the training pictures: "name" of the data set, "count" and "licence".

    "count" and "licence" are None if they are unknown.
    """
    config: RunConfig = record["config"]
    path, count = config.data.path or "", record["protocol"].get("reference_count")
    if "held_out" in record["protocol"]:  # the reference pictures are not the training pictures
        count = None
    if count:
        count = config.data.limited(count)
    licences = {row["name"]: row["licence"] for row in catalog()}
    return {
        "name": Path(path).name or "not named",
        "count": count,
        "licence": licences.get(path),
    }


def _header(name: str, metrics: Mapping[str, tuple[float, Any]], data: Facts | None) -> Facts:
    """Return the metadata for the start of README.md, which the Hugging Face Hub reads."""
    header: Facts = {
        "license": LICENCE,
        "library_name": "fastgan-ray",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["fastgan-ray", "gan", "few-shot", "pytorch"],
    }
    if metrics and data:
        result = {
            "task": {"type": "unconditional-image-generation"},
            "dataset": {"type": "custom", "name": data["name"]},
            "metrics": [
                {"type": metric, "name": metric, "value": value}
                for metric, (value, _) in metrics.items()
            ],
        }
        header["model-index"] = [{"name": name, "results": [result]}]
    return header


def _introduction(
    generator: nn.Module, config: RunConfig, record: Facts | None, data: Facts | None
) -> str:
    model, (height, width) = config.model, config.model.size
    kind = ARCHITECTURES[model.architecture].title
    network = (
        f"A {kind} generator with {count_parameters(generator):,} parameters. It turns a latent of "
        f"{model.nz} numbers into a picture of {width} x {height} pixels ({config.data.mode})."
    )
    if record is None or data is None:
        return f"{network} {NOT_RECORDED.format('training')}"
    pictures = f"{data['count']} pictures" if data["count"] else "pictures"
    trained = f"It was trained on {pictures} ({data['name']}) with fastgan-ray"
    if record["kimg"]:
        trained += f", for {record['kimg'] * 1000:,.0f} training images including repetitions"
    return f"{network} {trained}."


def _use(config: RunConfig) -> str:
    height, width = config.model.size
    shape = f"(16, {height}, {width}, {config.data.channels})"
    return f"""## Use

Install the package (`pip install fastgan-ray huggingface_hub`), and put the name of this repository
in place of `USER/NAME`:

```python
import fastgan_ray
from huggingface_hub import snapshot_download

generator = fastgan_ray.Generator.load(snapshot_download("USER/NAME"))
pictures = generator.sample(seeds=range(16))  # uint8 {shape}
```"""


def _quality(metrics: Mapping[str, tuple[float, float | None]], protocol: Mapping[str, Any]) -> str:
    """Return the section of README.md about the metrics and how they were measured."""
    title = "## Quality\n\n"
    if not metrics:
        return title + NOT_RECORDED.format("metrics")
    rows = [f"| {name} | {format_with_error(*value)} |" for name, value in metrics.items()]
    steps = [f"| {LABELS.get(key, key)} | {value} |" for key, value in protocol.items()]
    return (
        f"{title}| metric | value ± standard error |\n| --- | --- |\n" + "\n".join(rows) + "\n\n"
        "Compare these numbers only with numbers that were measured in the same way. `memorised` "
        "is the share of generated pictures that count as copies of a training picture.\n\n"
        "| how it was measured | |\n| --- | --- |\n" + "\n".join(steps)
    )


def _licence(data: Facts | None) -> str:
    pictures = ""
    if data:
        licence = data["licence"]
        pictures = (
            f" The training pictures ({data['name']}) have this licence: {licence}."
            if licence
            else f" {UNKNOWN_LICENCE}"
        )
    return (
        f"## Licence\n\nThese weights have no licence yet. Choose a licence and replace "
        f"`license: {LICENCE}` at the top of this file, e.g. by `license: cc-by-4.0`.{pictures}"
    )
