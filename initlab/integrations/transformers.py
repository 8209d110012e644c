"""`initlab.watch` as a callback of Hugging Face's Trainer."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from initlab.api.watch import Watch, watch
from initlab.spec import Finding


class WatchCallback(TrainerCallback):
    """Watches the model of a `transformers.Trainer`.

    Args:
        every: updates between two looks. options: further arguments of `initlab.watch`.

    Attributes:
        watch: the `initlab.api.Watch` of the last training; `findings` are what the rules say at its end.

    Example:
        >>> from initlab.integrations.transformers import WatchCallback
        >>> callback = WatchCallback(every=20)      # Trainer(..., callbacks=[callback])
    """

    def __init__(self, *, every: int = 50, **options: Any) -> None:
        self.every, self.options = every, options
        self.watch: Watch | None = None
        self.findings: tuple[Finding, ...] = ()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Sets the hooks."""
        del args, control, kwargs
        options: dict[str, Any] = dict(self.options)
        if not state.is_world_process_zero:
            options["track"] = False
        self.watch = watch(model, every=self.every, **options)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reads the gradients (after clipping, as the Trainer calls it)."""
        del args, state, control, kwargs
        if self.watch is not None:
            self.watch.before_step()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reads the update."""
        del args, state, control, kwargs
        if self.watch is not None:
            self.watch.after_step()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Records the losses that the Trainer logs."""
        del args, state, control, kwargs
        if self.watch is None or not logs:
            return
        numbers = {k: float(v) for k, v in logs.items() if isinstance(v, (int, float))}
        found = {f"val/{k.removeprefix('eval_')}": v for k, v in numbers.items() if k.startswith("eval_")}
        found |= {f"train/{k}": v for k, v in numbers.items() if k in ("loss", "learning_rate", "grad_norm")}
        if found:
            self.watch.log(found)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judges the run."""
        del args, state, control, kwargs
        if self.watch is not None:
            self.findings = self.watch.close()
