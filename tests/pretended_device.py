"""A pretended GPU: real numbers on the CPU, in tensors that know where they "are".

`python tests/pretended_device.py` counts the operators of a training step under each setting and
writes them to tests/data/operators.md; test_pretended_device.py compares with that table.

How it works: `Placed` is a tensor subclass around a CPU tensor, which is of the device "cpu" for
PyTorch's own code (so that it asks no driver) and of "cuda:0" for ours: a torch-function mode
answers `.device`, `.to(device)` and `device=`. Everything else is seen in __torch_dispatch__. What
it cannot show: autocast, gradient checkpointing, fused optimisers, CUDA's generators, memory, time.
"""

from __future__ import annotations

import collections
import functools
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fastgan_ray.config.reference import section_model
from fastgan_ray.config.run_config import RunConfig, nest
from fastgan_ray.config.task_fields import USED_BY
from fastgan_ray.train import rng, step
from fastgan_ray.train.batches import Pictures
from fastgan_ray.train.draws import draw_step, to_device
from fastgan_ray.train.loop import take_batches
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.regan import Regan
from fastgan_ray.train.state import TrainState, accumulate_losses, new_state
from fastgan_ray.train.step import train_step

DEVICE = torch.device("cuda", 0)
CPU = torch.device("cpu")
TABLE = Path(__file__).parent / "data" / "operators.md"
FACTORIES = ("zeros", "ones", "empty", "full", "arange", "eye", "tensor", "linspace")
READS = ("item", "tolist", "numpy", "cpu", "__float__", "__bool__", "__int__", "__index__")
# Their results have a size that depends on values, or are read on the host.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")
VIEWS = ("aten._unsafe_view.default", "aten.detach.default")

