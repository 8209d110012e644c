"""Finds the encoding of a text file: by its byte order mark, else UTF-8, else as the user says."""

from __future__ import annotations

import codecs

from initlab.errors import ConfigError, DataError

#: byte order marks; that of UTF-32 begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOK = 4096  # bytes at the beginning in which zeros are counted
_EXAMPLES = "such as utf-8, latin-1, cp1252, utf-16-le, gb18030 or shift_jis"


def encoding_of(content: bytes, encoding: str | None, where: str, *, key: str = "data.path") -> str:
    """Python's name of the encoding of a file that begins with `content`.

    Args:
        content: its first bytes, or all.
        encoding: as the user says; None takes a byte order mark, else UTF-8.
        where: the file, for errors.
        key: of the configuration, for errors.

    Raises:
        ConfigError: no such encoding, or another than the byte order mark says.
        DataError: text in UTF-16 without a mark, which would be read as letters with zeros between them.
    """
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is not None:
        name = _checked(encoding)
        if marked is not None and _family(name) != _family(marked):
            what = f"{where} begins with the byte order mark of {marked.removesuffix('-sig')}; leave data.encoding out"
            raise ConfigError("data.encoding", encoding, what)
        return marked or name
    if marked is not None:
        return marked
    head = content[:_LOOK]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even + odd > len(head) // 4:
        likely = "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else "utf-32-le"
        what = f"looks like UTF-16 or UTF-32 without a byte order mark; say which, data.encoding={likely}"
        raise DataError(key, where, what)
    return "utf-8"


def describe_bad_byte(error: UnicodeDecodeError, encoding: str, *, offset: int = 0) -> str:
    """What is wrong, where, and what may be typed.

    `offset` is the number of bytes before those that were decoded.
    """
    name = encoding.removesuffix("-sig").upper().removesuffix("-LE").removesuffix("-BE")
    what = f"is not {name}: byte {error.object[error.start]:#04x} at offset {error.start + offset:,}"
    return f"{what}; give its encoding, for example data.encoding=latin-1"


def _family(name: str) -> str:
    """The encoding without its order of bytes: utf-16-le and utf-16 are one."""
    return "-".join(name.split("-")[:2])


def _checked(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding)
        "".encode(found.name)  # a codec of bytes, such as zip, is refused here
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError("data.encoding", encoding, f"is no encoding that Python knows, {_EXAMPLES}") from error
    return found.name
