"""Inspects one network at initialisation: predicted beside measured, and a verdict, without any update."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from initlab import inits, report, tracking
from initlab.errors import InitlabError, StoreError
from initlab.network.state import preserve_state
from initlab.probes import AttentionLayers, Snapshot, StreamComparison, compare_stream
from initlab.probes.jacobian import Spectrum, condition_number, layer_jacobians, tangent_kernel
from initlab.report.note import shell_line
from initlab.run import process
from initlab.run.mean_fields import mean_fields, scale_advice
from initlab.run.prepare import Prepared, foresee, prepare
from initlab.run.record import header, opening_files
from initlab.spec import (
    Batch,
    Experiment,
    InspectSettings,
    Outlook,
    Prediction,
    Record,
    RunStatus,
)
from initlab.theory import MeanField


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Everything that `inspect` found out about one network.

    Attributes:
        spectra: Jacobians from layer to layer and, under "", from the first hidden layer to the last.
        ntk_condition: of the tangent kernel of a few examples; NaN where it was not asked for.
        gradient_quotient: MetaInit's (Dauphin & Schoenholz, NeurIPS 2019), 0 for a quadratic loss; NaN likewise.
        fields: the mean field of each activation of a plain network, at the scale it is initialised with.
        advice: sentences on the activation's own fixed and critical points.
        stream: theory and measurement of a transformer's residual stream; None for other networks.
    """

    experiment: Experiment
    prepared: Prepared
    prediction: Prediction
    seen: Snapshot
    outlook: Outlook
    spectra: tuple[Spectrum, ...]
    ntk_condition: float
    gradient_quotient: float
    fields: tuple[MeanField, ...]
    advice: tuple[str, ...]
    seconds: float
    stream: StreamComparison | None = None

    def numbers(self) -> dict[str, float]:
        """The scalars, by metric key; what is not finite is left out, as a tracker wants it."""
        end_to_end = next((s for s in self.spectra if s.site == ""), None)
        found = {
            "inspect/score": self.outlook.score,
            "inspect/loss": self.seen.loss,
            "inspect/output_q": self.seen.output_q,
            "inspect/output_c": self.seen.output_c,
            "inspect/trainable_depth": self.prediction.trainable_depth,
            "inspect/log_q_sd": self.prediction.log_q_sd,
            "inspect/born_dead": self.prediction.born_dead,
            "inspect/ntk_condition": self.ntk_condition,
            "inspect/gradient_quotient": self.gradient_quotient,
            "inspect/jacobian_mean_square": end_to_end.mean_square if end_to_end else math.nan,
            "inspect/jacobian_condition": end_to_end.condition if end_to_end else math.nan,
            "inspect/isometry": end_to_end.isometry if end_to_end else math.nan,
        }
        return {k: v for k, v in found.items() if math.isfinite(v)}

    def layer_numbers(self) -> list[tuple[int, dict[str, float]]]:
        """(position, metrics) of each hidden layer: theory under ``predicted/``, measurement under ``measured/``."""
        said = {r.site: r for r in self.prediction.layers}
        spectra = {s.site: s for s in self.spectra if s.site}
        found: list[tuple[int, dict[str, float]]] = []
        for position, row in enumerate(self.seen.layers):
            metrics = {
                "measured/q": row.q,
                "measured/c": row.c,
                "measured/log10_gradient": row.log10_gradient,
                "measured/saturated": row.saturated,
                "measured/off": row.off,
                "measured/effective_rank": row.effective_rank,
                "measured/grad_norm": row.grad_norm,
            }
            theory = said.get(row.site)
            if theory is not None:
                metrics |= {
                    "predicted/q": theory.q,
                    "predicted/c": theory.c,
                    "predicted/saturated": theory.saturated,
                    "predicted/log10_gradient": theory.log10_gradient,
                    "predicted/chi": theory.chi,
                }
            spectrum = spectra.get(row.site)
            if spectrum is not None:
                metrics |= {
                    "measured/jacobian_mean_square": spectrum.mean_square,
                    "measured/jacobian_condition": spectrum.condition,
                }
            found.append((position, {k: v for k, v in metrics.items() if math.isfinite(v)}))
        return found


