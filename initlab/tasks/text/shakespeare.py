"""Reads Tiny Shakespeare, fetched where it is absent."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from initlab.core.factories import factory
from initlab.spec import PositiveInt, Provenance
from initlab.tasks.download import check_md5, data_root, fetch
from initlab.tasks.splitting import Fraction
from initlab.tasks.text.corpus import RawText, digest_of, split_parts
from initlab.tasks.text.files import decode
from initlab.tasks.text.task import TextData
from initlab.tasks.text.tokens import Level, split_text

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
MD5 = "6fb458f1232090904fb40fe944165e91"
LICENCE = "public domain text"
_PLACE = ("text", "tinyshakespeare.txt")


@factory
def tiny_shakespeare(
    *,
    root: Path | None = None,
    level: Level = "char",
    sequence_length: PositiveInt = 64,
    val_fraction: Fraction = 0.05,
    test_fraction: Fraction = 0.05,
    min_count: PositiveInt = 1,
    max_words: PositiveInt | None = None,
) -> TextData:
    """1,115,394 characters of Shakespeare's plays, 65 distinct; fetched where absent. Karpathy, char-rnn, 2015.

    Args:
        root: directory that holds ``text/tinyshakespeare.txt``; None looks at INITLAB_DATA, then in the cache
            directory.
        level: a token is a char, a byte, a word or a byte pair (bpe).
        sequence_length: tokens that a network reads at a time.
        val_fraction: share of the characters after the training part; the usual split is 90, 5 and 5 %.
        test_fraction: share of the characters at the end.
        min_count: words that the training part has less often are unknown.
        max_words: so many of the most frequent words are known; None is all. Of byte pairs: tokens, 1,024 where None.
    """
    load = partial(read_tiny_shakespeare, root, level=level, val_fraction=val_fraction, test_fraction=test_fraction)
    return TextData(
        name="tiny_shakespeare",
        load=load,
        level=level,
        sequence_length=sequence_length,
        min_count=min_count,
        max_words=max_words,
    )


def read_tiny_shakespeare(
    root: Path | None = None,
    *,
    level: Level = "char",
    val_fraction: Fraction = 0.05,
    test_fraction: Fraction = 0.05,
    md5: str = MD5,
) -> RawText:
    """The text below `root`, fetched where it is absent.

    Raises:
        DataError: absent and not to be fetched, or damaged.
    """
    path = data_root(root).joinpath(*_PLACE)
    fetch(path, [URL], md5, instead="data=python_topics needs no download")
    check_md5(path, md5)
    text, _ = decode(path.read_bytes(), path, level=level, errors="strict", key="data.root")
    parts = split_parts(text, val_fraction=val_fraction, test_fraction=test_fraction)
    return RawText(
        parts=parts,
        level=level,
        split=partial(split_text, level=level),
        provenance=Provenance(name="tiny_shakespeare", source=URL, digest=digest_of(parts), licence=LICENCE),
        key="data.root",
    )


def shakespeare_path(home: Path) -> Path:
    """Where the file lies, or would, below the data root `home`."""
    return home.joinpath(*_PLACE)
