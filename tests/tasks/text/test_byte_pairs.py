"""Byte pairs: no text is lost, tokens are those of an independent merge of pairs, and training on them goes through."""

from __future__ import annotations

import builtins
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from initlab.errors import ConfigError
from initlab.tasks.text import text_file
from initlab.tasks.text.byte_pairs import learn_byte_pairs
from initlab.tasks.text.task import TextTask
from initlab.tasks.text.tokens import join

TEXT = "the cat sat on the mat, the hat on the cat\nthat is that; naïve 猫 \x00 tab\tend\r\n  two  spaces\n" * 20


@pytest.mark.parametrize("text", [TEXT, "", "a", "\n\n", "猫 犬\u2028x\x85y\x0bz", "never seen: ÿ þ 🙂\n"], ids=ascii)
def test_nothing_is_lost_and_nothing_unknown(text: str) -> None:
    words, split = learn_byte_pairs(TEXT, size=300)
    tokens = split(text)
    assert join(tokens, "bpe") == text
    ids, missing = words.encode(tokens)
    assert missing == 0 and [words.tokens[i] for i in ids.tolist()] == tokens
    assert len(set(words.tokens)) == len(words) <= 300
    assert set(map(chr, range(256))) <= set(words.tokens)


def test_the_first_tokens_that_are_learnt_are_the_most_frequent_pairs() -> None:
    """By counting pairs within the words of the text, as Sennrich et al. describe it."""
    text = "low low low low lower lower newest newest newest widest widest\n" * 5
    words, _ = learn_byte_pairs(text, size=260)
    pieces = [list(w) for line in text.splitlines() for w in line.replace(" ", "| ").split("|")]
    learnt: list[str] = []
    for _ in range(4):
        pairs = Counter((a, b) for piece in pieces for a, b in pairwise(piece))
        most = max(pairs.values())
        best = words.tokens[256 + len(learnt)]
        assert best in {a + b for (a, b), n in pairs.items() if n == most}
        learnt.append(best)
        pieces = [_merged(piece, best) for piece in pieces]


def _merged(piece: list[str], token: str) -> list[str]:
    found: list[str] = []
    for part in piece:
        if found and found[-1] + part == token:
            found[-1] += part
        else:
            found.append(part)
    return found


def test_the_same_text_gives_the_same_tokens() -> None:
    assert learn_byte_pairs(TEXT, size=320)[0] == learn_byte_pairs(TEXT, size=320)[0]


def test_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text(TEXT * 3, encoding="utf-8")
    task = TextTask(data=text_file(path=file, level="bpe", max_words=280, sequence_length=16))
    splits = task.open(seed=0, device=torch.device("cpu"))
    chars = TextTask(data=text_file(path=file, level="char", sequence_length=16))
    chars.open(seed=0, device=torch.device("cpu"))
    rate = task.data.corpus.tokens_per_character
    assert splits.io.vocabulary == 280 and 0.4 < rate < 0.9
    assert task.scores(1.0, 0.0)["bits_per_char"] == pytest.approx(chars.scores(1.0, 0.0)["bits_per_char"] * rate)
    head = [splits.class_names[i] for i in splits.val.x[0].tolist()]
    assert join(head, "bpe") in TEXT * 3


@pytest.mark.parametrize("size", [255, 1])
def test_fewer_than_the_bytes(size: int) -> None:
    with pytest.raises(ConfigError, match=f"max_words={size}: must be 256 or more"):
        learn_byte_pairs(TEXT, size=size)


def test_characters_have_no_size(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_words=500: is for words and byte pairs; set data\.level=word or"):
        text_file(path=tmp_path / "t.txt", level="char", max_words=500)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"data\.level=bpe: needs the package tokenizers: pip install tokenizers"):
        learn_byte_pairs(TEXT)
