"""Every example is in one batch of an epoch; streams run on from batch to batch."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from initlab.spec import Part
from initlab.tasks.normalise import standardise
from initlab.train.batching import GATHERED, batch_count, gather_batches, shuffled_batches, stream_batches

CPU = torch.device("cpu")


@given(st.integers(1, 200), st.integers(1, 70))
def test_streams_hold_every_window_once_and_run_on(size: int, batch_size: int) -> None:
    batches = stream_batches(size, batch_size, device=CPU)
    assert len(batches) == batch_count(size, batch_size, streams=True)
    assert sorted(int(i) for b in batches for i in b) == list(range(size))
    for before, after in itertools.pairwise(batches):
        # a row goes on with the window after its own; rows end from the last on
        assert len(after) <= len(before) <= batch_size
        assert torch.equal(after, before[: len(after)] + 1)


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 3))
def test_shuffled_batches_hold_every_example_once(size: int, batch_size: int, epoch: int) -> None:
    batches = shuffled_batches(size, batch_size, seed=0, epoch=epoch, device=CPU)
    seen = sorted(int(i) for b in batches for i in b)
    lonely = size > 1 and size % batch_size == 1
    assert len(seen) == len(set(seen)) == size - lonely
    assert len(batches) == batch_count(size, batch_size, streams=False)


@pytest.mark.parametrize(("size", "batch_size"), [(10, 3), (7, 7), (64, 16)])
def test_epochs_and_seeds_differ(size: int, batch_size: int) -> None:
    a, b, c = (
        torch.cat(shuffled_batches(size, batch_size, seed=s, epoch=e, device=CPU)).tolist()
        for s, e in ((0, 0), (0, 1), (1, 0))
    )
    assert a not in (b, c)
    assert a == torch.cat(shuffled_batches(size, batch_size, seed=0, epoch=0, device=CPU)).tolist()


@given(st.integers(2, 200), st.integers(1, 70), st.booleans())
def test_an_epoch_fetched_at_once_is_its_batches_to_the_bit(size: int, batch_size: int, stored_small: bool) -> None:
    draw = torch.Generator().manual_seed(size)
    x = torch.randint(0, 256, (size, 1, 3, 3), generator=draw)
    part = Part(x=x.to(torch.uint8) if stored_small else x.float(), y=torch.arange(size))
    prepare = standardise(part.x)
    order = shuffled_batches(size, batch_size, seed=0, epoch=0, device=CPU)
    at_once = gather_batches(part, order, prepare)
    assert at_once is not None and len(at_once) == len(order)
    for (x_at_once, y_at_once), index in zip(at_once, order, strict=True):
        assert torch.equal(x_at_once, prepare(part.x[index])) and torch.equal(y_at_once, index)


def test_a_large_part_is_not_copied() -> None:
    part = Part(x=torch.zeros(GATHERED // 4, dtype=torch.uint8), y=torch.zeros(1))
    assert gather_batches(part, [torch.arange(1)], lambda x: x) is None
