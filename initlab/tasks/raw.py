"""The `RawData` type: a data set as read from its files, on the CPU, before it is split or scaled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from initlab.spec import Part, Provenance

_DIGEST_CHARACTERS = 32


@dataclass(frozen=True, kw_only=True)
class RawData:
    """Output of a data source: the examples to train on, and the official val and test parts where they exist.

    Attributes:
        pool: examples that training (and, where there is no official part, val and test) is taken from.
        val: the official validation part, None where the source has none.
        test: the official test part, None where the source has none.
        class_names: one name a class, in the order of the labels.
        provenance: for the tracker.
        key: configuration key that an error about the content should name, such as ``data.path``.
        notes: what was counted while reading: files passed over, examples cut.
    """

    pool: Part
    val: Part | None = None
    test: Part | None = None
    class_names: tuple[str, ...]
    provenance: Provenance
    key: str = "data"
    notes: tuple[str, ...] = ()


def digest(*parts: Part | None) -> str:
    """The first 32 hex digits of the SHA-256 of all examples and labels, the same for every way of storing them."""
    sha = hashlib.sha256()
    for part in parts:
        for tensor in (part.x, part.y) if part is not None else ():
            sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            sha.update(tensor.contiguous().numpy().data)
    return sha.hexdigest()[:_DIGEST_CHARACTERS]
