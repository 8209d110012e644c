"""Checks the installed versions of Python and of the packages against what initlab requires."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from initlab.operations.doctor.line import Line, ok, problem, warning

#: packages whose versions are shown
_SHOWN = ("torch", "torchvision", "mlflow", "optuna", "hydra-core", "omegaconf", "cronsim", "sqlalchemy")
_INSTALL = "pip install -c constraints.txt -e . (a checkout), or pip install --upgrade initlab"


def versions() -> Iterator[Line]:
    """Check every requirement of initlab against the installed packages."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in metadata.requires("initlab") or []]
    except metadata.PackageNotFoundError:
        yield warning("versions", "initlab is not installed as a package: its requirements are unknown", _INSTALL)
        return
    wrong: list[str] = []
    found: dict[str, str] = {}
    for one in needed:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            found[one.name] = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is not installed")
            continue
        if not one.specifier.contains(found[one.name].partition("+")[0], prereleases=True):
            wrong.append(f"{one.name} {found[one.name]} is not {one.specifier}")
    for text in wrong:
        yield problem("versions", text, _INSTALL)
    asked = str(metadata.metadata("initlab")["Requires-Python"] or "")
    from packaging.specifiers import SpecifierSet

    python = sys.version.split()[0]
    if not SpecifierSet(asked).contains(python, prereleases=True):
        yield problem("versions", f"Python {python} is not {asked}", "make the environment with another Python")
    shown = ", ".join(f"{name} {_version(name)}" for name in _SHOWN if _version(name))
    if not wrong:
        yield ok("versions", f"Python {python}, {shown}")


def torch_imports() -> Iterator[Line]:
    """Check that torchvision's compiled operations run with this torch: two different builds fail.

    Only its library is loaded: importing the package takes as long as importing torch.
    """
    try:
        import torch

        place = find_spec("torchvision")
        if place is None or place.origin is None:
            raise ImportError("torchvision is not installed")
        for library in Path(place.origin).parent.glob("_C*"):
            if library.suffix in (".so", ".pyd", ".dylib"):
                torch.ops.load_library(library)
        torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        yield problem("torch", f"torch and torchvision are not compatible ({text})", "install both from one index")
        return
    yield ok("torch", f"torch {torch.__version__} and torchvision {_version('torchvision')} are compatible")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
