"""Augmentation: the same under the same generator, within its bounds, and padding stays padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from initlab.network.padding import step_mask
from initlab.tasks.speech.augment import SpeechAugment, mask_bands, shift_in_time

LENGTHS = [20, 7, 1, 30, 0]


def batch(features: int = 10, steps: int = 30) -> Tensor:
    x = torch.rand(len(LENGTHS), features, steps, generator=torch.Generator().manual_seed(0)) + 0.5
    for row, length in zip(x, LENGTHS, strict=True):
        row[:, length:] = 0
    return x


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["spec_augment", "time_shift", "spec_augment_time_shift"])
def test_the_same_generator_gives_the_same_examples(name: str) -> None:
    augment = SpeechAugment(name=name, shift=0.3)  # pyright: ignore[reportArgumentType]
    x = batch()
    before = x.clone()
    first = augment(x, drawn(1))
    assert torch.equal(first, augment(x, drawn(1)))
    assert not torch.equal(first, augment(x, drawn(2)))
    assert torch.equal(x, before), "the batch itself was changed"
    assert not torch.equal(first, x)


def test_hidden_bands_and_stretches_are_within_their_shares() -> None:
    x = batch()
    widest, longest = 0, 0
    for seed in range(60):
        y = mask_bands(x, drawn(seed), count=1, features=0.3, time=0.25)
        assert torch.equal(y[y != 0], x[y != 0]), "what is not hidden stays"
        assert step_mask(y).sum(1).tolist() == LENGTHS
        for row, length in zip(y, LENGTHS, strict=True):
            inner = row[:, : max(0, length - 1)] == 0
            stretch = int(inner.all(0).sum()) if inner.numel() else 0
            band = int(inner.all(1).sum()) if inner.numel() else 0
            assert stretch <= 0.25 * length and band <= 3
            widest, longest = max(widest, band), max(longest, stretch)
    assert widest == 2 and longest >= 6, "the widths should come up to their bounds"


def test_every_position_can_be_hidden() -> None:
    x = batch()
    hidden = torch.zeros(x.shape[1:], dtype=torch.bool)
    for seed in range(300):
        hidden |= mask_bands(x, drawn(seed), count=1, features=0.3, time=0.25)[3] == 0
    assert bool(hidden[:, :-1].all()) and not bool(hidden[:, -1].any())


def test_examples_are_drawn_apart() -> None:
    x = torch.ones(50, 10, 30)
    y = mask_bands(x, drawn(), count=2, features=0.3, time=0.3)
    assert len({row.numpy().tobytes() for row in y}) > 40


def test_a_shift_moves_and_loses_what_is_pushed_out() -> None:
    x = batch()
    seen: set[int] = set()
    for seed in range(40):
        y = shift_in_time(x, drawn(seed), share=0.2)
        assert y.shape == x.shape
        (offset,) = [
            d for d in range(-6, 7)
            if torch.equal(y[3, :, max(0, d) : 30 + min(0, d)], x[3, :, max(0, -d) : 30 - max(0, d)])
        ]  # fmt: skip
        assert bool((y[3, :, : max(0, offset)] == 0).all())
        seen.add(offset)
        assert bool((y[4] == 0).all())
        moved = int(step_mask(y)[0].sum()) - LENGTHS[0]
        assert abs(moved) <= 4
    assert min(seen) <= -5 and max(seen) >= 5


def test_no_shift_is_no_change() -> None:
    x = batch()
    assert torch.equal(shift_in_time(x, drawn(), share=0.0), x)
    assert torch.equal(mask_bands(x, drawn(), count=0, features=0.5, time=0.5), x)


def test_a_waveform_can_be_moved() -> None:
    x = batch(features=1)
    assert not torch.equal(SpeechAugment(name="time_shift", shift=0.5)(x, drawn()), x)
