"""Reads texts from the user's own files: one file to be split, or three official parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.errors import ConfigError, DataError
from initlab.spec import PositiveInt, Provenance
from initlab.tasks.encoding import describe_bad_byte, encoding_of
from initlab.tasks.part_names import part_of
from initlab.tasks.splitting import Fraction
from initlab.tasks.text.corpus import RawText, digest_of, split_parts
from initlab.tasks.text.task import TextData
from initlab.tasks.text.tokens import Level, split_at_spaces, split_text

Errors = Literal["strict", "replace"]

WIKITEXT2_SOURCE = "https://huggingface.co/datasets/Salesforce/wikitext (wikitext-2-v1)"
PTB_SOURCE = "Penn Treebank as prepared by Mikolov et al. (LDC99T42; simple-examples)"
_WIKITEXT2 = ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")
_PTB = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")


class PartsSettings(TypedDict, total=False):
    """Arguments of a text in official parts; see `Parts`."""

    level: Level
    sequence_length: PositiveInt
    encoding: str | None
    errors: Errors
    min_count: PositiveInt
    max_words: PositiveInt | None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How a text in official parts is read.

    Attributes:
        level: a token is a char, a byte, a byte pair (bpe) or a word: what stands between spaces, and the end of lines.
        sequence_length: see `text_file`, as for the fields after it.
        encoding: see `text_file`.
        errors: see `text_file`.
        min_count: see `text_file`.
        max_words: see `text_file`.
    """

    level: Level = "word"
    sequence_length: PositiveInt = 64
    encoding: str | None = None
    errors: Errors = "strict"
    min_count: PositiveInt = 1
    max_words: PositiveInt | None = None


@factory
def text_file(
    *,
    path: Path,
    level: Level = "char",
    sequence_length: PositiveInt = 64,
    encoding: str | None = None,
    errors: Errors = "strict",
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.1,
    min_count: PositiveInt = 1,
    max_words: PositiveInt | None = None,
) -> TextData:
    """Any text in one file, in UTF-8 or with a byte order mark; read as it is where a token is a byte.

    Args:
        path: the file.
        level: a token is a char, a byte, a word or a byte pair (bpe).
        sequence_length: tokens that a network reads at a time.
        encoding: of the file, such as ``latin-1``; None takes that of its byte order mark, else UTF-8.
        errors: what becomes of bytes that are not of the encoding: ``strict`` stops and names the first, ``replace``
            reads U+FFFD and tells how many.
        val_fraction: share of the characters after the training part.
        test_fraction: share of the characters at the end.
        min_count: words that the training part has less often are unknown.
        max_words: so many of the most frequent words are known; None is all. Of byte pairs: tokens, 1,024 where None.
    """
    how = {"level": level, "encoding": encoding, "errors": errors}
    load = partial(read_text_file, path, val_fraction=val_fraction, test_fraction=test_fraction, **how)
    return TextData(
        name="text_file",
        load=load,
        level=level,
        sequence_length=sequence_length,
        min_count=min_count,
        max_words=max_words,
    )


@factory
@with_parameters_of(Parts())
def wikitext2(*, path: Path, **settings: Unpack[PartsSettings]) -> TextData:
    """WikiText-2, from your own copy: 2 million words of articles, 33,278 distinct, in its three official parts.

    Merity, Xiong, Bradbury & Socher, ICLR 2017.

    Args:
        path: folder that holds ``wiki.train.tokens``, ``wiki.valid.tokens`` and ``wiki.test.tokens``.
        settings: see `Parts`.
    """
    return _in_parts("wikitext2", path, _WIKITEXT2, WIKITEXT2_SOURCE, settings)


@factory
@with_parameters_of(Parts())
def ptb(*, path: Path, **settings: Unpack[PartsSettings]) -> TextData:
    """The Penn Treebank, from your own copy: 1 million words of news, 10,000 distinct, in its three usual parts.

    Marcus, Santorini & Marcinkiewicz, Computational Linguistics, 1993; as prepared by Mikolov et al., Interspeech 2010.

    Args:
        path: folder that holds ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``.
        settings: see `Parts`.
    """
    return _in_parts("ptb", path, _PTB, PTB_SOURCE, settings)


def _in_parts(name: str, path: Path, files: tuple[str, str, str], source: str, settings: PartsSettings) -> TextData:
    how = Parts(**settings)
    return TextData(
        name=name,
        load=partial(
            read_parts, path, files, name, level=how.level, errors=how.errors, source=source, encoding=how.encoding
        ),
        level=how.level,
        sequence_length=how.sequence_length,
        min_count=how.min_count,
        max_words=how.max_words,
    )


