"""Byte pair encoding: tokens of several bytes, learnt from the training part by the package `tokenizers`.

Sennrich, Haddow & Birch, ACL 2016; on bytes as in GPT-2 (Radford et al., 2019). Tokens are held as the characters of
Latin-1, one a byte, as those of `tokens.py` are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initlab.errors import ConfigError
from initlab.tasks.text.tokens import Vocabulary

#: tokens where none are said: three times the 256 bytes more, which a small text can fill
SIZE = 1024
_BYTES = 256


def learn_byte_pairs(
    text: str, *, size: int | None = None, min_count: int = 2
) -> tuple[Vocabulary, Callable[[str], list[str]]]:
    """The vocabulary that `text` gives, and what splits a text into its tokens; no token is ever unknown.

    Args:
        text: the training part.
        size: tokens of the vocabulary, the 256 bytes among them, 1,024 where None; a small text may give fewer.
        min_count: pairs that are less frequent are not joined.

    Raises:
        ConfigError: a size below 256, or the package is not installed.
    """
    size = SIZE if size is None else size
    if size < _BYTES:
        raise ConfigError("max_words", size, f"must be {_BYTES} or more with level=bpe: each byte is a token")
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    except ImportError as error:
        raise ConfigError("data.level", "bpe", "needs the package tokenizers: pip install tokenizers") from error
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=max(2, min_count), initial_alphabet=sorted(_BYTE_OF), show_progress=False
    )
    lines = text.splitlines(keepends=True)
    tokenizer.train_from_iterator(lines, trainer)
    numbers: dict[str, int] = tokenizer.get_vocab()
    tokens = tuple(_as_bytes(t) for t in sorted(numbers, key=lambda t: numbers[t]))

    def split(part: str) -> list[str]:
        found = tokenizer.encode_batch(part.splitlines(keepends=True))
        return [tokens[i] for encoding in found for i in encoding.ids]

    return Vocabulary(tokens), split


def _byte_of() -> dict[str, int]:
    """Printable character → byte, as GPT-2's tokeniser writes bytes: those that cannot be seen are moved behind 255."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(_BYTES) if b not in seen]
    return {chr(b): b for b in seen} | {chr(_BYTES + i): b for i, b in enumerate(hidden)}


_BYTE_OF = _byte_of()


def _as_bytes(token: str) -> str:
    return "".join(chr(_BYTE_OF[c]) for c in token)
