"""Standardisation and augmentation."""

from __future__ import annotations

import pytest
import torch

from initlab.errors import ConfigError
from initlab.tasks.augment import AUGMENTS, AugmentName, affine, augmentation, crop_flip, cutout, flip, shift
from initlab.tasks.normalise import standardise

NAMES: list[AugmentName] = [name for name, fn in AUGMENTS.items() if fn is not None]


def images(n: int = 64, *, channels: int = 3, side: int = 28) -> torch.Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------ standardisation
def test_uint8_images_get_mean_0_and_deviation_1_per_channel() -> None:
    x = torch.randint(0, 256, (40, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    x[:, 1] //= 10
    z = standardise(x)(x)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_equals_dividing_by_255_first() -> None:
    x = torch.randint(0, 256, (40, 1, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    unit = x.double() / 255
    expected = (unit - unit.mean()) / unit.std(correction=0)
    torch.testing.assert_close(standardise(x)(x).double(), expected, atol=1e-5, rtol=1e-5)


def test_floats_far_from_zero_lose_nothing() -> None:
    x = (
        torch.randn(500, 2, 6, 6, generator=torch.Generator().manual_seed(2)) * 0.5
        + torch.tensor([1e3, 0.0])[:, None, None]
    )
    z = standardise(x)(x)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(2), atol=1e-3, rtol=0)


def test_a_constant_channel_is_centred() -> None:
    x = torch.full((10, 1, 4, 4), 7, dtype=torch.uint8)
    assert torch.equal(standardise(x)(x), torch.zeros(10, 1, 4, 4))


def test_flat_floats_are_standardised_feature_by_feature() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.0, 100.0, 0.01])
    torch.testing.assert_close(standardise(x)(x).std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_flat_bytes_share_one_scale() -> None:
    x = torch.zeros(100, 20, dtype=torch.uint8)
    x[0, 3] = 255
    assert standardise(x).scale.numel() == 1


# ------------------------------------------------------------------ augmentation
@pytest.mark.parametrize("name", NAMES)
def test_reproducible_from_the_generator_alone(name: AugmentName) -> None:
    act = AUGMENTS[name]
    assert act is not None
    x = images()
    before, state = x.clone(), torch.get_rng_state()
    first, again, other = (act(x, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == x.shape
    assert first.dtype == x.dtype


@pytest.mark.parametrize("name", NAMES)
def test_every_image_gets_its_own(name: AugmentName) -> None:
    act = AUGMENTS[name]
    assert act is not None
    same = images(1).expand(64, -1, -1, -1)
    out = act(same, torch.Generator().manual_seed(0))
    assert len({tuple(image.flatten()[:60].tolist()) for image in out}) > 1


def test_shift_moves_by_what_it_says() -> None:
    x = torch.zeros(200, 1, 28, 28)
    x[:, :, 14, 14] = 1
    rows, columns = shift(x, torch.Generator().manual_seed(0)).nonzero()[:, 2:].T
    assert set(rows.tolist()) == set(columns.tolist()) == {12, 13, 14, 15, 16}


def test_flip_mirrors_about_half() -> None:
    x = images(400, channels=1, side=8)
    out = flip(x, torch.Generator().manual_seed(0))
    mirrored = (out == x.flip(3)).flatten(1).all(1)
    kept = (out == x).flatten(1).all(1)
    assert bool((mirrored | kept).all())
    assert 150 < int(mirrored.sum()) < 250


def test_crop_reflects_at_the_border() -> None:
    x = torch.arange(32.0).expand(300, 1, 32, 32)
    out = crop_flip(x, torch.Generator().manual_seed(0))
    unflipped = torch.where((out[:, 0, 0, 10] < out[:, 0, 0, 11])[:, None], out[:, 0, 0], out[:, 0, 0].flip(1))
    expected = {tuple((torch.arange(32) + d).abs().tolist()) for d in range(-4, 1)}
    expected |= {tuple((31 - (31 - (torch.arange(32) + d)).abs()).tolist()) for d in range(1, 5)}
    assert {tuple(int(v) for v in row) for row in unflipped.tolist()} == expected


def test_affine_without_change_is_the_identity_in_the_middle() -> None:
    x = torch.ones(8, 1, 16, 16)
    torch.testing.assert_close(affine(x, torch.Generator().manual_seed(0)), x)


def test_cutout_leaves_a_hole_of_at_most_a_quarter_of_the_side() -> None:
    holes = (cutout(torch.ones(100, 1, 32, 32), torch.Generator().manual_seed(0)) == 0).sum((1, 2, 3))
    assert int(holes.max()) == 64
    assert int(holes.min()) > 0


def test_flat_examples_cannot_be_augmented() -> None:
    with pytest.raises(ConfigError, match=r"data\.augment=shift: needs images"):
        augmentation("shift", (64,))
    assert augmentation("none", (64,)) is None
