"""Run a whole training step as one CUDA graph: one launch instead of thousands.

With a batch size of 8, a GPU computes faster than Python can launch kernels. A graph is a recording
of a step. A replay of the graph repeats the same operations on the same memory addresses. The
inputs of a step (random draws, pictures, seeds) are written to these addresses before each replay.
A new graph is tested: some replays are compared with ordinary steps, and then the state is
restored. If the recording or the test fails, the training prints a warning and continues with
ordinary steps.

On a CPU, only the tests use this code. There, a "replay" calls the step again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train import instances, mixdl
from fastgan_ray.train.draws import Draws
from fastgan_ray.train.rng import DEVICE_STREAMS, seed_device_streams
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.step import Distance, Scalars, begin_step, compute_step, penalties_due

# Number of ordinary steps before a capture. In these steps, libraries choose kernels, and Adam
# creates its moments.
WARM_UP_STEPS = 3
COMPARED_STEPS = 3
# Losses and weight updates of a replay and of an ordinary step may differ by this fraction, because
# the order of sums differs.
TOLERANCE = {"fp32": 0.02, "bf16": 0.1}

Replay = Callable[[], None]
Capture = Callable[[Callable[[], Scalars], TrainState], tuple[Replay, Scalars]]
Variant = tuple[object, ...]


def capture_on_cuda(compute: Callable[[], Scalars], state: TrainState) -> tuple[Replay, Scalars]:
    """Record `compute` as a CUDA graph; return a replay function and the result tensors.

    `compute` computes a training step and returns losses and gradient norms as tensors by name.
    Each replay writes new values to these tensors. Before the recording, `compute` runs once, so
    `state` changes.
    """
    graph = torch.cuda.CUDAGraph()
    for name in DEVICE_STREAMS:
        graph.register_generator_state(state.rngs[name])
    # Run once on a side stream before the capture, which also uses a side stream.
    stream: Any = torch.cuda.Stream  # PyTorch gives this class no type annotations
    side = stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        compute()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        outputs = compute()
    return graph.replay, outputs


def can_capture(state: TrainState, config: RunConfig, device: torch.device) -> bool:
    """Return whether training steps can be captured as CUDA graphs.

    A capture needs `train.cuda_graphs`, a CUDA device and a group of one process. beta1 and beta2
    must be constant, because a captured step of Adam cannot change them. If only a schedule of
    beta1 or beta2 prevents the capture, the function issues a warning.
    """
    possible = config.train.cuda_graphs and device.type == "cuda" and state.group.size == 1
    if possible and config.train.changes("beta1", "beta2"):
        warnings.warn(
            "training steps are not captured as CUDA graphs, so they are slower: train.beta1 or "
            "train.beta2 is a schedule, but a captured step of Adam cannot change them",
            stacklevel=2,
        )
        return False
    return possible


class StepRunner:
    """Runs training steps, either as ordinary steps or as replays of CUDA graphs.

    If `capture` is None, all steps are ordinary steps. Otherwise the first WARM_UP_STEPS steps are
    ordinary, and the later steps are replays of graphs that `capture` recorded. If a recording
    fails, or if its results differ from those of ordinary steps, all further steps are ordinary.

    There is one graph for each variant of a step. The variant depends on three facts: the turns in
    which R1 and R2 are computed, whether MixDL is computed, and the period of Re-GAN. (Each period
    has its own mask tensors.)
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
        """Advance the state by one step; return losses and gradient norms by name.

        The next call overwrites the returned tensors. `draws` and `batches` are on the device, as
        in `train_step`.
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
        """Replay the graph for this variant of a step; capture the graph first if there is none."""
        self._write(draws, batches)
        period = self._state.regan.period
        due = mixdl.is_due(self._state.step, self._config)
        variant = (period, due, *penalties_due(self._state, self._config))
        if variant not in self._graphs:
            # Delete the graphs of earlier periods, because their masks no longer exist.
            self._graphs = {key: graph for key, graph in self._graphs.items() if key[0] == period}
            try:
                self._graphs[variant] = self._captured()
            except Exception as error:
                self._capture, self._graphs = None, {}
                problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                warning = (
                    f"training steps are not captured as CUDA graphs, so they are slower: {problem}"
                )
                warnings.warn(warning, stacklevel=2)
                return self._compute(draws, batches)
        replay, scalars = self._graphs[variant]
        replay()
        return scalars

    def _write(self, draws: Draws, batches: Sequence[Tensor]) -> None:
        """Copy the step's draws and batches to the addresses from which CUDA graphs read them."""
        if self._draws is None:
            self._draws, self._batches = draws, [batch.clone() for batch in batches]
            return
        _bytes(self._draws).copy_(_bytes(draws))
        for target, batch in zip(self._batches, batches, strict=True):
            target.copy_(batch)

    def _captured(self) -> tuple[Replay, Scalars]:
        """Capture a step as a CUDA graph; return its replay function and the replay's results.

        Some replays are compared with ordinary steps. Raises RuntimeError if their results differ.
        Afterwards, the state is the same as before.
        """
        assert self._capture is not None and self._draws is not None
        state = self._state

        def compute() -> Scalars:
            return self._compute(self._draws, self._batches)  # type: ignore[arg-type]

        before = snapshot(state)
        start = [weight.clone() for weight in trained_weights(state)]
        try:
            expected = self._several(lambda: _copied(compute()))
            weights = [weight.clone() for weight in trained_weights(state)]
            restore(state, before)
            replay, outputs = self._capture(compute, state)
            restore(state, before)

            def replayed() -> Scalars:
                replay()
                return _copied(outputs)

            actual = self._several(replayed)
            tolerance = TOLERANCE["bf16" if self._bf16 else "fp32"]
            require_same_losses(expected, actual, tolerance)
            require_same_update(start, weights, trained_weights(state), tolerance)
        finally:
            restore(state, before)
        return replay, outputs

    def _several(self, run: Callable[[], Scalars]) -> list[Scalars]:
        """Call `run` COMPARED_STEPS times; return the losses and norms of each call.

        Each call of `run` computes one step with the same draws. Before call i (from 0), the random
        number generators on the device are seeded for the step `state.step` + i.
        """
        state, seed = self._state, self._config.train.seed
        results = []
        for step in range(state.step, state.step + COMPARED_STEPS):
            seed_device_streams(state.rngs, seed, step)
            results.append(run())
        seed_device_streams(state.rngs, seed, state.step)
        return results