PENALTIES = {"train.loss": "logistic", "train.r1_gamma": 1.0, "train.r2_gamma": 1.0}
ADAPTIVE = {"augment.policy": "bgc", "augment.ada_p": 0.5}
EVERYTHING = {**ADAPTIVE, "augment.policy": "color,translation,cutout,bgc,keras"}
HALVED = {"from": 0.5, "to": 0.25, "over_kimg": 0.1, "shape": "cosine"}
# Every number that may be a schedule, but for p, which a rule changes in the same case.
SCHEDULES = {
    f"{section}.{name}": HALVED
    for section in ("train", "augment", "regan")
    for name in section_model(section).model_fields
    if section_model(section).can_be_scheduled(name)
    and name not in ("ada_p", "ada_max_p", "gp_weight")
    and not name.startswith(tuple(USED_BY))  # they need an extra task of D
}
SCHEDULES["augment.ada_max_p"] = HALVED | {"from": 0.9, "to": 0.6}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "default at 256 px": {"model.resolution": 256},
    "R1 and R2 at every step": {**PENALTIES, "train.r1_interval": 1},
    "R1 and R2, not at this step": {**PENALTIES, "train.r1_interval": 16},
    "wasserstein": {"train.loss": "wasserstein"},
    "relativistic": {"train.loss": "relativistic"},
    "LeCam": {"train.lecam_weight": 0.3},
    "gradient gap": {"train.gradient_gap_weight": 500.0},
    "APA": {"augment.policy": "color,translation,apa", "augment.ada_p": 0.5},
    "ANDA": {"augment.policy": "color,translation,anda", "augment.ada_p": 0.5},
    "diffusion": {"augment.policy": "color,translation,diffusion", "augment.ada_p": 0.5},
    "bCR": {"train.bcr_real_weight": 10.0, "train.bcr_fake_weight": 10.0},
    "zCR": {"train.zcr_d_weight": 5.0, "train.zcr_g_weight": 0.5},
    "MixDL": {"train.mixdl_g_weight": 125.0, "model.d_mixdl": True, "train.mixdl_interval": 1},
    "MixDL, not at this step": {"train.mixdl_g_weight": 125.0, "model.d_mixdl": True},
    "wavelet skips": {"model.g_wavelet_skips": True},
    "high frequencies in D": {"model.d_high_frequency": True},
    "alignment": {"train.alignment_weight": 1.0},
    "FreGAN": {
        **{"model.g_wavelet_skips": True, "model.d_high_frequency": True, "model.ngf": 5},
        "train.alignment_weight": 1.0,
    },
    "top-k": {"train.top_k": 0.5},
    "instance noise": {"train.instance_noise": 0.1},
    "group norm in D": {"model.d_norm": "group"},
    "CHAIN": {"model.d_norm": "chain", "train.chain_start_kimg": 0.0},
    "least squares": {"train.loss": "least_squares"},
    "no augmentation": {"augment.policy": ""},
    "cutout": {"augment.policy": "color,translation,cutout"},
    "augmentation of some": {"augment.probability": 0.5},
    "bgc at a fixed p": {**ADAPTIVE, "augment.ada": "none"},
    "keras at a fixed p": {**ADAPTIVE, "augment.policy": "keras", "augment.ada": "none"},
    "ADA": ADAPTIVE,
    "ADA by Keras' rule": {**ADAPTIVE, "augment.ada": "keras"},
    "everything augmented": EVERYTHING,
    "Re-GAN": {"regan.sparsity": 0.3, "regan.warmup_kimg": 0.0},
    "contrastive": {"model.self_supervision": "ae_contrastive"},
    "AugSelf-GAN": {"model.self_supervision": "augself", "augment.policy": "color,cutout"},
    "InsGen": {"model.self_supervision": "insgen"},
    "FakeCLR": {"model.self_supervision": "ae_fakeclr"},
    "no self-supervision": {"model.self_supervision": "none"},
    "dropout": {"model.d_dropout": 0.3},
    "single blocks in G": {"model.g_blocks": "single"},
    "projected": {"model.discriminator": "projected", "eval.extractor": "none"},
    "dcgan": {"model.architecture": "dcgan"},
    "sngan": {"model.architecture": "sngan"},
    "stylegan2": {"model.architecture": "stylegan2"},
    "stylegan2 with R1 at every step": {
        **{"model.architecture": "stylegan2", "train.loss": "logistic"},
        **{"train.r1_gamma": 1.0, "train.r1_interval": 1},
    },
    "two D steps": {"train.d_steps": 2},
    "schedules": {
        **{**PENALTIES, "train.r1_interval": 1, "train.lecam_weight": 0.3},
        **{"train.gradient_gap_weight": 1.0, "model.self_supervision": "ae_contrastive"},
        **{**ADAPTIVE, "augment.policy": "color,translation,cutout,bgc,keras"},
        **SCHEDULES,
    },
    "schedules of AugSelf-GAN": {
        "model.self_supervision": "augself",
        **{"train.augself_d_weight": HALVED, "train.augself_g_weight": HALVED},
    },
    "schedules of FakeCLR": {
        "model.self_supervision": "fakeclr",
        **{f"train.insgen_{name}_weight": HALVED for name in ("d_fake", "g")},
        **{f"train.insgen_{name}": HALVED for name in ("temperature", "momentum", "forgetting")},
    },
    "schedule of p": {**ADAPTIVE, "augment.ada": "none", "augment.ada_p": HALVED},
    "gp_weight as a schedule": {"train.loss": "wasserstein", "train.gp_weight": HALVED},
    "EMA ramp-up": {"train.ema_rampup": 0.05},
    "no label noise": {"train.label_noise": 0.0},
    "summed reconstruction": {"train.reconstruction_reduction": "sum"},
    "L2 reconstruction": {"train.reconstruction": "l2"},
    "centre part": {"model.decode_part": "centre"},
    "no tanh, no noise": {"model.output_activation": "none", "model.g_noise": False},
    "no spectral norm": {"model.spectral_norm": False},
    "no small branch": {"model.d_small": False, "model.decode_small": False},
    "grey": {"data.mode": "grey"},
    "rgba": {"data.mode": "rgba"},
    "2:3": {"model.aspect": "2:3"},
    "grey 3:2, everything augmented": {**EVERYTHING, "data.mode": "grey", "model.aspect": "3:2"},
    "rgba 2:3, everything augmented": {**EVERYTHING, "data.mode": "rgba", "model.aspect": "2:3"},
}


class Log:
    """What happened on the device, and where in our code."""

    def __init__(self) -> None:
        self.operators: collections.Counter[str] = collections.Counter()
        self.views = 0
        self.copies: list[str] = []
        self.waits: list[str] = []
        self.mixes: list[str] = []
        self.losses: dict[str, float] = {}

    @property
    def all(self) -> int:
        """Operators, views among them."""
        return sum(self.operators.values())

    @property
    def no_views(self) -> int:
        """Operators that compute or copy something."""
        return self.all - self.views


LOG = Log()


