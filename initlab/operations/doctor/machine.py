"""Checks the machine: device, disk space, write permissions, data sets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from initlab.errors import DataError
from initlab.operations.doctor.line import Line, ok, problem, warning

#: free bytes below which a run may fail, and below which a study may fail
_LEAST, _LITTLE = 500 * 2**20, 5 * 2**30


def device() -> Iterator[Line]:
    """The device that `device=auto` will choose."""
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield ok("device", f"GPU: {names}")
    elif torch.backends.mps.is_available():
        yield ok("device", "Apple's GPU (device=mps; auto chooses the CPU)")
    elif shutil.which("nvidia-smi") is not None:
        yield warning(
            "device",
            "there is an NVIDIA driver, but torch sees no GPU",
            f"install a torch with CUDA (this one has {torch.version.cuda or 'none'}), see CUDA_VISIBLE_DEVICES",
        )
    else:
        yield ok("device", f"no GPU: {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads a process")


def disk(workdir: Path) -> Iterator[Line]:
    """Free space and write permission where runs write."""
    for place, what in ((workdir, "the working directory"), (Path(tempfile.gettempdir()), "temporary files")):
        why = _unwritable(place)
        free = shutil.disk_usage(place).free
        if why:
            yield problem("disk", f"{what}, {place}, cannot be written to: {why}", "choose another directory")
        elif free < _LEAST:
            yield problem("disk", f"{_size(free)} are left for {what}, {place}", "make room: python -m initlab gc")
        elif free < _LITTLE:
            yield warning("disk", f"{_size(free)} are left for {what}, {place}", "make room: python -m initlab gc")
        else:
            yield ok("disk", f"{_size(free)} are left for {what}, {place}")


def data() -> Iterator[Line]:
    """The folder of data sets, which of them are there, and whether downloaded ones are complete."""
    from initlab.tasks import listing
    from initlab.tasks.download import check_md5, data_root
    from initlab.tasks.sources import idx

    try:
        root = data_root(None)
        entries = listing()
    except DataError as error:
        yield problem("data", str(error), "correct INITLAB_DATA, or unset it")
        return
    for which in (idx.MNIST, idx.FASHION_MNIST):
        files = [(root / which.folder / "raw" / name, md5) for name, md5 in which.files]
        try:
            for file, md5 in files:
                if file.is_file():
                    check_md5(file, md5)
        except DataError as error:
            yield problem("data", str(error), f"delete it; python -m initlab data {which.name} fetches it again")
    here = [e.name for e in entries if e.present]
    yield ok("data", f"{root}; here: {', '.join(here) or 'none'}")


def _unwritable(place: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
