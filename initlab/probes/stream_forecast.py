"""Theory beside measurement of a transformer's stream, block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from initlab.network.attention_calls import attention_calls
from initlab.network.state import preserve_state
from initlab.probes.stream import StreamLook, look_at_stream
from initlab.spec import InitContext, Site, StreamForecast
from initlab.theory.transformer.forecast import forecast_of, survey_stream

#: share of a gradient's square along its token beyond which a norm before it takes away more than theory neglects
_RADIAL = 0.3


@dataclass(frozen=True, kw_only=True)
class StreamComparison:
    """A transformer's stream before training.

    Attributes:
        look: measured on a batch. forecast: of theory; None where the network's residual stream is not recognised.
    """

    look: StreamLook
    forecast: StreamForecast | None

    @property
    def unknown(self) -> tuple[str, ...]:
        """What theory does not give."""
        if self.forecast is None:
            return ("this network's residual stream, which is not recognised",)
        return self.forecast.unknown

    @property
    def sentences(self) -> tuple[str, ...]:
        """What follows from theory."""
        return self.forecast.sentences if self.forecast is not None else ()

    def rows(self) -> list[dict[str, Any]]:
        """A row for the start of the stream and for each block."""
        names = ("start", *self.look.blocks)
        said = self.forecast.blocks if self.forecast is not None and len(self.forecast.blocks) == len(names) else None
        found: list[dict[str, Any]] = []
        for i, name in enumerate(names):
            row: dict[str, Any] = {"block": name}
            theory = said[i] if said is not None and said[i].claimed else None
            measured = {
                "mean_square": self.look.mean_square[i], "cosine": self.look.cosine[i],
                "gradient": self.look.gradient[i],
                "entropy_ratio": self.look.entropy_ratio[i - 1] if i else float("nan"),
                "logit_std": self.look.logit_std[i - 1] if i else float("nan"),
            }  # fmt: skip
            for key, value in measured.items():
                known = theory is not None and (key != "gradient" or theory.gradient_claimed)
                row[f"predicted_{key}"] = float(getattr(theory, key)) if known else float("nan")
                row[f"measured_{key}"] = value
            found.append(row)
        return found


def compare_stream(
    model: nn.Module, inputs: Any, *, loss: Callable[[Any], Tensor] | None = None, sites: tuple[Site, ...] = (),
    context: InitContext | None = None,
) -> StreamComparison | None:  # fmt: skip
    """Predicts and measures the stream of `model` on a few examples; None where nothing in it attends.

    The gradient's shape behind the last block (how it differs between tokens) is taken from the measurement; its size
    at every block before is predicted.

    Args:
        inputs: two examples or more.
        loss: of what the network returns; without it there is no gradient.
        sites, context: of the network, where they are known.
    """
    with preserve_state(model):
        model.eval()
        if not attention_calls(model, inputs):
            return None
    look = look_at_stream(model, inputs, loss=loss)
    if look is None:
        return None
    found = survey_stream(model, inputs, sites=sites, context=context)
    if found is None:
        return StreamComparison(look=look, forecast=None)
    forecast = forecast_of(found, end=look.end)
    if look.radial > _RADIAL and found.stream.branches[-1].after.kind in ("layer", "rms"):
        blocks = tuple(replace(b, gradient_claimed=False) for b in forecast.blocks)
        told = "a gradient along the tokens themselves, which the last norm takes away"
        forecast = replace(forecast, blocks=blocks, unknown=(*forecast.unknown, told))
    return StreamComparison(look=look, forecast=forecast)
