"""A folder of the user's own files with one sub-folder a class, or with such folders in train, val and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.links import refuse_links_out
from initlab.tasks.part_names import parts_among

_NAMED = 5  # folders or kinds of files that a message names


@dataclass(frozen=True, kw_only=True)
class FileKinds:
    """What the files of a data set are called.

    Attributes:
        noun: in the plural, for messages.
        usual: formats that a message proposes.
        suffixes: in lower case, of files that are read.
        undecoded: likewise, of files of the same nature that the decoder most likely does not know. They are tried.
    """

    noun: str
    usual: Sequence[str]
    suffixes: Collection[str]
    undecoded: Collection[str]

    def holds(self, path: Path) -> bool:
        """Whether `path` is called like one of these files."""
        suffix = path.suffix.lower()
        return suffix in self.suffixes or suffix in self.undecoded

    def how_to_convert(self, names: Iterable[str], to: str) -> str:
        """Advice for the files among `names` that the decoder does not know; empty where there are none."""
        suffixes = sorted({s[1:] for n in names if (s := Path(n).suffix.lower()) in self.undecoded})
        return f"convert {' and '.join(suffixes)} to {to}" if suffixes else ""


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """Where the files of each part lie.

    Attributes:
        homes: folder of each part; val and test only where the data set has them.
        class_names: in alphabetical order.
        notes: what lies beside the parts and is left out.
    """

    homes: dict[PartName, Path]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_class_folders(path: Path, kinds: FileKinds, *, key: str = "data.path") -> ClassFolders:
    """The parts and classes below `path`.

    Folders whose names are those of parts (``train``, ``Training``, ``test_set``, ``valid``: see `part_names`) and
    which hold folders are parts; one with files alone is a class like any other.

    Raises:
        DataError: no folder, fewer than two classes, two folders for one part, or parts without one to train on.
    """
    folder = path.expanduser()
    what = f"one folder of {kinds.noun} per class"
    if not folder.is_dir():
        why = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(key, str(path), f"{why}; give a folder that holds {what}")
    homes, notes = _parts(folder, kinds, key)
    class_names = tuple(d.name for d in folders_of(homes["train"]))
    if len(class_names) < 2:
        inner = homes["train"] / class_names[0] if class_names else None
        deeper = inner is not None and len(folders_of(inner)) > 1
        raise DataError(
            key,
            str(path),
            f"holds {len(class_names)} class folder(s) in {homes['train']}; a classifier needs at least 2, {what}"
            + (f" (did you mean {key}={inner}?)" if deeper else ""),
        )
    # the folder around the parts too; it is the home of the training part where there are none
    for home in dict.fromkeys((folder, *homes.values())):
        loose = _loose(home, kinds)
        if loose:
            where = home.name or str(home)
            notes = (
                *notes,
                f"{len(loose)} {kinds.noun} that lie in no class folder of {where} are left out: {_few(loose)}",
            )
    return ClassFolders(homes=homes, class_names=class_names, notes=notes)


def labelled_files(
    home: Path, class_names: Collection[str], kinds: FileKinds, *, train: str | None = None, key: str = "data.path"
) -> list[tuple[Path, str]]:
    """The files of a part and their classes, by class and path.

    Args:
        home: folder of the part.
        class_names: of the data set.
        kinds: which files are meant.
        train: name of the folder of the training part, where `home` is another one; None where `home` is the training
            part, in which every class must have files.
        key: of the configuration, for errors.

    Raises:
        DataError: a class that the training part lacks, a part or a class without files, a link that leads out.
    """
    strange = [d.name for d in folders_of(home) if d.name not in class_names]
    if strange:
        raise DataError(key, str(home), f"holds classes that {train or home.name}/ lacks: {_few(strange)}")
    found: list[tuple[Path, str]] = []
    for name in class_names:
        files = sorted(p for p in (home / name).rglob("*") if _is_visible(p, home) and p.is_file())
        wanted = [p for p in files if kinds.holds(p)]
        refuse_links_out(wanted, home, key=key)
        if train is None and not wanted:
            others = Counter(p.suffix.lower() or "without a suffix" for p in files)
            held = f" (only {_few([f'{n} {s}' for s, n in others.most_common()])})" if others else ""
            what = f"holds no {kinds.noun}{held}; put {', '.join(kinds.usual)} files there, or remove the folder"
            raise DataError(key, str(home / name), what)
        found.extend((p, name) for p in wanted)
    if not found:
        held = f"{len(loose)} {kinds.noun} in no class folder" if (loose := _loose(home, kinds)) else f"no {kinds.noun}"
        raise DataError(key, str(home), f"holds {held}; put a folder of {kinds.noun} per class there, or remove it")
    return found


def folders_of(path: Path) -> list[Path]:
    """The folders in `path`, sorted; names that begin with a dot are passed over."""
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith("."))


# ------------------------------------------------------------------ pieces
def _parts(folder: Path, kinds: FileKinds, key: str) -> tuple[dict[PartName, Path], tuple[str, ...]]:
    inside = folders_of(folder)
    # a folder called train with files and no folders in it is a class like any other
    parts = parts_among((d for d in inside if folders_of(d)), key=key)
    named = parts_among(inside, key=key) if parts else {}
    others = [d for d in inside if d not in named.values()]
    rivals = [d.name for d in others if _holds(d, kinds)] if parts else []
    if "train" not in parts:
        names = " and ".join(d.name for d in named.values())
        if parts and not rivals:
            raise DataError(key, str(folder), f"holds {names}, but no train; rename the one to train on to train")
        if parts and {d.name for home in parts.values() for d in folders_of(home)} & set(rivals):
            raise DataError(key, str(folder), f"holds {names} beside the classes {_few(rivals)}; put these into train/")
        return {"train": folder}, ()
    if rivals and len(named) == 1:
        raise DataError(
            key,
            str(folder),
            f"holds {parts['train'].name} with folders in it beside {_few(rivals)}: where it is the training part, move"
            " these away; where it is a class, rename it",
        )
    notes = (f"beside the parts, {_few([d.name for d in others])} is left out",) if others else ()
    # one of them that holds no folders is refused by name when its files are listed
    return {"train": parts["train"], **{p: d for p, d in named.items() if p != "train"}}, notes


def _loose(home: Path, kinds: FileKinds) -> list[str]:
    """Names of the files that lie in `home` itself."""
    return sorted(p.name for p in home.iterdir() if kinds.holds(p) and not p.name.startswith(".") and p.is_file())


def _holds(folder: Path, kinds: FileKinds) -> bool:
    return any(kinds.holds(p) and _is_visible(p, folder) for p in folder.rglob("*"))


def _is_visible(path: Path, home: Path) -> bool:
    return not any(piece.startswith(".") for piece in path.relative_to(home).parts)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
