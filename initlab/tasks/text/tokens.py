"""Tokenises text into characters, bytes or words, with the vocabulary of the training part; pairs: `byte_pairs.py`.

Bytes are held as the 256 characters of Latin-1, one a byte, so that all that follows sees one kind of text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from initlab.spec import NonNegativeInt, PositiveInt

Level = Literal["char", "byte", "word", "bpe"]

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
#: a word with its inner apostrophes, one mark of punctuation, or the end of a line
_WORD = re.compile(r"\n|\w+(?:['’]\w+)*|[^\w\s]")


def split_text(text: str, level: Level) -> list[str]:
    """`text` as tokens: its characters, or its words, punctuation and ends of lines; other white space is dropped."""
    if level != "word":
        return list(text)
    return [END_OF_LINE if token == "\n" else token for token in _WORD.findall(text)]


def split_at_spaces(text: str) -> list[str]:
    """Words of a text that is tokenised already: what stands between white space, and the end of each line."""
    found: list[str] = []
    for line in text.splitlines():
        found += [*line.split(), END_OF_LINE]
    return found


def join(tokens: Iterable[str], level: Level) -> str:
    """Tokens as text to read; bytes that are no UTF-8 become U+FFFD."""
    if level == "word":
        return " ".join("\n" if t == END_OF_LINE else t for t in tokens).replace(" \n ", "\n")
    text = "".join(tokens)
    return text if level == "char" else text.encode("latin-1", "replace").decode("utf-8", "replace")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by their number. `<unk>`, where it is one of them, stands for every token that is none."""

    tokens: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Sequence[str]) -> tuple[Tensor, int]:
        """Numbers (len,) in the smallest dtype that holds them, and how many of the tokens were unknown."""
        number = {token: i for i, token in enumerate(self.tokens)}
        unknown = number.get(UNKNOWN, -1)
        ids = torch.tensor([number.get(token, unknown) for token in tokens], dtype=torch.int64)
        missing = sum(1 for token in tokens if token not in number)
        size = len(self.tokens)
        return ids.to(torch.uint8 if size <= 256 else torch.int16 if size <= 32_768 else torch.int32), missing


def vocabulary(
    train: Sequence[str],
    others: Iterable[Sequence[str]],
    *,
    level: Level,
    min_count: PositiveInt = 1,
    max_words: NonNegativeInt | None = None,
) -> Vocabulary:
    """The tokens of the training part, characters in the order of their code points, words by falling frequency.

    `<unk>` is added where some token of any part needs it, and only there: it would be an answer that is never right.
    Of `others`, nothing but that is asked. All 256 bytes are known from the start.

    Args:
        train: the training part.
        others: the other parts.
        level: what a token is.
        min_count: words that the training part has less often are unknown.
        max_words: so many of the most frequent words are known; None is all. Of byte pairs: tokens, 1,024 where None.
    """
    if level == "byte":
        return Vocabulary(tuple(map(chr, range(256))))
    counts = Counter(train)
    if level == "word":
        # equally frequent words in the order of the alphabet, so that the numbers do not depend on their order of use
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        known = [token for token in ordered if counts[token] >= min_count][:max_words]
    else:
        known = sorted(counts)
    held = set(known)
    if UNKNOWN not in held and any(token not in held for part in (counts, *others) for token in part):
        known.append(UNKNOWN)
    return Vocabulary(tuple(known))