def block_numbers(stream: StreamComparison | None) -> list[tuple[int, dict[str, float]]]:
    """(block, metrics) of a transformer's stream, the start as block 0; empty for other networks."""
    rows = stream.rows() if stream is not None else []
    return [
        (
            i,
            {
                f"stream/{key}": value for key, value in row.items()
                if isinstance(value, float) and math.isfinite(value)
            },
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip


def inspect(experiment: Experiment, settings: InspectSettings) -> Inspection:
    """Build, initialise, predict and measure one network. Writes nothing anywhere."""
    begun = time.perf_counter()
    with process.settings(experiment):
        prepared = prepare(experiment)
        forecast = foresee(prepared)
        batch = _batch(prepared, settings.examples)
        spectra: tuple[Spectrum, ...] = ()
        if settings.jacobian:
            few = batch.inputs[:8]
            spectra = layer_jacobians(prepared.model, prepared.sites, few, seed=experiment.seed)
        kernel_condition = math.nan
        if settings.ntk_examples > 1:
            inputs = batch.inputs[: settings.ntk_examples]
            kernel_condition = condition_number(tangent_kernel(prepared.model, inputs, seed=experiment.seed))
        quotient = _gradient_quotient(prepared, batch) if settings.gradient_quotient else math.nan
        stream = _stream(prepared, batch)
    fields = mean_fields(prepared, forecast.prediction)
    return Inspection(
        experiment=experiment,
        prepared=prepared,
        prediction=forecast.prediction,
        seen=forecast.seen,
        outlook=forecast.outlook,
        spectra=spectra,
        ntk_condition=kernel_condition,
        gradient_quotient=quotient,
        fields=tuple(field for _, field in fields),
        advice=scale_advice(fields),
        seconds=time.perf_counter() - begun,
        stream=stream,
    )


def record(
    inspection: Inspection,
    *,
    workdir: Path,
    extra_tags: Mapping[str, str] | None = None,
    todo: Sequence[tuple[str, str]] = (),
) -> tuple[str, str, str]:
    """Keep an inspection as a run of kind ``inspect``: metrics by layer (step = layer), figures, JSON, note.

    Args:
        inspection: to be kept.
        workdir: of the store and the spool.
        extra_tags: of the run.
        todo: (command, reason) of what to do next, for its page.

    Returns:
        The run's id, the store's address, and the tracker's note ("" where all is well).
    """
    experiment, prepared = inspection.experiment, inspection.prepared
    head = header(experiment, prepared, kind="inspect")
    head = replace(head, name=f"inspect-{head.name}", tags={**head.tags, **(extra_tags or {})})
    sink = tracking.start(head, experiment.tracking, workdir=workdir, files=opening_files(experiment, prepared))
    status: RunStatus = "failed"
    try:
        now = time.time_ns() // 1_000_000
        serial = 0
        for position, metrics in [*inspection.layer_numbers(), *block_numbers(inspection.stream)]:
            sink.write(Record(serial=serial, step=position, epoch=0.0, time_ms=now, metrics=metrics))
            serial += 1
        sink.write(Record(serial=serial, step=0, epoch=0.0, time_ms=now, metrics=inspection.numbers()))
        sink.tag({"initlab.verdict": inspection.outlook.verdict, "mlflow.note.content": note(inspection)})
        if experiment.tracking.enabled:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                (folder / "inspect.json").write_text(json.dumps(as_json(inspection), indent=1))
                sink.artifact(folder / "inspect.json")
                for path, place in report.write_inspection(
                    inspection.prediction, inspection.seen, folder, name=experiment.name, outlook=inspection.outlook,
                    advice=inspection.advice, todo=todo,
                    again=shell_line(experiment.overrides, "python -m initlab inspect"), stream=inspection.stream,
                ):  # fmt: skip
                    sink.artifact(path, place)
        status = "finished"
    except InitlabError as error:
        with suppress(StoreError):
            sink.tag({"initlab.error": str(error)[:500]})
        raise
    finally:
        told = sink.close(status)
    return sink.run_id, sink.uri, told


def as_json(inspection: Inspection) -> dict[str, object]:
    """The inspection as plain data, for a file. NaN and infinity are written as text."""
    plain = {
        "name": inspection.experiment.name,
        "arm": inspection.experiment.arm,
        "seed": inspection.experiment.seed,
        "outlook": asdict(inspection.outlook),
        "prediction": asdict(inspection.prediction),
        "measured": asdict(inspection.seen),
        "spectra": [asdict(s) for s in inspection.spectra],
        "ntk_condition": inspection.ntk_condition,
        "gradient_quotient": inspection.gradient_quotient,
        "fields": [asdict(f) for f in inspection.fields],
        "advice": list(inspection.advice),
        "notes": list(inspection.prepared.initialised.notes),
    }
    if inspection.stream is not None:
        plain["stream"] = {
            "blocks": inspection.stream.rows(), "unknown": list(inspection.stream.unknown),
            "sentences": list(inspection.stream.sentences),
        }  # fmt: skip
    return {k: _plain(v) for k, v in plain.items()}


def note(inspection: Inspection) -> str:
    """The verdict and its reasons in Markdown."""
    outlook = inspection.outlook
    lines = [f"**{inspection.experiment.name}**: {outlook.verdict} ({outlook.figure})", ""]
    lines += [f"- {reason}" for reason in outlook.reasons]
    lines += [f"- {sentence}" for sentence in inspection.advice]
    if inspection.stream is not None:
        lines += [f"- {sentence}" for sentence in inspection.stream.sentences]
    return "\n".join(lines)


# ------------------------------------------------------------------ pieces
def _batch(prepared: Prepared, examples: int) -> Batch:
    batches = prepared.context.batches
    assert batches is not None  # `prepare` always gives some
    first = batches(0)
    return Batch(inputs=first.inputs[:examples], targets=first.targets[:examples], loss=first.loss)


def _stream(prepared: Prepared, batch: Batch) -> StreamComparison | None:
    few = AttentionLayers.EXAMPLES
    inputs, targets = batch.inputs[:few], batch.targets[:few]
    return compare_stream(
        prepared.model, inputs, loss=lambda output: batch.loss(output, targets), sites=prepared.sites,
        context=prepared.context,
    )  # fmt: skip


def _gradient_quotient(prepared: Prepared, batch: Batch) -> float:
    try:
        few = replace(batch, inputs=batch.inputs[:64], targets=batch.targets[:64])
        with preserve_state(prepared.model):
            return float(inits.gradient_quotient(prepared.model.train(), few))
    except (RuntimeError, NotImplementedError):
        return math.nan  # an operation without a second derivative


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
