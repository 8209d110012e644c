"""A disk whose power can be cut: an ext4 file system in an image file, and what is left of it at any moment.

Nothing that was not synced is in the image: it is in the memory of the operating system, which writes it out when it
is asked to (`fsync`), or after minutes. A copy of the image is the disk after a power cut.
"""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import shutil
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

_SIZE = 48 << 20
#: no metadata reaches the disk by time, and renames do not wait for data as ext4 otherwise lets them
_OPTIONS = "loop,commit=600,noauto_da_alloc"


@dataclass
class CutDisk:
    """A mounted disk.

    Attributes:
        folder: where it is mounted.
    """

    image: Path
    folder: Path
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def cut(self) -> Path:
        """An image of the disk as a power cut at this moment leaves it.

        Copied until two copies are equal: one that is made while the disk is written to is of no single moment.
        """
        target = self.image.with_name(f"cut{next(self._numbers)}.img")
        second = target.with_suffix(".again")
        for _ in range(100):
            for copy in (target, second):
                shutil.copyfile(self.image, copy)
            if filecmp.cmp(target, second, shallow=False):
                second.unlink()
                return target
        raise AssertionError("the disk is written to all the time")


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Generator[Path]:
    """The file system of an image. Raises PermissionError where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-o", _OPTIONS, str(image), str(folder)], capture_output=True, check=False)
    if not done or done.returncode != 0:
        raise PermissionError("mounting a file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def cut_disk(home: Path) -> Generator[CutDisk]:
    """A new disk in the folder `home`."""
    image, mkfs = home / "disk.img", shutil.which("mkfs.ext4")
    if mkfs is None:
        raise PermissionError("mkfs.ext4 is not here")
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run([mkfs, "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)], check=True)
    with mounted(image, home / "disk") as folder:
        yield CutDisk(image, folder)
