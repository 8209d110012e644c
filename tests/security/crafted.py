"""Making files that somebody with bad intentions would make."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def pickled(path: Path, canary: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"x": Bomb(canary)}))
    return path


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def npy_header(shape: str, descr: str = "<f8", content: bytes = b"") -> bytes:
    """A header that promises `shape`, and whatever follows it."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def png(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header says how large it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )
    return path


def wav(path: Path, *, promised: int, rate: int = 16000, channels: int = 1, bits: int = 16, samples: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * channels * bits // 8) % 2**32, channels * bits // 8, bits)
    data = b"\1\2" * samples
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", promised) + data
    )  # fmt: skip
    return path


def flac(path: Path, *, samples: int) -> Path:
    """A FLAC file whose first block says how many samples follow; none do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = struct.pack(">HH", 4096, 4096) + b"\0" * 6
    info += ((16000 << 44) | (0 << 41) | (15 << 36) | samples).to_bytes(8, "big") + b"\0" * 16
    path.write_bytes(b"fLaC\x80" + len(info).to_bytes(3, "big") + info)
    return path


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def swollen_tar(path: Path, name: str, size: int) -> Path:
    """An archive with one member of zeros, a thousandth of its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    info = tarfile.TarInfo(name)
    info.size = size
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(info.tobuf())
        for _ in range(size >> 20):
            out.write(b"\0" * (1 << 20))
        out.write(b"\0" * 1024)
    return path


def safetensors(
    path: Path, header: dict[str, object] | bytes, content: bytes = b"", *, length: int | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + content)
    return path