class Placed(Tensor):
    """A tensor on the pretended device."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> Placed:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cpu",
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner.detach()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        tensors: list[Tensor] = []
        bare = [_bare(x, tensors) for x in args]
        named = {key: _bare(x, tensors) for key, x in (kwargs or {}).items()}
        _note(func, tensors)
        # An operator in place returns one of its own tensors.
        known = {id(x.inner): x for x in tensors if isinstance(x, Placed)}
        return _placed(func(*bare, **named), known)


def _placed(x: Any, known: dict[int, Placed]) -> Any:
    if isinstance(x, Tensor):
        return known.get(id(x)) if id(x) in known else Placed(x)
    return type(x)(_placed(y, known) for y in x) if isinstance(x, (list, tuple)) else x


@functools.cache
def _kind(func: Any) -> tuple[str, bool, bool]:
    """The name of an operator; whether it is a view; whether it waits for the device."""
    name = str(func)
    aliases = [a.alias_info for a in func._schema.arguments if a.alias_info is not None]
    is_view = name in VIEWS or (bool(aliases) and not any(a.is_write for a in aliases))
    return name, is_view, any(name.startswith(f"aten.{word}") for word in WAITING)


def _note(func: Any, tensors: list[Tensor]) -> None:
    name, is_view, waits = _kind(func)
    LOG.operators[name] += 1
    LOG.views += is_view
    # Zeros that autograd itself makes, in C++, know nothing of the pretence.
    if any(not isinstance(x, Placed) and x.dim() and bool(x.any()) for x in tensors):
        LOG.mixes.append(f"{name} {_where()}")
    if waits:
        LOG.waits.append(f"{name} {_where()}")


def _bare(x: Any, tensors: list[Tensor]) -> Any:
    """The tensors behind the placed ones in an argument; all its tensors are added to `tensors`."""
    if isinstance(x, Tensor):
        tensors.append(x)
        return x.inner if isinstance(x, Placed) else x
    return type(x)(_bare(y, tensors) for y in x) if isinstance(x, (list, tuple)) else x


def _where() -> str:
    frames = [f for f in traceback.extract_stack() if "/fastgan_ray/" in f.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno} {frames[-1].line}" if frames else "?"


class Pretend(TorchFunctionMode):
    """Inside, tensors can be moved to `DEVICE` and made there, and say so."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func == Tensor.device.__get__ and isinstance(args[0], Placed):  # type: ignore[attr-defined]
            return DEVICE
        if func == Tensor.to:
            return _to(*args, **kwargs)
        if name in READS and args and isinstance(args[0], Placed):
            LOG.waits.append(f"{name} {_where()}")
            return func(args[0].inner, *args[1:], **kwargs)
        if name in FACTORIES and _is_device(kwargs.get("device")):
            made = func(*args, **kwargs | {"device": "cpu"})
            if name == "tensor":
                LOG.copies.append(f"tensor {_where()}")
            LOG.operators[name] += 1
            return Placed(made)
        return func(*args, **kwargs)


def _is_device(value: Any) -> bool:
    return value is not None and torch.device(value).type == DEVICE.type


def _to(tensor: Tensor, *args: Any, non_blocking: bool = False, **kwargs: Any) -> Tensor:
    """`Tensor.to`; a copy that blocks is a wait, too."""
    values = [*args, *kwargs.values()]
    if isinstance(args[0] if args else None, Tensor):  # as that one is
        values = [args[0].dtype, DEVICE if isinstance(args[0], Placed) else CPU, *values[1:]]
    dtypes = [value for value in values if isinstance(value, torch.dtype)]
    places = [value for value in values if isinstance(value, torch.device | str)]
    if len(dtypes) + len(places) < len(values):
        raise NotImplementedError("to() with other arguments")
    if dtypes:
        tensor = tensor.type(dtypes[0]) if tensor.dtype != dtypes[0] else tensor
    if not places or _is_device(places[0]) == isinstance(tensor, Placed):
        return tensor
    if isinstance(tensor, Placed):
        LOG.waits.append(f"to host {_where()}")
        return tensor.inner
    LOG.copies.append(_where())
    if not non_blocking:
        LOG.waits.append(f"blocking copy {_where()}")
    assert not tensor.requires_grad
    return Placed(tensor)


class DeviceGenerator:
    """Stands for a generator of the device."""

    device = DEVICE

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def manual_seed(self, seed: int) -> DeviceGenerator:
        self.generator.manual_seed(seed)
        return self

    def get_state(self) -> Tensor:
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        self.generator.set_state(state)


