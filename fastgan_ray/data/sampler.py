"""Choose the pictures of the next batch and mirror some: seeded, endless and resumable."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError


class Sampler:
    """Draws batches of picture indices, and for each index whether the picture is flipped.

    Each epoch has a new random order of the `count` pictures. A batch may continue into the next
    epoch, so any batch size works with any number of pictures. `flip` is the probability of a flip.
    Random numbers for flips are always drawn, so the order of the pictures does not depend on
    `flip`.
    """

    def __init__(self, count: int, batch_size: int, flip: float, rng: torch.Generator) -> None:
        assert count >= 1 and batch_size >= 1 and 0 <= flip <= 1
        self.count, self.batch_size, self.flip, self.rng = count, batch_size, flip, rng
        self._order = torch.randperm(count, generator=rng)
        self._position = 0

    def next(self) -> tuple[Tensor, Tensor]:
        """Return the next batch: picture indices (B,) int64, and flips (B,) bool."""
        parts, missing = [], self.batch_size
        while missing:
            if self._position == self.count:
                self._order = torch.randperm(self.count, generator=self.rng)
                self._position = 0
            part = self._order[self._position : self._position + missing]
            self._position += len(part)
            missing -= len(part)
            parts.append(part)
        flips = torch.rand(self.batch_size, generator=self.rng) < self.flip
        return torch.cat(parts), flips

    def state(self) -> dict[str, Tensor]:
        """Return copies of the data that determines the next batches.

        "order" is the order of the pictures in this epoch, "position" is the number of pictures
        drawn in this epoch, and "rng" is the state of the random number generator.
        """
        return {
            "order": self._order.clone(),
            "position": torch.tensor(self._position),
            "rng": self.rng.get_state(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue exactly from a result of `state()`.

        Raises UserError if `state` is for another number of pictures, or if it is damaged.
        """
        order, position = state["order"], int(state["position"])
        if len(order) != self.count:
            raise UserError(
                f"sampler: the checkpoint was made with {counted(len(order), 'picture')}, but the "
                f"data has {self.count}. Resume with the data of the original run, or start a new "
                "run."
            )
        if not torch.equal(order.sort().values, torch.arange(self.count)) or not (
            0 <= position <= self.count
        ):
            raise UserError(
                "sampler: the checkpoint's order of pictures is damaged (it is not "
                f"a permutation, or its position {position} is outside 0..{self.count}). "
                "Resume from an earlier checkpoint."
            )
        self._order, self._position = order.clone(), position
        self.rng.set_state(state["rng"])
