"""Start a training from given weights: read them, check that they fit, and copy them.

The weights come from a checkpoint, a run's folder, an exported folder or a published .pth file.
Tensors are copied by name. The weights of a layer without spectral normalisation (e.g. in an
exported folder) can be copied to a layer with spectral normalisation. That layer then normalises
the copied weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from fastgan_ray.config.feature_networks import spoilt_by_earlier
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.training import TrainConfig
from fastgan_ray.counting import counted
from fastgan_ray.data.cache import file_sha256
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.exported_folder import layout_of, read_d_features, read_folder
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.models.spectral import settle_vectors, spectral_layers
from fastgan_ray.train.checkpoint import all_d_features, read_tensors
from fastgan_ray.train.find_checkpoint import locate
from fastgan_ray.train.instances import restart
from fastgan_ray.train.state import TrainState

Tensors = dict[str, Tensor]
_LISTED = 3  # the largest number of tensors that an error message names
_ORIGINAL = ".parametrizations.weight.original"
_VECTORS = (".parametrizations.weight.0._u", ".parametrizations.weight.0._v")


class Source(NamedTuple):
    """The weights of each network, read from `train.init_from`.

    The keys of `networks` are "generator" and "discriminator".
    """

    networks: dict[str, Tensors]
    sha256: str
    """A hash of the files from which the weights were read."""
    d_features: tuple[str, ...]
    """The names of the frozen feature networks with which the source's generator was trained.

    Empty if it was never trained with a projected discriminator."""


class Share(NamedTuple):
    """How many tensors and parameters of a network were copied, and how many it has."""

    tensors: int
    all_tensors: int
    parameters: int
    all_parameters: int

    def describe(self) -> str:
        """Return the share as text, such as "10 of 12 tensors (95% of parameters)"."""
        all_tensors = counted(self.all_tensors, "tensor")
        share = self.parameters / self.all_parameters
        return f"{self.tensors} of {all_tensors} ({share:.0%} of parameters)"


def networks_of(train: TrainConfig) -> tuple[str, ...]:
    """Return the names of the networks that start from the weights in `train.init_from`."""
    both = ("generator", "discriminator")
    return both if train.init_networks == "both" else (train.init_networks,)


def read_source(train: TrainConfig) -> Source:
    """Read the weights from which a training starts; `train.init_from` must be set.

    Raises UserError if the path does not exist, is damaged, or lacks one of the networks.
    """
    path, names = Path(str(train.init_from)).expanduser(), networks_of(train)
    try:
        where = locate(path)
        if where.is_file():
            return _published(where, train)
        if layout := layout_of(where):
            _require_average_generator(where, train)
            generator, _ = read_folder(where, layout)
            sha256 = _sha256([where / layout.weights])
            d_features = read_d_features(where, layout)
            return Source({"generator": generator.state_dict()}, sha256, d_features)
        stored = {"generator": "ema" if train.init_average else "generator"}
        files = {name: where / f"{stored.get(name, name)}.safetensors" for name in names}
        networks = {name: read_tensors(file) for name, file in files.items()}
        return Source(networks, _sha256(files.values()), all_d_features(where))
    except UserError as error:
        raise UserError(f"train.init_from: {error}") from error


def check_start(config: RunConfig) -> dict[str, Any] | None:
    """Check that a training can start from the weights in `train.init_from`.

    Return a record of what would be copied (see `initialise`), or None if `train.init_from` is not
    set. Raises UserError if the weights cannot be read or do not fit.
    """
    if config.train.init_from is None:
        return None
    source = read_source(config.train)
    channels = config.data.channels
    build = {"generator": build_generator, "discriminator": build_discriminator}
    networks = {
        name: build[name](config.model, picture_channels=channels) for name in source.networks
    }
    return initialise(networks, source, config)


def different_starts(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Return the configurations whose initial weights (`train.init_from`) must be checked.

    Configurations without initial weights are left out. If several configurations have the same
    networks and the same settings of initial weights, one check is enough for them. So only the
    last of them is returned.
    """

    def key(config: RunConfig) -> str:
        train = config.train
        fields = train.init_from, train.init_networks, train.init_average, train.init_partial
        return repr((fields, config.model, config.data.channels))

    starts = {key(config): config for config in configs if config.train.init_from is not None}
    return list(starts.values())


def describe_starts(configs: Iterable[RunConfig], must_exist: bool) -> list[str]:
    """Check the initial weights (`train.init_from`) of each configuration; describe them.

    Returns lines of text. Raises UserError if weights cannot be read or do not fit. `must_exist`
    says whether a missing path is an error. If not, a line says that the path is missing. (The
    training may run on another machine that has the path.)
    """
    lines = []
    for config in different_starts(configs):
        path = Path(str(config.train.init_from)).expanduser()
        if must_exist or path.exists():
            record = check_start(config)
            assert record is not None
            lines.append(describe(record))
        else:
            lines.append(f"Start from {path}, which does not exist on this machine")
    return list(dict.fromkeys(lines))


