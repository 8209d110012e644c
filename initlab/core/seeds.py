"""Independent, named random number streams derived from one seed.

Every consumer has a generator of its own, seeded by a hash of (seed, name). Therefore adding a layer, a probe or a
second data loader changes no number that another consumer draws, and two arms under one seed see the same batches.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Stream = Literal["init", "data", "train", "probe"]


def derive(seed: int, *names: str) -> int:
    """A 63-bit seed for the consumer `names` under `seed`; the same on every platform and in every process."""
    digest = hashlib.blake2b("\x1f".join((str(int(seed)), *names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, stream: Stream, *names: str) -> torch.Generator:
    """A CPU generator for `stream`, optionally narrowed by `names` (a parameter's name, an epoch, ...)."""
    import torch  # imported here: the leader of a study only derives seeds and does not need torch

    return torch.Generator(device="cpu").manual_seed(derive(seed, stream, *names))
