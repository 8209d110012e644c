"""The `Probe` type: a measurement of one layer at a probe step, and what it may read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from initlab.spec.sites import Site

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayerReading:
    """One layer in a training step, after the backward pass and before clipping and the update.

    Attributes:
        site: the layer's weight.
        weight: its values W.
        weight_gradient: ∂loss/∂W; None where no gradient reaches it.
        received: what its activation receives, h; the layer's output where no activation follows.
        sent: what its activation sends on, φ(h); the layer's output likewise.
        gradient: ∂loss/∂h over the batch; None where no gradient reaches it.

    The tensors are those of the training itself, detached. A probe reads them and writes to none.
    """

    site: Site
    weight: Tensor
    weight_gradient: Tensor | None
    received: Tensor
    sent: Tensor
    gradient: Tensor | None


class Probe(Protocol):
    """Measures one layer: name of a statistic → a scalar tensor, on the layer's device.

    It is called at each probe step, once for each weight whose layer was called. An empty mapping says that there is
    nothing to measure on this layer.
    """

    def __call__(self, layer: LayerReading, /) -> Mapping[str, Tensor]: ...


ProbeFactory = Callable[[], Probe]
