"""What the public functions return: as initlab's own objects, with a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initlab.core.tables import as_frame, as_html, as_text
from initlab.spec import Prediction, Site

if TYPE_CHECKING:
    import pandas as pd


class Sites(tuple[Site, ...]):
    """The parameters of a network, in the order of the forward pass: a tuple of `Site` that prints as a table."""

    __slots__ = ()

    def rows(self) -> list[dict[str, Any]]:
        """A row for each parameter."""
        return [
            {
                "parameter": s.name, "role": s.role, "kind": s.kind, "shape": "×".join(map(str, s.shape)),
                "fan_in": s.fan_in, "fan_out": s.fan_out, "fed by": s.activation_before or ("norm" if s.normed else ""),
                "feeds": s.activation or "",
                "branch": "" if s.branch is None else f"{s.branch.index}.{s.branch.position}",
            }
            for s in self
        ]  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas table."""
        return as_frame(self.rows())

    def __repr__(self) -> str:
        heads = sum(s.role == "head" for s in self)
        return f"<{len(self)} parameters, {heads} of them heads; print() shows them>"

    def __str__(self) -> str:
        return as_text(self.rows())

    def _repr_html_(self) -> str:
        return as_html(self.rows())


class PredictedNetwork(Prediction):
    """A prediction that prints as a table, a line for each hidden layer."""

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas table."""
        return as_frame(self.rows())

    def __str__(self) -> str:
        return f"{self!r}\n{as_text(self.rows())}".rstrip()

    def _repr_html_(self) -> str:
        return as_html(self.rows())
