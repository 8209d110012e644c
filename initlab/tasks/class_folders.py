"""A folder of the user's own files with one sub-folder a class, or with such folders in train, val and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.links import refuse_links_out
from initlab.tasks.part_names import part_of, parts_among

_NAMED = 5  # folders or kinds of files that a message names
#: what systems and archivers leave in folders
_SYSTEM = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


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
        inner: name of each part's folder inside a class folder, where the classes are the outer folders
            (``cat/train/x.png``); empty where the parts are.
    """

    homes: dict[PartName, Path]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    inner: dict[PartName, dict[str, str]] = field(default_factory=dict)

    def folder(self, part: PartName, name: str) -> Path | None:
        """The folder of the class `name` in `part`, None where there is none."""
        home = self.homes[part] / name
        if not self.inner:
            return home if home.is_dir() else None
        inner = self.inner[part].get(name)
        return None if inner is None else home / inner


def find_class_folders(path: Path, kinds: FileKinds, *, key: str = "data.path") -> ClassFolders:
    """The parts and classes below `path`.

    Folders whose names are those of parts (``train``, ``Training``, ``test_set``, ``valid``: see `part_names`) and
    which hold folders are parts; one with files alone is a class like any other. Parts inside the class folders
    (``cat/train``) are found too, and parts in the only folder of `path`.

    Raises:
        DataError: no folder, fewer than two classes, two folders for one part, or parts without one to train on.
    """
    folder = path.expanduser()
    what = f"one folder of {kinds.noun} per class"
    if not folder.is_dir():
        why = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(key, str(path), f"{why}; give a folder that holds {what}")
    folder, entered = _enter(folder, kinds)
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
    inside = _parts_in_classes(folder, class_names, kinds, key) if homes == {"train": folder} else {}
    # the folder around the parts too; it is the home of the training part where there are none
    for home in dict.fromkeys((folder, *homes.values())):
        loose = _loose(home, kinds)
        if loose:
            where = home.name or str(home)
            notes = (
                *notes,
                f"{len(loose)} {kinds.noun} that lie in no class folder of {where} are left out: {_few(loose)}",
            )
    return ClassFolders(
        homes=dict.fromkeys(inside, folder) if inside else homes,
        class_names=class_names,
        notes=(*entered, *notes),
        inner=inside,
    )


def labelled_files(
    found: ClassFolders, kinds: FileKinds, *, key: str = "data.path"
) -> tuple[dict[PartName, list[tuple[Path, str]]], tuple[str, ...]]:
    """The files of each part and their classes, by class and path; and notes on what is left out.

    Args:
        found: the folders.
        kinds: which files are meant.
        key: of the configuration, for errors.

    Raises:
        DataError: a class that the training part lacks, a part or a class without files, a link that leads out.
    """
    files: dict[PartName, list[tuple[Path, str]]] = {}
    others: list[Path] = []
    notes: list[str] = []
    for part, home in found.homes.items():
        strange = [d.name for d in folders_of(home) if d.name not in found.class_names]
        if strange:
            raise DataError(key, str(home), f"holds classes that {found.homes['train'].name}/ lacks: {_few(strange)}")
        files[part] = []
        for name in found.class_names:
            wanted, rest = _files_of(found.folder(part, name), home, kinds, key)
            if part == "train" and not wanted:
                counts = Counter(p.suffix.lower() or "without a suffix" for p in rest)
                held = f" (only {_few([f'{n} {s}' for s, n in counts.most_common()])})" if counts else ""
                what = f"holds no {kinds.noun}{held}; put {', '.join(kinds.usual)} files there, or remove the folder"
                raise DataError(key, str(found.folder(part, name) or home / name), what)
            files[part].extend((p, name) for p in wanted)
            others += rest
        if not files[part]:
            loose = _loose(home, kinds)
            held = f"{len(loose)} {kinds.noun} in no class folder" if loose else f"no {kinds.noun}"
            what = f"holds {held}; put a folder of {kinds.noun} per class there, or remove it"
            raise DataError(key, str(home), what)
        held_names = {name for _, name in files[part]}
        lacking = [name for name in found.class_names if name not in held_names]
        if lacking:
            notes.append(f"the {part} part has no {kinds.noun} of {_few(lacking)}")
    counts = Counter(p.suffix.lower() or "without a suffix" for p in others)
    if counts:
        kinds_left = _few([f"{n} {s}" for s, n in counts.most_common()])
        notes.append(f"files that are no {kinds.noun} are left out: {kinds_left}")
    return files, tuple(notes)


