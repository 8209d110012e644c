"""Finds which array of an ``.npz`` file holds what, by its name: examples or labels, of which part."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.errors import DataError
from initlab.spec import PartName
from initlab.tasks.part_names import part_of

#: (x or y, part) → name of the array
Roles = dict[tuple[str, PartName], str]
HINT = "write it with numpy.savez(path, x=images, y=labels)"
#: words for examples and labels, those that win over the others first
_WORDS = (
    {"x": "x", "y": "y"},
    {
        "images": "x", "image": "x", "imgs": "x", "img": "x", "data": "x", "features": "x", "inputs": "x", "input": "x",
        "samples": "x", "labels": "y", "label": "y", "targets": "y", "target": "y",
    },
)  # fmt: skip


def roles_of(names: Sequence[str], where: str) -> Roles:
    """What each array of the file `where` holds, by its name: ``x_train``, ``val_images``, ``TestY``, ``labels``.

    ``x`` and ``y`` win over other words. `numpy.savez` calls arrays without a name ``arr_0`` and ``arr_1``.

    Raises:
        DataError: two arrays for one thing, nothing to train on, or examples without labels.
    """
    roles: Roles = {}
    for words in _WORDS:
        found: Roles = {}
        for name in names:
            role = _role(name, words)
            if role is None or role in roles:
                continue
            if role in found:
                what = f"{found[role]} and {name} both hold the {role[1]} part; leave one out"
                raise DataError("data.path", where, what)
            found[role] = name
        roles |= found
    if not roles and sorted(names) == ["arr_0", "arr_1"]:
        return {("x", "train"): "arr_0", ("y", "train"): "arr_1"}
    missing = [kind for kind in ("x", "y") if (kind, "train") not in roles]
    if missing:
        held = ", ".join(names) or "nothing"
        raise DataError("data.path", where, f"lacks {' and '.join(missing)}, it holds {held}; {HINT}")
    for (kind, part), name in roles.items():
        other = "y" if kind == "x" else "x"
        if (other, part) not in roles:
            wanted = other + name[1:] if name[0].lower() == kind else f"{other}_{part}"
            raise DataError("data.path", where, f"lacks {wanted}: {name} and {wanted} go together")
    return roles


def _role(name: str, words: dict[str, str]) -> tuple[str, PartName] | None:
    plain = "".join(c for c in name.lower() if c.isalnum())
    for word, kind in words.items():
        if plain == word:
            return kind, "train"
        for rest in (plain.removeprefix(word), plain.removesuffix(word)):
            part = part_of(rest) if rest != plain else None
            if part is not None:
                return kind, part
    return None
