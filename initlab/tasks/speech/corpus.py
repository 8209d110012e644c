"""Reads a collection of recordings once: each file is decoded, or counted with the reason why not.

What comes out is ragged, (all steps, features) with the number of steps of each recording, and knows nothing of classes
and parts: those follow from the names, so that every way of splitting shares one file of the cache.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from initlab.errors import DataError
from initlab.tasks.speech.audio import BadAudioError, as_float, decode
from initlab.tasks.speech.cache import Arrays, load_or_compute
from initlab.tasks.speech.features import Features, extract

_LARGEST = 1 << 28  # bytes of a file in an archive: a recording of an hour; a small archive can hold a huge one
_FORMAT = 2  # to be raised where the same source and settings give other numbers than before


class Source(Protocol):
    """Files with names and contents, in an order that does not change."""

    @property
    def place(self) -> Path: ...

    def digest(self) -> str:
        """A hash of the contents that `items` gives, or of more."""
        ...

    def items(self) -> Iterator[tuple[str, bytes]]: ...


def digest_of(items: Iterable[tuple[str, bytes]]) -> str:
    """A hash of names and contents, in their order."""
    sha = hashlib.sha256()
    for name, content in items:
        sha.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogatepass"))
        sha.update(content)
    return sha.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Files of a tar archive, read in place: nothing is unpacked, so no path can leave a folder.

    Attributes:
        place: of the archive.
        name_of: path in the archive → name of the recording or text, None for what is passed over.
    """

    place: Path
    name_of: Callable[[str], str | None]

    def digest(self) -> str:
        """Of the archive as it is."""
        with _archive_errors(self.place), self.place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Files in the order of the archive. Raises DataError where it is damaged."""
        with _archive_errors(self.place), tarfile.open(self.place, "r:*") as tar:
            for member in tar:
                name = self.name_of(member.name) if member.isfile() else None
                file = tar.extractfile(member) if name is not None else None
                if name is not None and member.size > _LARGEST:
                    raise tarfile.ReadError(f"{name} unfolds to {member.size:,} bytes")
                if name is not None and file is not None:
                    yield name, file.read()


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Files below a folder by their path in it, with `/` between folders.

    Attributes:
        place: the folder.
        names: of the files.
        key: of the configuration, for errors.
    """

    place: Path
    names: tuple[str, ...]
    key: str = "data.root"

    def digest(self) -> str:
        """Of the names and contents."""
        return digest_of(self.items())

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Files in the order of `names`. Raises DataError where one cannot be read."""
        for name in self.names:
            try:
                content = (self.place / name).read_bytes()
            except OSError as error:
                raise DataError(self.key, str(self.place / name), f"cannot be read ({error})") from error
            yield name, content


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Recordings as sequences of features.

    Attributes:
        names: of the recordings that could be read, in the order of the source.
        steps: (all steps, features), one recording after another; float32, or int16 for waveforms of 16 bits.
        lengths: steps of each recording, int64 (N,).
        cut: how many were longer than `Features.seconds`.
        bad: name of each recording that could not be read, and why.
        texts: the text files of the source by name.
        digest: hash of source and settings.
    """

    names: tuple[str, ...]
    steps: Tensor
    lengths: Tensor
    cut: int
    bad: tuple[tuple[str, str], ...]
    texts: dict[str, str]
    digest: str


def read_corpus(source: Source, features: Features, *, folder: Path, scope: str = "") -> Corpus:
    """Reads every recording of `source`, from the cache where content and settings are the same.

    Args:
        source: files; those whose names end in ``.txt`` are kept as text.
        features: what is computed.
        folder: of the cache.
        scope: which of the files `source` gives, where its digest does not say.

    Raises:
        DataError: the source cannot be read at all.
        ConfigError: the cache cannot be written.
    """
    key = json.dumps({"format": _FORMAT, "source": source.digest(), "scope": scope, **asdict(features)})
    arrays = load_or_compute(folder, key, lambda: _compute_corpus(source, features))
    bad = zip(arrays["bad"].tolist(), arrays["why"].tolist(), strict=True)
    texts = zip(arrays["texts"].tolist(), arrays["contents"].tolist(), strict=True)
    return Corpus(
        names=tuple(arrays["names"].tolist()),
        steps=torch.from_numpy(arrays["steps"]),
        lengths=torch.from_numpy(arrays["lengths"]),
        cut=int(arrays["cut"]),
        bad=tuple(bad),
        texts=dict(texts),
        digest=hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(),
    )


def pad(steps: Tensor, lengths: Tensor, longest: int, *, blank: float = float("nan")) -> Tensor:
    """Pads or cuts ragged sequences to equal length.

    Args:
        steps: (all steps, F), one sequence after another.
        lengths: steps of each, int64 (N,).
        longest: steps that each is cut or padded to, at the end.
        blank: what padding holds: NaN for features, whose 0 means something; 0 for waveforms.

    Returns:
        (N, F, longest) in the dtype of `steps`.
    """
    out = torch.full((len(lengths), longest, steps.shape[1]), blank, dtype=steps.dtype)
    for row, sequence in zip(out, steps.split(lengths.tolist()), strict=True):
        kept = sequence[:longest]
        row[: len(kept)] = kept
    return out.transpose(1, 2).contiguous()


# ------------------------------------------------------------------ pieces
class _archive_errors:  # noqa: N801  a context manager that reads like a word
    """Turns what a damaged archive raises into a DataError."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (tarfile.TarError, OSError, EOFError, zlib.error)):
            raise DataError("data.root", str(self.place), f"cannot be read ({error}); replace it") from error


def _compute_corpus(source: Source, features: Features) -> Arrays:
    names: list[str] = []
    sequences: list[Tensor] = []
    bad: list[tuple[str, str]] = []
    texts: list[tuple[str, str]] = []
    cut = 0
    for name, content in source.items():
        if name.endswith(".txt"):
            texts.append((name, content.decode("utf-8", errors="replace")))
            continue
        try:
            wave = decode(content, features.sample_rate)
            sequence = _sequence(wave[: features.samples], features)
        except BadAudioError as error:
            bad.append((name, str(error)))
            continue
        cut += features.samples is not None and len(wave) > features.samples
        names.append(name)
        sequences.append(sequence)
    if len({s.dtype for s in sequences}) > 1:
        sequences = [as_float(s) for s in sequences]
    return {
        "names": np.array(names, dtype=np.str_),
        "steps": (torch.cat(sequences) if sequences else torch.zeros(0, features.size)).numpy(),
        "lengths": np.array([len(s) for s in sequences], dtype=np.int64),
        "cut": np.array(cut),
        "bad": np.array([n for n, _ in bad], dtype=np.str_),
        "why": np.array([w for _, w in bad], dtype=np.str_),
        "texts": np.array([n for n, _ in texts], dtype=np.str_),
        "contents": np.array([t for _, t in texts], dtype=np.str_),
    }


def _sequence(wave: Tensor, features: Features) -> Tensor:
    if features.kind == "waveform":
        return extract(wave, features)
    sequence = extract(as_float(wave), features)
    if not bool(sequence.isfinite().all()):
        raise BadAudioError("holds samples that are too large")
    return sequence