def folders_of(path: Path) -> list[Path]:
    """The folders in `path`, sorted; names that begin with a dot are passed over."""
    return sorted(d for d in path.iterdir() if d.is_dir() and not d.name.startswith(".") and d.name not in _SYSTEM)


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


def _enter(folder: Path, kinds: FileKinds) -> tuple[Path, tuple[str, ...]]:
    """The folder with the parts, where it is the only one in `folder` or in one such; else `folder`."""
    at = folder
    while True:
        inside = folders_of(at)
        if at is not folder and any(part_of(d.name) == "train" and folders_of(d) for d in inside):
            return at, (f"read from {at.relative_to(folder)}, the only folder in {folder.name or folder}",)
        # one called train is the training part itself
        if len(inside) != 1 or part_of(inside[0].name) is not None or _loose(at, kinds):
            return folder, ()
        at = inside[0]


def _parts_in_classes(
    folder: Path, class_names: Sequence[str], kinds: FileKinds, key: str
) -> dict[PartName, dict[str, str]]:
    """The parts inside the class folders, and their names in each; none where no class folder holds a training part.

    Raises:
        DataError: only some of the class folders have them, or they hold classes themselves.
    """
    inside = {name: parts_among(folders_of(folder / name), key=key) for name in class_names}
    # a class vehicles with the folders train and bus has no parts
    split = [n for n, p in inside.items() if "train" in p and (len(p) > 1 or len(folders_of(folder / n)) == 1)]
    if not split:
        return {}
    first = inside[split[0]]["train"]
    if folders_of(first) and not _loose(first, kinds):
        what = f"holds {_few(split)}, each with {first.name} and classes in it; give one of them, {key}={first.parent}"
        raise DataError(key, str(folder), what)
    other = [name for name in class_names if name not in split]
    if other:
        what = f"{_few(split)} hold {first.name}, {_few(other)} do not; write every class the same way"
        raise DataError(key, str(folder), what)
    for name, parts in inside.items():
        beside = [d.name for d in folders_of(folder / name) if d not in parts.values() and _holds(d, kinds)]
        loose = _loose(folder / name, kinds)
        if beside or loose:
            what = f"holds {_few(beside or loose)} beside {first.name}; put every file into a part"
            raise DataError(key, str(folder / name), what)
    kept: dict[PartName, dict[str, str]] = {}
    for part in ("train", "val", "test"):
        named = {name: parts[part].name for name, parts in inside.items() if part in parts}
        if named:
            kept[part] = named
    return kept


def _files_of(folder: Path | None, home: Path, kinds: FileKinds, key: str) -> tuple[list[Path], list[Path]]:
    """The files in and below `folder` that are of the kind, and the others, sorted."""
    if folder is None:
        return [], []
    files = sorted(p for p in folder.rglob("*") if _is_visible(p, home) and p.is_file())
    wanted = [p for p in files if kinds.holds(p)]
    refuse_links_out(wanted, home, key=key)
    return wanted, [p for p in files if not kinds.holds(p)]


def _loose(home: Path, kinds: FileKinds) -> list[str]:
    """Names of the files that lie in `home` itself."""
    return sorted(p.name for p in home.iterdir() if kinds.holds(p) and not p.name.startswith(".") and p.is_file())


def _holds(folder: Path, kinds: FileKinds) -> bool:
    return any(kinds.holds(p) and _is_visible(p, folder) for p in folder.rglob("*"))


def _is_visible(path: Path, home: Path) -> bool:
    return not any(piece.startswith(".") or piece in _SYSTEM for piece in path.relative_to(home).parts)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