def changing_tensors(state: TrainState) -> list[Tensor]:
    """Return every tensor of the state that a step changes in place."""
    networks = (state.generator, state.discriminator, state.ema)
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    for optimizer in (state.optimizer_g, state.optimizer_d):
        for moments in optimizer.state.values():
            tensors += [tensor for tensor in moments.values() if isinstance(tensor, Tensor)]
    tensors += instances.changing_tensors(state.instances)
    return [*tensors, *vars(state.ada).values(), *vars(state.lecam).values()]


def trained_weights(state: TrainState) -> list[Tensor]:
    """Return the parameters of G and D as tensors that are detached from autograd."""
    networks = (state.generator, state.discriminator)
    return [weight.detach() for network in networks for weight in network.parameters()]


def snapshot(state: TrainState) -> list[Tensor]:
    """Return a copy of each tensor that a step changes in place."""
    return [tensor.detach().clone() for tensor in changing_tensors(state)]


@torch.no_grad()
def restore(state: TrainState, copies: Sequence[Tensor]) -> None:
    """Write the values of a `snapshot` to the tensors of the state.

    The tensors keep their memory addresses, because CUDA graphs use these addresses.
    """
    for tensor, copy in zip(changing_tensors(state), copies, strict=True):
        tensor.copy_(copy)


def require_same_losses(
    expected: Sequence[Scalars], actual: Sequence[Scalars], tolerance: float
) -> None:
    """Raise RuntimeError if a loss or norm differs between replayed and ordinary steps.

    `expected` has the losses and norms of each ordinary step, and `actual` those of each replayed
    step. If v is the value in an ordinary step, the value in the replayed step may differ from v by
    at most `tolerance` x (|v| + 0.1).
    """
    for step, (ordinary, replayed) in enumerate(zip(expected, actual, strict=True)):
        for name in ordinary:
            right, value = float(ordinary[name]), float(replayed[name])
            if not abs(value - right) <= tolerance * (abs(right) + 0.1):
                raise RuntimeError(
                    f"a captured step differs from an ordinary step: in step {step}, {name} is "
                    f"{value:.6g} instead of {right:.6g}"
                )


def require_same_update(
    before: Sequence[Tensor], expected: Sequence[Tensor], actual: Sequence[Tensor], tolerance: float
) -> None:
    """Raise RuntimeError if replayed steps change the weights differently from ordinary steps.

    `before`, `expected` and `actual` are the weights before the steps, after ordinary steps and
    after replayed steps. The norm of the difference between `expected` and `actual` may be at most
    5 x `tolerance` times the norm of the change by ordinary steps.
    """
    difference = _distance_between(expected, actual)
    update = _distance_between(expected, before)
    if not difference <= 5 * tolerance * update:
        raise RuntimeError(
            "captured steps change the weights differently from ordinary steps: the norm of the "
            f"difference is {difference:.3g}, the norm of the change by ordinary steps is "
            f"{update:.3g}"
        )


def _distance_between(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    squares = [(a.double() - b.double()).square().sum() for a, b in zip(first, second, strict=True)]
    return float(torch.stack(squares).sum().sqrt())


def _copied(scalars: Scalars) -> Scalars:
    return {name: value.detach().clone() for name, value in scalars.items()}


def _bytes(draws: Draws) -> Tensor:
    """Return the buffer (uint8) that contains all draws of a step."""
    storage: Any = draws.ema_share.untyped_storage()
    empty = torch.empty(0, dtype=torch.uint8, device=draws.ema_share.device)
    return empty.set_(storage)