def initialise(
    networks: Mapping[str, nn.Module], source: Source, config: RunConfig
) -> dict[str, Any]:
    """Copy the weights of a source to `networks`; return a record of what was copied.

    `networks` maps "generator" and "discriminator" to the networks. The record has "from" (the
    path), "sha256" and "d_features" (see `Source`), and "average" (the value of
    `train.init_average`). For each network, it also has the `Share` as a dictionary.

    A tensor fits if its name and shape are the same in the network. Raises UserError if no tensor
    fits. If `train.init_partial` is false, also raises UserError if any tensor does not fit. The
    message names the first tensors that do not fit.

    Also raises UserError if the source's generator was trained with the metric's feature network or
    a related one. The metric's values would be too good (see `spoilt_by_earlier`).
    """
    train = config.train
    d_features = source.d_features if "generator" in source.networks else ()
    if rule := spoilt_by_earlier(d_features, config.model, config.eval):
        raise UserError(f"train.init_from: for the generator of {train.init_from}, {rule}")
    shares = {}
    for name, tensors in source.networks.items():
        shares[name] = _copy(networks[name], tensors, name, config)._asdict()
    return {
        "from": train.init_from,
        "sha256": source.sha256,
        "average": train.init_average,
        "d_features": list(d_features),
        **shares,
    }


def start_from(state: TrainState, source: Source, config: RunConfig) -> None:
    """Copy the weights of a source to the networks of `state`, before its first step.

    A record of what was copied is stored in `state.start` (see `initialise`).
    """
    networks = {"generator": state.generator, "discriminator": state.discriminator}
    state.start = initialise(networks, source, config)
    state.ema.load_state_dict(state.generator.state_dict())
    restart(state.instances, state.discriminator)


def describe(record: Mapping[str, Any]) -> str:
    """Describe the initial weights of a training in one line; `record` is from `initialise`."""
    networks = [name for name in ("generator", "discriminator") if name in record]
    shares = "; ".join(f"{name}: {Share(**record[name]).describe()}" for name in networks)
    return f"Start from {record['from']} (sha256 {record['sha256'][:12]}): {shares}"


def change_since(record: Mapping[str, Any] | None, train: TrainConfig) -> str:
    """Return a warning if the files of `train.init_from` have changed since the training started.

    `record` is from `initialise`. Return "" if the files have not changed or can no longer be read.
    """
    if record is None or train.init_from is None:
        return ""
    try:
        sha256 = read_source(train).sha256
    except UserError:
        return ""
    if sha256 == record["sha256"]:
        return ""
    return (
        f"train.init_from: {train.init_from} has changed since this training started from it "
        f"(sha256 {record['sha256'][:12]} then, {sha256[:12]} now). This training continues from "
        "its checkpoint, but a new training would start from the changed weights."
    )


def _copy(network: nn.Module, tensors: Tensors, name: str, config: RunConfig) -> Share:
    expected = network.state_dict()
    given = _with_spectral_names(tensors, expected)
    fitting = {
        key: given[key]
        for key, value in expected.items()
        if key in given and given[key].shape == value.shape
    }
    vectors = {key for key in expected if key.endswith(_VECTORS)}
    wrong = [
        f"{key}: {_shape(given.get(key))} in the source, {_shape(expected.get(key))} in this model"
        for key in dict.fromkeys([*expected, *given])
        if key not in fitting and not (key in vectors and key not in given)
    ]
    if wrong and not (config.train.init_partial and fitting):
        more = f"; and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        mend = "Use the widths, resolution, components and data.mode of the source"
        if not config.train.init_partial:
            mend += ", or set train.init_partial to true to copy only the tensors that fit"
        raise UserError(
            f"train.init_from: {counted(len(wrong), 'tensor')} of the {name} in "
            f"{config.train.init_from} do not fit: {'; '.join(wrong[:_LISTED])}{more}. {mend}."
        )
    network.load_state_dict(fitting, strict=False)
    owners = {module: name for name, module in network.named_modules()}
    for layer in spectral_layers(network):
        key = owners[layer.parameters]
        if f"{key}.original" in fitting and f"{key}.0._u" not in fitting:
            settle_vectors(layer)
    weights = {key for key, _ in network.named_parameters()}
    return Share(
        tensors=len(weights & fitting.keys()),
        all_tensors=len(weights),
        parameters=sum(expected[key].numel() for key in weights & fitting.keys()),
        all_parameters=sum(expected[key].numel() for key in weights),
    )


def _with_spectral_names(tensors: Tensors, expected: Mapping[str, Tensor]) -> Tensors:
    """Rename weights so that they can be copied to layers with spectral normalisation.

    PyTorch stores the weight of such a layer under another name. `tensors`
    are the source's tensors, and `expected` the network's tensors. A weight is renamed only if the
    network's layer has spectral normalisation and the source's layer does not.
    """
    return {
        f"{owner}{_ORIGINAL}"
        if (owner := key.removesuffix(".weight")) != key and f"{owner}{_ORIGINAL}" in expected
        else key: value
        for key, value in tensors.items()
    }


def _published(path: Path, train: TrainConfig) -> Source:
    published = load_published(path)
    generator = (train.init_average and published.ema) or published.generator
    networks: dict[str, nn.Module] = {
        "generator": generator,
        "discriminator": published.discriminator,
    }
    wanted = {name: networks[name].state_dict() for name in networks_of(train)}
    return Source(wanted, _sha256([path]), ())


def _require_average_generator(path: Path, train: TrainConfig) -> None:
    if train.init_networks != "generator":
        raise UserError(
            f"{path}: is an exported folder, which has no discriminator; set train.init_networks "
            "to generator, or train.init_from to a checkpoint"
        )
    if not train.init_average:
        raise UserError(
            f"{path}: is an exported folder, which has only the generator's weight average; set "
            "train.init_average to true, or train.init_from to a checkpoint"
        )


def _sha256(paths: Iterable[Path]) -> str:
    digests = [file_sha256(path) for path in paths]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape)).replace(",)", ")")
