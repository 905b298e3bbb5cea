"""A whole training step as one CUDA graph: a single launch in place of thousands.

At batch 8 a GPU computes faster than Python can launch. A graph is a recording of a step: replayed,
it does the same on the same addresses, so that what changes from step to step (draws, pictures,
seeds) is written there before. Its first replays are compared with ordinary steps on a copy of the
state; where capture or comparison fails, training goes on with ordinary steps and says so.

Nothing here is run on a CPU but by the tests, which capture by calling the step again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.draws import Draws
from fastgan_ray.train.rng import DEVICE_STREAMS, seed_device_streams
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.step import Distance, Scalars, begin_step, compute_step, penalties_due

WARM_UP_STEPS = 3  # ordinary ones, in which libraries choose kernels and Adam makes its moments
COMPARED_STEPS = 3
# Losses and the steps of the weights may differ by this share: sums in another order.
TOLERANCE = {"fp32": 0.02, "bf16": 0.1}

Replay = Callable[[], None]
Capture = Callable[[Callable[[], Scalars], TrainState], tuple[Replay, Scalars]]
Variant = tuple[object, ...]


def capture_on_cuda(compute: Callable[[], Scalars], state: TrainState) -> tuple[Replay, Scalars]:
    """Record `compute` as a CUDA graph; returns its replay, and the tensors that it writes to.

    The state is not the same afterwards.
    """
    graph = torch.cuda.CUDAGraph()
    for name in DEVICE_STREAMS:
        graph.register_generator_state(state.rngs[name])
    # Once on a stream beside the usual one, as the capture will be.
    stream: Any = torch.cuda.Stream  # which has no types
    side = stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        compute()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        outputs = compute()
    return graph.replay, outputs


def can_capture(state: TrainState, config: RunConfig, device: torch.device) -> bool:
    """Whether steps are to be captured: asked for, on CUDA, and by a process on its own."""
    return config.train.cuda_graphs and device.type == "cuda" and state.group.size == 1


class StepRunner:
    """Runs training steps: captured ones where `capture` is given and holds what it promises.

    There is a graph for each variant of a step: with or without a lazy penalty, and for each period
    of Re-GAN, whose masks are other tensors.
    """

    def __init__(
        self,
        state: TrainState,
        config: RunConfig,
        distance: Distance,
        bf16: bool,
        capture: Capture | None,
    ) -> None:
        self._state = state
        self._config = config
        self._distance = distance
        self._bf16 = bf16
        self._capture = capture
        self._steps = 0
        self._graphs: dict[Variant, tuple[Replay, Scalars]] = {}
        self._draws: Draws | None = None
        self._batches: list[Tensor] = []

    def __call__(self, draws: Draws, batches: Sequence[Tensor]) -> Scalars:
        """Advance the state by one step; returns losses and norms, which the next call overwrites.

        `draws` and `batches` are on the device, see `train_step`.
        """
        state, config = self._state, self._config
        begin_step(state, config)
        self._steps += 1
        if self._capture is None or self._steps <= WARM_UP_STEPS:
            scalars = self._compute(draws, batches)
        else:
            scalars = self._replay(draws, batches)
        state.step += 1
        return scalars

    def _compute(self, draws: Draws, batches: Sequence[Tensor]) -> Scalars:
        return compute_step(self._state, draws, batches, self._config, self._distance, self._bf16)

    def _replay(self, draws: Draws, batches: Sequence[Tensor]) -> Scalars:
        """Run the captured step of this variant, which is captured first if it is new."""
        self._write(draws, batches)
        period = self._state.regan.period
        variant = (period, *penalties_due(self._state, self._config))
        if variant not in self._graphs:
            # Those of an earlier period have masks that are gone.
            self._graphs = {key: graph for key, graph in self._graphs.items() if key[0] == period}
            try:
                self._graphs[variant] = self._captured()
            except Exception as error:
                self._capture, self._graphs = None, {}
                problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                warnings.warn(f"training steps are not captured: {problem}", stacklevel=2)
                return self._compute(draws, batches)
        replay, scalars = self._graphs[variant]
        replay()
        return scalars

    def _write(self, draws: Draws, batches: Sequence[Tensor]) -> None:
        """Put what changes from step to step where graphs read it."""
        if self._draws is None:
            self._draws, self._batches = draws, [batch.clone() for batch in batches]
            return
        _bytes(self._draws).copy_(_bytes(draws))
        for kept, batch in zip(self._batches, batches, strict=True):
            kept.copy_(batch)

    def _captured(self) -> tuple[Replay, Scalars]:
        """Capture a step, and compare it with ordinary ones; the state is the same afterwards.

        RuntimeError if they differ.
        """
        assert self._capture is not None and self._draws is not None
        state = self._state

        def compute() -> Scalars:
            return self._compute(self._draws, self._batches)  # type: ignore[arg-type]

        before = snapshot(state)
        start = [weight.clone() for weight in moving_weights(state)]
        try:
            expected = self._several(lambda: _copied(compute()))
            weights = [weight.clone() for weight in moving_weights(state)]
            restore(state, before)
            replay, outputs = self._capture(compute, state)
            restore(state, before)

            def replayed() -> Scalars:
                replay()
                return _copied(outputs)

            got = self._several(replayed)
            tolerance = TOLERANCE["bf16" if self._bf16 else "fp32"]
            require_alike(expected, got, tolerance)
            require_same_move(start, weights, moving_weights(state), tolerance)
        finally:
            restore(state, before)
        return replay, outputs

    def _several(self, run: Callable[[], Scalars]) -> list[Scalars]:
        """Run some steps on the same draws, each with seeds of its own."""
        state, seed = self._state, self._config.train.seed
        results = []
        for step in range(state.step, state.step + COMPARED_STEPS):
            seed_device_streams(state.rngs, seed, step)
            results.append(run())
        seed_device_streams(state.rngs, seed, state.step)
        return results


def moving_tensors(state: TrainState) -> list[Tensor]:
    """Return every tensor of the state that a step changes in place."""
    networks = (state.generator, state.discriminator, state.ema)
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    for optimizer in (state.optimizer_g, state.optimizer_d):
        for moments in optimizer.state.values():
            tensors += [tensor for tensor in moments.values() if isinstance(tensor, Tensor)]
    return [*tensors, *vars(state.ada).values()]


def moving_weights(state: TrainState) -> list[Tensor]:
    """Return the weights that both optimisers move."""
    networks = (state.generator, state.discriminator)
    return [weight.detach() for network in networks for weight in network.parameters()]


def snapshot(state: TrainState) -> list[Tensor]:
    """Copy what a step changes."""
    return [tensor.detach().clone() for tensor in moving_tensors(state)]


@torch.no_grad()
def restore(state: TrainState, copies: Sequence[Tensor]) -> None:
    """Put a snapshot back, at the addresses that graphs know."""
    for tensor, copy in zip(moving_tensors(state), copies, strict=True):
        tensor.copy_(copy)


def require_alike(expected: Sequence[Scalars], got: Sequence[Scalars], tolerance: float) -> None:
    """Raise RuntimeError if a loss or a norm of replayed steps differs from the ordinary ones'."""
    for step, (ours, theirs) in enumerate(zip(expected, got, strict=True)):
        for name, value in ours.items():
            wanted, found = float(value), float(theirs[name])
            if not abs(found - wanted) <= tolerance * (abs(wanted) + 0.1):
                raise RuntimeError(
                    f"a captured step differs from an ordinary one: {name} is {found:.6g} in "
                    f"place of {wanted:.6g} in step {step}"
                )


def require_same_move(
    before: Sequence[Tensor], expected: Sequence[Tensor], got: Sequence[Tensor], tolerance: float
) -> None:
    """Raise RuntimeError if replayed steps move the weights elsewhere than the ordinary ones do."""
    apart = _distance_between(expected, got)
    moved = _distance_between(expected, before)
    if not apart <= 5 * tolerance * moved:
        raise RuntimeError(
            f"captured steps move the weights elsewhere: {apart:.3g} apart after {moved:.3g}"
        )


def _distance_between(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    squares = [(a.double() - b.double()).square().sum() for a, b in zip(first, second, strict=True)]
    return float(torch.stack(squares).sum().sqrt())


def _copied(scalars: Scalars) -> Scalars:
    return {name: value.detach().clone() for name, value in scalars.items()}


def _bytes(draws: Draws) -> Tensor:
    """Return the one buffer that all of these draws are views of."""
    storage: Any = draws.ema_share.untyped_storage()
    empty = torch.empty(0, dtype=torch.uint8, device=draws.ema_share.device)
    return empty.set_(storage)
