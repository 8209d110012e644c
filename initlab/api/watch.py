"""initlab's probes, rules and records for anyone's training loop: `watch`."""

from __future__ import annotations

import atexit
import json
import math
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from initlab.api.gains import ActivationLike
from initlab.api.look import Look, half_square, look_at
from initlab.api.watched import evidence_of, foresee, metrics_of, note, numbers_of, open_sink, record_of, save
from initlab.diagnosis import rules
from initlab.errors import ConfigError
from initlab.network.inputs import Arguments, batch_size
from initlab.probes import AttentionLayers, Observer, ProfileLog
from initlab.spec import Batch, Finding, Outlook, ProbeSettings, Profile

#: sites whose values become metrics; the profile has them all
_MOST_SITES = 32


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    every: int = 50,
    activation: ActivationLike | None = None,
    classes: int | None = None,
    track: bool | None = None,
    experiment: str | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    scaler: Any = None,
    workdir: Path | str | None = None,
) -> Watch:
    """Watch signal and gradient of every layer in your own training loop, and judge the run at its end.

    Call it before the first step. The first ten updates and then every `every`-th are looked at: forward hooks read the
    activations, the optimiser's hooks the gradients and the update. Losses are bit for bit those without it.

    Args:
        model: the module that is called in the loop.
        optimizer: the optimiser that makes the updates. Without it, call `Watch.before_step` and `Watch.after_step`
            yourself.
        every: updates between two looks after the tenth.
        activation: as in `initialize`.
        classes: number of classes, so that the rules know what guessing gives.
        track: True for a run of its own in initlab's store (``MLFLOW_TRACKING_URI``, else ``mlflow.db`` here), False
            for none. By default the MLflow run that is active at the first step, else a run of its own.
        experiment, name: of that run; None is MLFLOW_EXPERIMENT_NAME, else initlab. params: to record with it.
        scaler: a `torch.amp.GradScaler`, where there is one.
        workdir: folder of the store and the spool; the current one by default.

    Returns:
        The watch. `log(**metrics)` records losses and scores; `close()` (or a ``with`` block) ends it.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> step = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with initlab.watch(net, step, classes=2, track=False) as seen:
        ...     for _ in range(3):
        ...         loss = F.cross_entropy(net(torch.randn(16, 4)), torch.randint(2, (16,)))
        ...         step.zero_grad(); loss.backward(); step.step()
        ...         seen.log(loss=loss)
        >>> seen.steps, len({r.site for r in seen.profile.rows if r.statistic == "act_std"})
        (3, 2)
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("model", type(model).__name__, "must be a torch.nn.Module")
    if every < 1:
        raise ConfigError("every", every, "must be 1 or more")
    return Watch(
        model, optimizer, every=every, activation=activation, classes=classes, track=track, experiment=experiment,
        name=name, params=params or {}, scaler=scaler, workdir=Path(workdir or "."),
    )  # fmt: skip


class Watch:
    """A training loop under observation; made by `watch`.

    Attributes:
        steps: updates so far.
        verdict, reasons: before the first step, as of `inspect`; empty until then.
        outlook: what theory alone says.
        findings: of the rules, after `close`.
        run_id: of the record in MLflow, "" where nothing is recorded.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer | None, *, every: int,
        activation: ActivationLike | None, classes: int | None, track: bool | None, experiment: str | None,
        name: str | None, params: Mapping[str, Any], scaler: Any, workdir: Path,
    ) -> None:  # fmt: skip
        self.steps = 0
        self.outlook: Outlook | None = None
        self.verdict, self.reasons = "", ()
        self.findings: tuple[Finding, ...] = ()
        self._model, self._activation = model, activation
        self._classes, self._track = classes, track
        self._attention: AttentionLayers | None = None
        self._experiment, self._name = experiment, name or type(model).__name__
        self._params = {k: v for k, v in params.items() if isinstance(v, (str, int, float, bool))}
        self._scaler, self._workdir = scaler, workdir
        self._settings = ProbeSettings(every=every, dead_share=False, histograms=False, interpret=False)
        self._log = ProfileLog(None)
        self._observer: Observer | None = None
        self._look: Look | None = None
        self._sink: Any = None
        self._open: Any = None
        self._looking = self._closed = self._reading = False
        self._serial = 0
        self._diverged: int | None = None
        self._sites: frozenset[str] = frozenset()
        self._handles: list[Any] = [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self.after_forward, always_call=True),
        ]
        if optimizer is not None:
            self._handles.append(optimizer.register_step_pre_hook(lambda *_: self.before_step()))
            self._handles.append(optimizer.register_step_post_hook(lambda *_: self.after_step()))
        atexit.register(self._close_at_exit)

    # ---------------------------------------------------------- in the loop
    def log(self, metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Record metrics of this step: ``log(loss=loss)``, ``log({"val/loss": 0.3, "val/accuracy": 0.9})``.

        Plain names count as of the training part. A loss that is not finite is noticed as divergence.
        """
        found = numbers_of({**(metrics or {}), **more})
        if self._diverged is None and any("loss" in k and not math.isfinite(v) for k, v in found.items()):
            self._diverged = self.steps
        self._log.curve(self.steps, {k: v for k, v in found.items() if k.split("/")[0] in ("train", "val")})
        self._record(found)

    def _before_forward(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if model.training and torch.is_grad_enabled():
            self.before_forward(tuple(args), dict(kwargs))

    def before_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The network is about to compute a training batch; called by a hook where the network is a torch module."""
        due = self._observer is None or self._observer.is_due(self.steps)
        if not due or self._looking or self._closed or self._open is not None:
            return
        if self._observer is None and not self._begin(Arguments(args, kwargs)):
            return
        assert self._observer is not None
        self._open = self._observer.observe(inside=True)
        self._open.__enter__()
        self._reading = True

    def after_forward(self, *_: Any) -> None:
        """The network has computed a training batch."""
        if self._open is not None and self._reading:
            self._reading = False
            self._open.__exit__(None, None, None)

    def before_step(self) -> None:
        """Reads the gradients: after ``backward()``, before the update (and before clipping, if you call it there)."""
        if self._open is not None and self._observer is not None:
            self._observer.gradients(scale=float(self._scaler.get_scale()) if self._scaler is not None else 1.0)
            self._observer.before_update()

    def after_step(self) -> None:
        """Reads the update that was made, and counts it."""
        if self._open is not None and self._observer is not None:
            rows = self._observer.rows(self.steps)
            self._open = None
            self._log.rows(rows)
            self._record(metrics_of(rows, self._sites))
        self.steps += 1

    def _record(self, values: Mapping[str, float]) -> None:
        if self._sink is not None and values:
            self._sink.write(record_of(values, serial=self._serial, step=self.steps))
            self._serial += 1

    # ---------------------------------------------------------- the first step
    def _begin(self, example: Arguments) -> bool:
        """Reads the network and opens the record; False where the network cannot be watched, which a warning says."""
        self._looking = True
        try:
            batch = Batch(inputs=example, targets=None, loss=half_square)
            look = look_at(self._model, example, activation=self._activation, batches=lambda _i: batch)
            files = {"sites.json": json.dumps({"sites": [asdict(s) for s in look.sites], "notes": look.notes})}
            if (batch_size(example) or 0) >= 2:
                self._foresee(batch, look, files)
            self._observer = Observer(
                self._model, look.sites, settings=self._settings, activation=look.context.activation,
                activations=look.context.activations,
            )  # fmt: skip
            spread = [s.name for s in look.sites if s.activation is not None or s.role == "head"]
            self._sites = frozenset(spread[:: max(1, len(spread) // _MOST_SITES)])
            self._sink = open_sink(
                self._track, files, name=self._name, experiment=self._experiment, params=self._params,
                workdir=self._workdir, layers=self._sites,
            )  # fmt: skip
            self._look = look
        except Exception as error:  # whatever it is, the training that is watched goes on
            self._closed = True
            self._remove_hooks()
            warnings.warn(f"initlab.watch: this training is not watched: {type(error).__name__}: {error}", stacklevel=2)
        finally:
            self._looking = False
        return not self._closed

    def _foresee(self, batch: Batch, look: Look, files: dict[str, str]) -> None:
        try:
            found = foresee(self._model, batch, look)
        except Exception as error:  # a network that cannot be predicted can be watched all the same
            warnings.warn(f"initlab.watch: no prediction: {error}", stacklevel=2)
            return
        self.outlook, self.verdict, self.reasons = found.outlook, found.verdict, found.reasons
        self._log.rows(found.rows)
        self._attention = found.attention
        files["prediction.json"] = found.text

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        atexit.unregister(self._close_at_exit)

    def _close_at_exit(self) -> None:
        """Completes the record of a program that ends without `close`."""
        self.close("failed" if getattr(sys, "last_value", None) is not None else "finished")

    # ---------------------------------------------------------- the end
    def close(self, status: str = "finished") -> tuple[Finding, ...]:
        """Ends the watch: hooks are removed, the rules judge, and the record is completed.

        Args:
            status: ``finished``, ``failed`` or ``killed``; ``diverged`` where a logged loss was not finite.

        Returns:
            The findings, gravest first.
        """
        if self._closed:
            return self.findings
        self._closed = True
        self._remove_hooks()
        if self._look is None:
            return self.findings
        if self._diverged is not None and status == "finished":
            status = "diverged"
        self._log.rows(self._attention.rows(self.steps) if self._attention is not None and self.steps else ())
        profile = self.profile
        evidence = evidence_of(
            self._model, self._look, profile, steps=self.steps, diverged=self._diverged, classes=self._classes,
            params=self._params,
        )  # fmt: skip
        self.findings = rules.judge(evidence)
        if self._sink is not None:
            tags = {"mlflow.note.content": note(self._name, self.steps, self.verdict, self.reasons, self.findings)}
            tags |= {"initlab.outlook": self.verdict} if self.verdict else {}
            save(self._sink, self._look, profile, evidence, self.findings, name=self._name, tags=tags)
            told = self._sink.close(status)
            if told:
                print(told)
        return self.findings

    @property
    def has_begun(self) -> bool:
        """Whether a training batch was seen."""
        return self._look is not None

    @property
    def profile(self) -> Profile:
        """All that was read: rows by step, layer and statistic, and the logged curves."""
        return self._log.profile()

    @property
    def run_id(self) -> str:
        return "" if self._sink is None else str(self._sink.run_id)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close("finished" if kind is None else "killed" if issubclass(kind, KeyboardInterrupt) else "failed")

    def __repr__(self) -> str:
        found = ", ".join(f.name for f in self.findings) if self._closed else "open"
        return f"<watch of {self._name}: {self.steps} updates, {found}>"
