"""A training step on a device: nothing waits, nothing is mixed, and how many operators it takes."""

from __future__ import annotations

import pytest
import torch
from pretended_device import (
    CASES,
    DEVICE,
    Log,
    Placed,
    count_operators,
    pretended_device,
    read_table,
    second_step,
)

from fastgan_ray.data.channels import as_rgb


@pytest.mark.parametrize("case", CASES)
def test_a_step_neither_waits_nor_copies_nor_grows(case: str) -> None:
    log = second_step(CASES[case])
    assert log.mixes == []
    assert log.waits == []
    assert len(log.copies) == 1  # the draws
    no_views, everything = read_table()[case]
    more = "a step has more operators: see tests/data/operators.md"
    assert log.no_views <= no_views and log.all <= everything, more


def test_the_table_is_of_these_settings() -> None:
    assert list(read_table()) == list(CASES)


def logged(work: object) -> Log:
    with pretended_device(), count_operators() as log:
        work()  # type: ignore[operator]
    return log


def test_the_pretence_sees_waits_copies_and_mixes() -> None:
    with pretended_device():
        there, here = torch.ones(3).to(DEVICE, non_blocking=True), torch.ones(3)
    assert isinstance(there, Placed)
    for wait in (
        lambda: float(there.sum()),
        lambda: there.sum().item(),
        lambda: bool((there > 0).all()),
        lambda: there.nonzero(),
        lambda: there.cpu(),
        lambda: there.to("cpu"),
        lambda: there.tolist(),
        lambda: here.to(DEVICE),
    ):
        assert len(logged(wait).waits) >= 1
    assert logged(lambda: there + here).mixes
    log = logged(lambda: here.to(DEVICE, non_blocking=True))
    assert len(log.copies) == 1 and not log.waits and not log.mixes
    log = logged(lambda: torch.arange(3, device=there.device) + there.view(3, 1)[:, 0])
    assert (log.no_views, log.all) == (2, 4) and not log.mixes and not log.waits
    log = logged(lambda: torch.tensor([1.0], device=DEVICE))
    assert len(log.copies) == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_any_mode_become_rgb_without_waiting(channels: int) -> None:
    with pretended_device():
        images = torch.ones(2, channels, 4, 4).to(DEVICE, non_blocking=True)
    log = logged(lambda: as_rgb(images, "#102030"))
    assert not log.waits and not log.copies and not log.mixes


def test_pictures_that_do_not_fit_cost_a_second_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgan_ray.train.batches.SHARE_OF_FREE_MEMORY", 0)
    monkeypatch.setattr("fastgan_ray.train.batches.free_memory", lambda device: 1e9)
    log = second_step({})
    assert len(log.copies) == 2 and not log.waits and not log.mixes


def test_numbers_are_those_of_the_cpu() -> None:
    """The same step, once here and once there."""
    losses = [second_step(CASES["ADA"], there).losses for there in (True, False)]
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[1].items():
        assert losses[0][name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
