"""Theory beside measurement for one's own network, before it is trained: `inspect`."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from initlab import theory
from initlab.advice import evaluate_options, unpredicted
from initlab.advice.auto import candidates
from initlab.advice.options import unknown_parts
from initlab.api.advise import untrained_loss
from initlab.api.gains import ActivationLike
from initlab.api.look import Look, LossFunction, fitting_batch, look_at, require_two, unchanged
from initlab.api.network import graph_of
from initlab.core.tables import as_frame, as_html, as_text
from initlab.diagnosis import trainability
from initlab.diagnosis.rules.setting import describe_inputs, describe_output_cut
from initlab.diagnosis.setting import input_square, output_cut
from initlab.diagnosis.tokens import judge_tokens, look_at_tokens
from initlab.diagnosis.trainability import NOTHING_WRONG
from initlab.network.inputs import head
from initlab.network.state import preserve_state
from initlab.probes import AttentionLayers, Snapshot, StreamComparison, compare_stream, lag_peak, snapshot
from initlab.spec import Batch, Outlook, Prediction, Site

if TYPE_CHECKING:
    import pandas as pd

    from initlab.report.charts import Figure

#: examples of the pass from which the prediction takes its input moments
_EXAMPLES = 64
#: parameters up to which the candidates are drawn and evaluated; beyond, the customary one is named
_SMALL = 5_000_000
#: (heading, attribute of a layer's prediction and measurement)
_COLUMNS = (("q", "q"), ("correlation", "c"), ("log10 gradient²", "log10_gradient"), ("saturated", "saturated"))


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A network before training: what theory says, what a batch shows, the verdict, and what to try.

    Attributes:
        verdict: ``trainable``, ``marginal``, ``untrainable``, or ``not known`` where theory does not cover the network
            and nothing that was measured is wrong.
        reasons: of the verdict, the gravest first.
        remedies: what to do, as a call; empty where nothing has to be done.
        prediction, seen, outlook: theory, measurement and the outlook that they give.
        unknown: what the prediction does not cover.
        notes: what else there is to know: tied, frozen or unused parameters, equal layers.
        sites: every parameter.
        stream: of a transformer: theory and measurement of its residual stream, block by block (`stream.rows()`).
    """

    verdict: str
    reasons: tuple[str, ...]
    remedies: tuple[str, ...]
    prediction: Prediction
    seen: Snapshot
    outlook: Outlook
    unknown: str = ""
    notes: tuple[str, ...] = ()
    sites: tuple[Site, ...] = field(default=(), repr=False)
    stream: StreamComparison | None = field(default=None, repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each hidden layer: name, activation, and theory beside measurement."""
        said = {r.site: r for r in self.prediction.layers}
        after = {s.name: s.activation for s in self.sites}
        found: list[dict[str, Any]] = []
        for seen in self.seen.layers:
            row: dict[str, Any] = {"layer": seen.site, "activation": after.get(seen.site) or ""}
            for heading, key in _COLUMNS:
                row[f"{heading} (theory)"] = getattr(said.get(seen.site), key, math.nan)
                row[heading] = getattr(seen, key)
            row["off on the batch"] = seen.off
            found.append(row)
        return found

    def frame(self) -> pd.DataFrame:
        """`rows` as a pandas table."""
        return as_frame(self.rows())

    def plot(self) -> Figure | None:
        """Theory as a line and measurement as points over the hidden layers; None for fewer than two layers.

        A notebook shows the figure; `figure.standalone()` is the text of an SVG file.
        """
        from initlab.report.inspection import inspection_figure

        return inspection_figure(self.prediction, self.seen)

    def __repr__(self) -> str:
        return f"<inspection: {self.verdict}; {len(self.seen.layers)} hidden layers, loss {self.seen.loss:.3g}>"

    def __str__(self) -> str:
        return "\n".join(
            [
                *self._sentences(),
                "",
                as_text(self.rows()) or "no hidden layer with an activation was seen",
                *(["", as_text(self.stream.rows())] if self.stream is not None else []),
            ]
        ).rstrip()

    def _sentences(self) -> list[str]:
        lines = [f"{self.verdict}: {self.reasons[0]}", *(f"  {r}" for r in self.reasons[1:])]
        lines.append(f"loss before training {self.seen.loss:.4g}, mean square of the output {self.seen.output_q:.3g}")
        return lines + [f"try: {r}" for r in self.remedies] + [f"note: {n}" for n in self.notes] + self._of_stream()

    def _of_stream(self) -> list[str]:
        if self.stream is None:
            return []
        told = [f"stream: {s}" for s in self.stream.sentences]
        unknown = "; ".join(self.stream.unknown)
        return told + ([f"stream: theory does not cover {unknown}"] if unknown else [])

    def _repr_html_(self) -> str:
        lines = "<br>".join(html.escape(line) for line in self._sentences())
        blocks = as_html(self.stream.rows()) if self.stream is not None else ""
        return f"<p>{lines}</p>{as_html(self.rows())}{blocks}"


def inspect(
    model: nn.Module,
    batch: Any,
    *,
    loss: LossFunction | None = None,
    activation: ActivationLike | None = None,
    seed: int = 0,
    keep: tuple[str, ...] = (),
    frozen: bool = False,
) -> Inspection:
    """Looks at `model` as it stands, before training; `model` is left as it was.

    Args:
        batch: (inputs, targets), or a mapping of keyword arguments, on the model's device; a few dozen examples. Inputs
            alone, a tensor, are taken too: the loss is then half the mean square of the output.
        loss: of what the network returns and targets; as in `initialize`.
        activation: as in `initialize`.
        seed: of the candidates' draws. keep, frozen: as in `advise`, for the remedies.

    Returns:
        The inspection: print it, or see `frame()` and `plot()`.

    Example:
        >>> deep = nn.Sequential(*[m for _ in range(30) for m in (nn.Linear(32, 32), nn.Sigmoid())], nn.Linear(32, 3))
        >>> initlab.inspect(deep, (torch.randn(64, 32), torch.randint(3, (64,)))).verdict
        'untrainable'
    """
    given = fitting_batch(model, batch, loss)
    require_two(given.inputs, "batch")
    with preserve_state(model):
        seen = look_at(model, given.inputs, activation=activation, batches=lambda _i: given, seed=seed)
        graph = graph_of(model, given.inputs, most=_EXAMPLES)
        said = theory.predict(graph, seen.sites, theory.scales(model), seen.context)
        measured = snapshot(model, seen.sites, given, seen.context)
        silence = untrained_loss(model, given)
        outlook = trainability.judge(
            said, measured, untrained_loss=silence, lag_peak=lag_peak(model, seen.sites, seen.context)
        )
        outlook = judge_tokens(outlook, look_at_tokens(model, given.inputs))
    stream = _stream(model, given, seen)
    unknown = unknown_parts(seen.sites, said, stream_known=stream is not None and not stream.unknown)
    verdict, reasons = verdict_of(outlook, unknown)
    remedies: tuple[str, ...] = ()
    if verdict not in ("trainable", "not known"):
        remedies = _remedies(model, seen, seed=seed, silence=silence, keep=keep, frozen=frozen, verdict=verdict)
    return Inspection(
        verdict=verdict, reasons=reasons, remedies=remedies, prediction=said, seen=measured, outlook=outlook,
        unknown=unknown, notes=_notes(seen, given), sites=seen.sites, stream=stream,
    )  # fmt: skip


def _notes(seen: Look, given: Batch) -> tuple[str, ...]:
    setting = (describe_inputs(input_square(given.inputs)), describe_output_cut(output_cut(seen.sites, seen.context)))
    return (*seen.notes, *seen.at_start.equal, *seen.at_start.loud, *(s for s in setting if s))


def _stream(model: nn.Module, given: Batch, seen: Look) -> StreamComparison | None:
    count = AttentionLayers.EXAMPLES
    targets = None if given.targets is None else head(given.targets, count)
    return compare_stream(
        model, head(given.inputs, count), loss=lambda output: given.loss(output, targets), sites=seen.sites,
        context=seen.context,
    )  # fmt: skip


def verdict_of(outlook: Outlook, unknown: str) -> tuple[str, tuple[str, ...]]:
    """Verdict and reasons: what theory does not cover is not called trainable."""
    if not unknown:
        return outlook.verdict, outlook.reasons
    if outlook.verdict == "trainable":
        faults = tuple(r for r in outlook.reasons if r != NOTHING_WRONG)
        if faults:
            return "not known", (*faults, f"theory does not cover {unknown}")
        return "not known", (f"theory does not cover {unknown}; what was measured on the batch shows no fault",)
    return outlook.verdict, (*outlook.reasons, f"theory does not cover {unknown}")


def _remedies(
    model: nn.Module, seen: Look, *, seed: int, silence: float, keep: tuple[str, ...], frozen: bool, verdict: str
) -> tuple[str, ...]:
    """The initialisation that looks best before training, as a call."""
    sites, context = seen.sites, seen.context
    if sum(math.prod(s.shape) for s in sites) > _SMALL:
        first = candidates(sites, context)[0]
        return (f"{_call(first.initializer.name)}: {first.why} (customary, not evaluated)",)
    with unchanged(model):
        options = evaluate_options(
            model, sites, context, activation=context.activation.name, seed=seed, untrained_loss=silence, keep=keep,
            frozen=frozen,
        )  # fmt: skip
    usable = [o for o in options if o.outlook is not None]
    if not usable:
        return ()
    best = min(usable, key=lambda o: o.risk)
    assert best.outlook is not None
    if best.outlook.verdict == verdict == "untrainable" and not unpredicted(sites, options):
        return (
            f"no initialisation makes it trainable (the best, {best.init}, is {best.outlook.verdict} too): take fewer "
            "layers, residual branches, norms or another activation",
        )
    return (f"{_call(best.init)}: {best.why}; then {best.outlook.verdict}",)


def _call(init: str) -> str:
    return f"initlab.initialize(model, {init!r}, data=[(inputs, targets)])"