def _drawn_there(factory: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(*args: Any, **kwargs: Any) -> Tensor:
        source = kwargs.get("generator")
        if not isinstance(source, DeviceGenerator):
            return factory(*args, **kwargs)
        LOG.operators[factory.__name__] += 1
        kwargs.pop("device", None)
        return Placed(factory(*args, **kwargs | {"generator": source.generator}))

    return call


@contextmanager
def pretended_device() -> Iterator[None]:
    """Inside, there is such a device."""
    randoms, ask = (torch.randn, torch.rand), torch.autograd.has_torch_function
    torch.randn, torch.rand = map(_drawn_there, randoms)  # type: ignore[assignment]
    # Else the mode would handle the call of backward(), and not be there for what is inside of it.
    torch.autograd.has_torch_function = lambda tensors: False
    norm = step.get_total_norm
    step.get_total_norm = partial(norm, foreach=True)  # as PyTorch chooses on a GPU
    try:
        with Pretend(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*[Cc][Uu][Dd][Aa].*")  # there is none
            yield
    finally:
        torch.randn, torch.rand = randoms  # type: ignore[assignment]
        torch.autograd.has_torch_function = ask
        step.get_total_norm = norm


def place_module(module: nn.Module) -> None:
    """Move a network to the device, in place."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(Placed(weight.detach()), weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Placed(buffer)


def placed_state(config: RunConfig, count: int) -> TrainState:
    """A training's state on the device."""
    state = new_state(config, count, CPU)
    state.rngs |= {name: DeviceGenerator() for name in rng.DEVICE_STREAMS}  # type: ignore[misc]
    for network in (state.generator, state.discriminator, state.ema):
        place_module(network)
    parts: list[Any] = [state.ada, state.lecam]
    if state.instances is not None:
        place_module(state.instances.network)
        parts += state.instances.queues.values()
        object.__setattr__(state.instances, "ages", Placed(state.instances.ages))
    for part in parts:
        for name, value in vars(part).items():
            object.__setattr__(part, name, Placed(value))
    for name, network in (("g", state.generator), ("d", state.discriminator)):
        optimizer = torch.optim.Adam(network.parameters(), foreach=False)
        setattr(state, f"optimizer_{name}", optimizer)
    state.regan = Regan(config.regan, state.generator, state.ema, state.optimizer_g)
    return state


@contextmanager
def count_operators() -> Iterator[Log]:
    """Inside, what happens on the device goes into this log."""
    global LOG
    LOG = Log()
    yield LOG


def second_step(changes: dict[str, Any], there: bool = True) -> Log:
    """What the second step of a training does on the device; `there` False: on the CPU."""
    small = {"train.device": "cpu", "train.reconstruction": "l1", "model.resolution": 64}
    small |= {"model.ngf": 8, "model.ndf": 8, "model.dcgan_width": 8, "model.decoder_width": 4}
    config = RunConfig.model_validate(nest(small | changes))
    device, shape = DEVICE if there else CPU, (20, *config.model.size, config.data.channels)
    images = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    state = placed_state(config, len(images)) if there else new_state(config, len(images), CPU)
    for optimizer in (state.optimizer_g, state.optimizer_d):
        # One operator where it is fused, as it is on a GPU.
        optimizer.step = lambda: None  # type: ignore[method-assign,assignment]
    distance = DISTANCES[config.train.reconstruction](CPU)
    with pretended_device():
        pictures = Pictures(images, device)
        for _ in range(2):
            with count_operators() as log:
                drawn = draw_step(state, config)
                draws = to_device(drawn, device)
                batches = take_batches(pictures, drawn, draws)
                losses = train_step(state, draws, batches, config, distance)
                accumulate_losses(state, losses)
    assert all(isinstance(total, Placed) == there for total in state.sums.values())
    log.losses = {name: float(_bare(value, [])) for name, value in losses.items()}
    return log


def read_table() -> dict[str, tuple[int, int]]:
    """The table's counts by setting: operators that are no views, and in all."""
    rows = [line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines()]
    return {row[0]: (int(row[1]), int(row[2])) for row in rows if row[-1].isdigit()}


def write_table() -> None:
    """Count the operators of every setting."""
    lines = [
        "# Operators of a training step",
        "",
        "`python tests/pretended_device.py`: of one step on the pretended device, by setting, from",
        "the picture batch to the sums of losses, but for the optimisers (one operator each on a",
        "GPU). Batch 8, 64 px and ngf = ndf = 8 where nothing else is said, L1 reconstruction.",
        "test_pretended_device.py fails where a count is above this table.",
        "",
        "| setting | no views | in all |",
        "|---|---|---|",
    ]
    for name, changes in CASES.items():
        log = second_step(changes)
        lines.append(f"| {name} | {log.no_views} | {log.all} |")
        print(lines[-1], *log.copies[2:], *log.waits, *log.mixes, sep="\n    ", flush=True)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_table()