def read_text_file(
    path: Path,
    *,
    level: Level = "char",
    encoding: str | None = None,
    errors: Errors = "strict",
    val_fraction: Fraction = 0.1,
    test_fraction: Fraction = 0.1,
) -> RawText:
    """The text of one file, cut into its parts.

    Raises:
        DataError: absent, a folder, empty, or not of its encoding.
        ConfigError: see `decode`.
    """
    file = path.expanduser()
    text, notes = _read(file, level=level, errors=errors, encoding=encoding)
    parts = split_parts(text, val_fraction=val_fraction, test_fraction=test_fraction)
    return RawText(
        parts=parts,
        level=level,
        split=partial(split_text, level=level),
        provenance=Provenance(name=file.stem, source=str(file.resolve()), digest=digest_of(parts)),
        key="data.path",
        notes=notes,
    )


def read_parts(
    path: Path,
    names: tuple[str, str, str],
    name: str,
    *,
    level: Level,
    errors: Errors,
    source: str,
    encoding: str | None = None,
) -> RawText:
    """The texts of three files of one folder, whose words stand between spaces already.

    Args:
        path: the folder.
        names: of the files of train, val and test, as the source has them. Another spelling of the part (``wiki.val``,
            ``ptb.Training``, see `part_names.py`) is found too.
        name: of the text.
        level: see `text_file`, as for `errors`.
        errors: see `text_file`.
        source: where the files are from.
        encoding: see `text_file`.

    Raises:
        DataError: the folder or a file is absent, two files are of one part, a file is empty or not of its encoding.
    """
    folder = path.expanduser()
    files = [_find(folder, n) for n in names] if folder.is_dir() else []
    missing = [n for n, file in zip(names, files, strict=False) if file is None]
    if missing or not files:
        what = f"lacks {', '.join(missing)}" if files else "is no folder"
        raise DataError("data.path", str(folder), f"{what}; put {', '.join(names)} there, from {source}")
    read = [_read(file, level=level, errors=errors, encoding=encoding) for file in files if file is not None]
    parts = (read[0][0], read[1][0], read[2][0])
    return RawText(
        parts=parts,
        level=level,
        split=split_at_spaces if level == "word" else partial(split_text, level=level),
        provenance=Provenance(name=name, source=source, digest=digest_of(parts), note=str(folder.resolve())),
        key="data.path",
        notes=tuple(note for _, notes in read for note in notes),
    )


def decode(
    content: bytes,
    path: Path,
    *,
    level: Level,
    errors: Errors,
    encoding: str | None = None,
    key: str = "data.path",
) -> tuple[str, tuple[str, ...]]:
    """Decodes the bytes of a text file, with notes. At level byte one character a byte; a byte order mark is dropped.

    The encoding is that of the mark, else UTF-8, unless `encoding` names another (`encoding.py`).

    Raises:
        DataError: empty, or not of its encoding under ``errors=strict``.
        ConfigError: an encoding that is unknown or that the mark contradicts.
    """
    if not content:
        raise DataError(key, str(path), "is empty; give a text")
    if level == "byte":
        if encoding is not None:
            raise ConfigError("data.encoding", encoding, "means nothing where data.level=byte; leave one of them out")
        return content.decode("latin-1"), ()
    name = encoding_of(content, encoding, str(path), key=key)
    notes = () if encoding or name.startswith("utf-8") else (f"{path.name} is {name.upper()}, by its byte order mark",)
    try:
        return content.decode(name), notes
    except UnicodeDecodeError as error:
        if errors == "strict":
            # the bytes of a mark are taken away before the others are decoded
            offset = len(content) - len(error.object) if name == "utf-8-sig" else 0
            what = f"{describe_bad_byte(error, name, offset=offset)}, or data.errors=replace or data.level=byte"
            raise DataError(key, str(path), what) from error
    text = content.decode(name, "replace")
    bad = text.count("\ufffd") - content.decode(name, "ignore").count("\ufffd")
    places = f"{path.name}: {bad:,} places that are no {name.removesuffix('-sig').upper()} are read as U+FFFD"
    return text, (*notes, places)


def _find(folder: Path, name: str) -> Path | None:
    """The file `name` (``ptb.valid.txt``), else the one whose middle is another spelling of the same part."""
    if (folder / name).is_file():
        return folder / name
    before, middle, after = name.split(".")
    part, found = part_of(middle), list[Path]()
    for file in sorted(f for f in folder.iterdir() if f.is_file()):
        pieces = file.name.split(".")
        same = len(pieces) == 3 and (pieces[0].lower(), pieces[2].lower()) == (before, after)
        if same and part_of(pieces[1]) == part:
            found.append(file)
    if len(found) > 1:
        names = " and ".join(f.name for f in found)
        raise DataError("data.path", str(folder), f"{names} are both the {part} part; rename or remove one")
    return found[0] if found else None


def _read(file: Path, *, level: Level, errors: Errors, encoding: str | None) -> tuple[str, tuple[str, ...]]:
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise DataError("data.path", str(file), f"{what}; give a file of text")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError("data.path", str(file), f"cannot be read ({error})") from error
    return decode(content, file, level=level, errors=errors, encoding=encoding)
