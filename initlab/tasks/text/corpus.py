"""Splits a text into train, val and test tokens, and cuts these into windows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from initlab.errors import DataError
from initlab.spec import Part, PositiveInt, Provenance
from initlab.tasks.splitting import Fraction
from initlab.tasks.text.byte_pairs import learn_byte_pairs
from initlab.tasks.text.tokens import Level, Vocabulary, vocabulary

PART_NAMES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class RawText:
    """Output of a text source.

    Attributes:
        parts: the texts to train on, to validate and to test with.
        key: configuration key that an error about the content should name.
        notes: what was counted while reading.
        split: text → tokens.
    """

    parts: tuple[str, str, str]
    provenance: Provenance
    level: Level
    split: Callable[[str], list[str]]
    key: str = "data"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A text as token numbers of its vocabulary: the parts train, val and test, each (tokens,)."""

    parts: tuple[Tensor, Tensor, Tensor]
    vocabulary: Vocabulary
    tokens_per_character: float
    provenance: Provenance
    key: str
    notes: tuple[str, ...]


def build_corpus(raw: RawText, *, min_count: PositiveInt = 1, max_words: PositiveInt | None = None) -> Corpus:
    """Builds the vocabulary from the training part and encodes all three parts.

    Raises:
        DataError: where there is too little to tell tokens apart.
    """
    if raw.level == "bpe":
        words, split = learn_byte_pairs(raw.parts[0], size=max_words, min_count=min_count)
        train, val, test = (split(text) for text in raw.parts)
    else:
        train, val, test = (raw.split(text) for text in raw.parts)
        words = vocabulary(train, (val, test), level=raw.level, min_count=min_count, max_words=max_words)
    if len(set(train)) < 2:
        what = "one distinct token" if train else "no token"
        raise DataError(raw.key, None, f"{raw.provenance.name}: the training part holds {what}; give a longer text")
    encoded = [words.encode(tokens) for tokens in (train, val, test)]
    notes = [
        f"{name}: {missing:,} of {len(ids):,} tokens are not in the vocabulary of the training part"
        for name, (ids, missing) in zip(PART_NAMES, encoded, strict=True)
        if missing
    ]
    return Corpus(
        parts=(encoded[0][0], encoded[1][0], encoded[2][0]),
        vocabulary=words,
        tokens_per_character=len(train) / len(raw.parts[0]),
        provenance=raw.provenance,
        key=raw.key,
        notes=(*raw.notes, *notes),
    )


def split_parts(
    text: str, *, val_fraction: Fraction, test_fraction: Fraction, val_last: bool = False
) -> tuple[str, str, str]:
    """Splits `text` into train, val and test, contiguous, train first.

    Args:
        val_fraction: share of the characters for validation, rounded; likewise `test_fraction`.
        val_last: validation at the end and the test before it, in place of the usual order.

    Raises:
        DataError: where nothing is left to train on.
    """
    val, test = round(len(text) * val_fraction), round(len(text) * test_fraction)
    train = len(text) - val - test
    if train <= 0:
        raise DataError(
            "data.val_fraction",
            val_fraction,
            f"and data.test_fraction={test_fraction} leave nothing to train on; their sum must be less than 1",
        )
    first, second = (test, val) if val_last else (val, test)
    middle, end = text[train : train + first], text[train + first : train + first + second]
    return (text[:train], end, middle) if val_last else (text[:train], middle, end)


def windows(ids: Tensor, length: PositiveInt, *, name: str, key: str) -> tuple[Part, int]:
    """Consecutive windows of a sequence (tokens,) and, for each of their tokens, the one after it.

    Returns:
        x (N, length) in the dtype of `ids`, y (N, length) int64, both consecutive: y is x one token later. And how many
        tokens at the end filled no window.

    Raises:
        DataError: fewer tokens than one window and its answers need.
    """
    count = (len(ids) - 1) // length
    if count < 1:
        raise DataError(
            key,
            None,
            f"the {name} part has {len(ids):,} tokens; a sequence needs {length + 1}: "
            "shorten data.sequence_length, or give a longer text or part",
        )
    size = count * length
    x, y = ids[:size].view(count, length), ids[1 : size + 1].view(count, length).long()
    return Part(x=x, y=y), len(ids) - 1 - size


def digest_of(parts: tuple[str, str, str]) -> str:
    """The first 32 hex digits of the SHA-256 of the three texts."""
    sha = hashlib.sha256()
    for text in parts:
        content = text.encode("utf-8", "surrogatepass")
        sha.update(f"{len(content)}:".encode())
        sha.update(content)
    return sha.hexdigest()[:32]
