from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgan_ray.data.sampler import Sampler
from fastgan_ray.errors import UserError


def _sampler(count: int, batch_size: int, flip: float = 0.5, seed: int = 0) -> Sampler:
    return Sampler(count, batch_size, flip, torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 50), st.integers(1, 6))
def test_every_epoch_is_a_permutation_with_any_batch_size(count, batch_size, epochs):
    sampler = _sampler(count, batch_size)
    steps = -(-count * epochs // batch_size)
    drawn = torch.cat([sampler.next()[0] for _ in range(steps)])
    assert drawn.dtype == torch.int64 and len(drawn) == steps * batch_size
    for epoch in range(epochs):
        part = drawn[epoch * count : (epoch + 1) * count]
        assert sorted(part.tolist()) == list(range(count))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 9), st.integers(0, 9))
def test_resuming_continues_exactly(count, batch_size, before, after):
    whole = _sampler(count, batch_size)
    for _ in range(before):
        whole.next()
    state = whole.state()
    expected = [whole.next() for _ in range(after)]  # must not reach into `state`
    resumed = _sampler(count, batch_size, seed=99)
    resumed.load_state(state)
    for indices, flips in expected:
        resumed_indices, resumed_flips = resumed.next()
        assert torch.equal(indices, resumed_indices) and torch.equal(flips, resumed_flips)


def test_epochs_differ_and_seeds_differ():
    sampler = _sampler(50, 50)
    first, second = sampler.next()[0], sampler.next()[0]
    assert not torch.equal(first, second)
    assert torch.equal(first, _sampler(50, 50).next()[0])
    assert not torch.equal(first, _sampler(50, 50, seed=1).next()[0])


@pytest.mark.parametrize(("flip", "share"), [(0.0, 0.0), (1.0, 1.0), (0.25, 0.25)])
def test_flips_have_their_probability_and_leave_the_order_alone(flip, share):
    sampler, other = _sampler(10, 4000, flip), _sampler(10, 4000, 0.5)
    indices, flips = sampler.next()
    assert flips.dtype == torch.bool and flips.shape == (4000,)
    assert float(flips.float().mean()) == pytest.approx(share, abs=0.03)
    assert torch.equal(indices, other.next()[0])


def test_the_global_generator_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _sampler(9, 4).next()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first[0], _sampler(9, 4).next()[0])


def test_a_state_of_other_data_or_a_damaged_one_is_refused():
    with pytest.raises(UserError, match="made with 7 pictures, but the data has 8"):
        _sampler(8, 2).load_state(_sampler(7, 2).state())
    state = _sampler(8, 2).state()
    with pytest.raises(UserError, match="damaged"):
        _sampler(8, 2).load_state({**state, "order": torch.zeros(8, dtype=torch.int64)})
    with pytest.raises(UserError, match=r"position 9 is outside 0\.\.8"):
        _sampler(8, 2).load_state({**state, "position": torch.tensor(9)})
