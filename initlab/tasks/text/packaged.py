"""Python's help topics as a text data set, inside the standard library."""

from __future__ import annotations

import platform
from functools import partial

from initlab.core.factories import factory
from initlab.spec import PositiveInt, Provenance
from initlab.tasks.splitting import Fraction
from initlab.tasks.text.corpus import RawText, digest_of, split_parts
from initlab.tasks.text.task import TextData
from initlab.tasks.text.tokens import Level, split_text

SOURCE = "pydoc_data.topics of the standard library (the topics of help(), from the language reference)"
LICENCE = "PSF-2.0"


@factory
def python_topics(
    *,
    level: Level = "char",
    sequence_length: PositiveInt = 64,
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.1,
    min_count: PositiveInt = 1,
    max_words: PositiveInt | None = None,
) -> TextData:
    """The help topics of Python's standard library, some 465,000 characters of English, in the order of their names.

    Validation is the *last* tenth and the test the tenth before it, in place of the usual order, so that a validation
    loss can be held against an n-gram model that was counted on all that stands before the last tenth. The text changes
    a little from one version of Python to the next; the digest of the run tells which it was.

    Args:
        level: a token is a char, a byte, a word or a byte pair (bpe).
        sequence_length: tokens that a network reads at a time.
        val_fraction: share of the characters at the end.
        test_fraction: share of the characters before those.
        min_count: words that the training part has less often are unknown.
        max_words: so many of the most frequent words are known; None is all. Of byte pairs: tokens, 1,024 where None.
    """
    load = partial(read_python_topics, level=level, val_fraction=val_fraction, test_fraction=test_fraction)
    return TextData(
        name="python_topics",
        load=load,
        level=level,
        sequence_length=sequence_length,
        min_count=min_count,
        max_words=max_words,
    )


def read_python_topics(
    *, level: Level = "char", val_fraction: Fraction = 0.1, test_fraction: Fraction = 0.1
) -> RawText:
    """All topics as one text, cut into its parts."""
    from pydoc_data.topics import topics

    text = "".join(topics[name] for name in sorted(topics))
    if level == "byte":
        text = text.encode().decode("latin-1")
    parts = split_parts(text, val_fraction=val_fraction, test_fraction=test_fraction, val_last=True)
    return RawText(
        parts=parts,
        level=level,
        split=partial(split_text, level=level),
        provenance=Provenance(
            name="python_topics",
            source=SOURCE,
            digest=digest_of(parts),
            licence=LICENCE,
            note=f"of Python {platform.python_version()}",
        ),
    )
