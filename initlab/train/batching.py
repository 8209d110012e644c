"""Batches of an epoch: shuffled examples, or consecutive windows of parallel streams."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from initlab.core import seeds
from initlab.spec import Part

#: streams in which a part that is one long sequence is read for its score, whatever the batch size: each begins with an
#: empty state, so that their number is part of the result
EVAL_STREAMS = 16
#: bytes of a part of which an epoch's order is made a copy of
GATHERED = 32 * 2**20


def batch_count(size: int, batch_size: int, *, streams: bool) -> int:
    """Number of batches in an epoch over `size` examples.

    A last batch of one example cannot be normalised; it waits for another epoch's shuffle.
    """
    lonely = not streams and size % batch_size == 1 and size > 1
    return math.ceil(size / batch_size) - (1 if lonely else 0)


def shuffled_batches(size: int, batch_size: int, *, seed: int, epoch: int, device: torch.device) -> list[Tensor]:
    """Indices of each batch, in an order that is the same for every arm under one seed, and on every device."""
    permutation = torch.randperm(size, generator=seeds.generator(seed, "data", f"epoch{epoch}"))
    return list(permutation.to(device).split(batch_size))[: batch_count(size, batch_size, streams=False)]


def stream_batches(size: int, batch_size: int, *, device: torch.device) -> list[Tensor]:
    """Indices of each batch where the examples are consecutive windows of one sequence.

    The windows are cut into `batch_size` streams of equal length; batch i holds the i-th window of each. The last
    streams may be shorter: later batches then lack the last rows, never one in the middle.
    """
    steps = math.ceil(size / batch_size)
    streams = math.ceil(size / steps)
    first = torch.arange(streams, device=device) * steps
    # how many streams reach so far is known without asking the device
    return [first[: (size - 1 - i) // steps + 1] + i for i in range(steps)]


def epoch_batches(
    size: int, batch_size: int, *, streams: bool, seed: int, epoch: int, device: torch.device
) -> list[Tensor]:
    """Indices of each batch of an epoch: consecutive windows where `streams`, else shuffled examples."""
    if streams:
        return stream_batches(size, batch_size, device=device)
    return shuffled_batches(size, batch_size, seed=seed, epoch=epoch, device=device)


def gather_batches(
    part: Part, order: list[Tensor], prepare: Callable[[Tensor], Tensor]
) -> list[tuple[Tensor, Tensor]] | None:
    """All batches of `order`, fetched and prepared at once: for tiny networks this saves a tenth of an update.

    None where the part is so large that a second copy of it, in float32, would be felt.
    """
    if 4 * part.x.numel() + part.y.nbytes > GATHERED:
        return None
    index, sizes = torch.cat(order), [len(i) for i in order]
    return list(zip(prepare(part.x[index]).split(sizes), part.y[index].split(sizes), strict=True))
