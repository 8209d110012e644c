"""The `Entry` type: one line of the listing of data sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set.

    Attributes:
        name: as in ``data=<name>``.
        title: what it shows, in words.
        examples: how many there are in all parts, None where that depends on the user's files.
        classes: how many, None likewise.
        shape: of one example: (C, H, W), (F, T) or (T,), None likewise.
        megabytes: to download, 0 where nothing is.
        licence: of the data.
        source: URL or package.
        present: whether it can be opened on this machine as it is.
        tokens: whether the classes are tokens of a text.
        where: the place it lies at or would be looked for; for the user's own files, what to type.
    """

    name: str
    title: str
    examples: int | None
    classes: int | None
    shape: tuple[int, ...] | None
    megabytes: int
    licence: str
    source: str
    present: bool
    where: str
    tokens: bool = False

    @property
    def size(self) -> str:
        """Examples, classes, shape of an example and download in words."""
        if self.examples is None or self.shape is None:
            return "any size"
        shape = " x ".join(map(str, self.shape))
        fetched = f", {self.megabytes} MB to fetch" if self.megabytes else ""
        answers = "a number each" if self.classes == 1 else f"{self.classes} {'tokens' if self.tokens else 'classes'}"
        return f"{self.examples:,} examples of {shape}, {answers}{fetched}"
