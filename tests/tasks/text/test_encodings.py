"""Texts in other encodings than UTF-8 are read rightly or refused with what to type, never as other letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab.errors import ConfigError, DataError
from initlab.tasks.text.files import Errors, read_parts, read_text_file

TEXT = "Grüße aus Zürich – 你好, мир! " * 40
WESTERN = "Grüße, señor: café à la crème. " * 40


def written(folder: Path, content: bytes) -> Path:
    (folder / "t.txt").write_bytes(content)
    return folder / "t.txt"


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (TEXT.encode(), ""),
        (b"\xef\xbb\xbf" + TEXT.encode(), ""),
        (TEXT.encode("utf-16"), "t.txt is UTF-16, by its byte order mark"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "t.txt is UTF-16, by its byte order mark"),
        (TEXT.encode("utf-32"), "t.txt is UTF-32, by its byte order mark"),
        (b"\0\0\xfe\xff" + TEXT.encode("utf-32-be"), "t.txt is UTF-32, by its byte order mark"),
    ],
)
def test_the_byte_order_mark_says_the_encoding(tmp_path: Path, content: bytes, note: str) -> None:
    raw = read_text_file(written(tmp_path, content))
    assert "".join(raw.parts) == TEXT
    assert raw.notes == ((note,) if note else ())


@pytest.mark.parametrize("name", ["latin-1", "cp1252", "ISO-8859-15", "utf-16-le", "utf-8"])
def test_an_encoding_by_its_name(tmp_path: Path, name: str) -> None:
    raw = read_text_file(written(tmp_path, WESTERN.encode(name)), encoding=name)
    assert "".join(raw.parts) == WESTERN and raw.notes == ()


@pytest.mark.parametrize("name", ["gb18030", "shift_jis", "koi8-r"])
def test_encodings_of_other_scripts(tmp_path: Path, name: str) -> None:
    text = {"gb18030": "初始化权重", "shift_jis": "初期化する", "koi8-r": "привет"}[name] * 99
    assert "".join(read_text_file(written(tmp_path, text.encode(name)), encoding=name).parts) == text


@pytest.mark.parametrize("name", ["latin-1", "cp1252", "gb18030"])
def test_what_is_no_utf_8_is_not_guessed(tmp_path: Path, name: str) -> None:
    told = r"is not UTF-8: byte 0x\w\w at offset \d+; give its encoding, for example data\.encoding=latin-1, or data\.e"
    with pytest.raises(DataError, match=told):
        read_text_file(written(tmp_path, WESTERN.encode(name)))


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf_16_without_a_mark_is_told_and_not_read_with_zeros(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, WESTERN.encode(name))
    with pytest.raises(DataError, match=rf"without a byte order mark; say which, data\.encoding={name}"):
        read_text_file(file)
    assert "".join(read_text_file(file, encoding=name).parts) == WESTERN


@pytest.mark.parametrize("name", ["latin-2000", "zip", "", "base64", "rot13"])
def test_no_encoding_of_text(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.encoding=.*: is no encoding that Python knows, such as utf-8, latin-1"
    ):
        read_text_file(written(tmp_path, b"abc" * 99), encoding=name)


def test_an_encoding_that_the_mark_contradicts(tmp_path: Path) -> None:
    for content, name in ((TEXT.encode("utf-16"), "latin-1"), (b"\xef\xbb\xbf" + TEXT.encode(), "utf-16")):
        with pytest.raises(ConfigError, match=r"begins with the byte order mark of utf-\d+; leave data\.encoding out"):
            read_text_file(written(tmp_path, content), encoding=name)


def test_a_named_encoding_that_agrees_with_the_mark(tmp_path: Path) -> None:
    for content, name in ((TEXT.encode("utf-16"), "UTF-16"), (b"\xef\xbb\xbf" + TEXT.encode(), "utf8")):
        assert "".join(read_text_file(written(tmp_path, content), encoding=name).parts) == TEXT


@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_damaged_utf_16(tmp_path: Path, errors: Errors) -> None:
    content = ("a" * 500).encode("utf-16") + b"\x00\xd8" + ("b" * 500).encode("utf-16-le")  # half of a pair
    file = written(tmp_path, content)
    if errors == "strict":
        with pytest.raises(DataError, match=r"is not UTF-16: byte 0x00 at offset 1,002"):
            read_text_file(file)
        return
    raw = read_text_file(file, errors="replace")
    assert raw.notes == (
        "t.txt is UTF-16, by its byte order mark",
        "t.txt: 1 places that are no UTF-16 are read as U+FFFD",
    )


def test_bytes_have_no_encoding(tmp_path: Path) -> None:
    file = written(tmp_path, TEXT.encode("utf-16"))
    assert len("".join(read_text_file(file, level="byte").parts)) == file.stat().st_size
    with pytest.raises(ConfigError, match=r"data\.encoding=utf-16: means nothing where data\.level=byte"):
        read_text_file(file, level="byte", encoding="utf-16")


def test_parts_of_their_own_encoding(tmp_path: Path) -> None:
    names = ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")
    for name in names:
        (tmp_path / name).write_bytes(WESTERN.encode("cp1252"))
    read = {"level": "word", "errors": "strict", "source": "here"}
    with pytest.raises(DataError, match=r"wiki\.train\.tokens: is not UTF-8"):
        read_parts(tmp_path, names, "wikitext2", **read)  # pyright: ignore[reportArgumentType]
    raw = read_parts(tmp_path, names, "wikitext2", encoding="cp1252", **read)  # pyright: ignore[reportArgumentType]
    assert raw.parts == (WESTERN, WESTERN, WESTERN)
