"""Names of the train, val and test parts of a data set, in the spellings that downloads use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from initlab.errors import DataError
from initlab.spec import PartName

#: spellings without case, spaces, hyphens and underscores
_SPELLINGS: dict[PartName, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
#: words that may follow: training_set, Test Data, val-images
_ENDINGS = ("", "set", "data", "split", "images", "imgs")


def part_of(name: str) -> PartName | None:
    """The part that `name` stands for, None where it is no name of a part.

    Example:
        >>> [part_of(n) for n in ("Training", "test_set", "VALID", "dev", "cat")]
        ['train', 'test', 'val', 'val', None]
    """
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    return next(
        (part for part, words in _SPELLINGS.items() for w in words for end in _ENDINGS if plain == w + end), None
    )


def spellings(part: PartName) -> tuple[str, ...]:
    """The spellings of `part`, in lower case and without the words that may follow."""
    return _SPELLINGS[part]


def parts_among(places: Iterable[Path], *, key: str = "data.path") -> dict[PartName, Path]:
    """Those of `places` whose names are those of parts, by part.

    Raises:
        DataError: two of them mean the same part.
    """
    found: dict[PartName, Path] = {}
    for place in places:
        part = part_of(place.name)
        if part is not None and part in found:
            raise DataError(
                key,
                str(place.parent),
                f"{found[part].name} and {place.name} both name the {part} part; put one into the other, or rename it",
            )
        if part is not None:
            found[part] = place
    return found
