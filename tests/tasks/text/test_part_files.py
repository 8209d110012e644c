"""Files of a text in parts, under other spellings of the parts' names."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab.errors import DataError
from initlab.tasks.text import ptb, wikitext2
from initlab.tasks.text.files import read_parts

WORDS = "a few words of no great meaning , and a number : 7\n" * 20


def put(home: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (home / name).write_text(f"file {i} " + WORDS, encoding="utf-8")
    return home


@pytest.mark.parametrize(
    "names",
    [
        ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
        ("ptb.train.txt", "ptb.val.txt", "ptb.test.txt"),
        ("PTB.Training.txt", "ptb.dev.TXT", "ptb.testing.txt"),
    ],
)
def test_spellings_of_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    parts = ptb(path=put(tmp_path, *names)).load().parts
    assert [text.split()[1] for text in parts] == ["0", "1", "2"]


def test_wikitext_with_val(tmp_path: Path) -> None:
    put(tmp_path, "wiki.train.tokens", "wiki.validation.tokens", "wiki.test.tokens")
    assert wikitext2(path=tmp_path).load().parts[1].startswith("file 1")


def test_two_files_for_one_part_and_none(tmp_path: Path) -> None:
    put(tmp_path, "ptb.train.txt", "ptb.val.txt", "ptb.dev.txt", "ptb.test.txt")
    with pytest.raises(DataError, match=r"ptb\.dev\.txt and ptb\.val\.txt are both the val part"):
        ptb(path=tmp_path).load()
    (tmp_path / "ptb.val.txt").unlink()
    (tmp_path / "ptb.dev.txt").unlink()
    with pytest.raises(DataError, match=r"lacks ptb\.valid\.txt; put ptb\.train\.txt"):
        ptb(path=tmp_path).load()
    with pytest.raises(DataError, match="is no folder"):
        read_parts(tmp_path / "no", ("a.train.b", "a.val.b", "a.test.b"), "x", level="word", errors="strict", source="")
