"""`initlab.watch` as a callback of Keras 3 on the torch backend."""

from __future__ import annotations

from typing import Any

import keras

from initlab.api.watch import Watch, watch
from initlab.errors import ConfigError
from initlab.spec import Finding


class WatchCallback(keras.callbacks.Callback):
    """Watches a Keras model while `fit` runs. Needs ``KERAS_BACKEND=torch``.

    Args:
        every: updates between two looks. options: further arguments of `initlab.watch`.

    Attributes:
        watch: the `initlab.api.Watch` of the last training; `findings` are what the rules say at its end.

    Example:
        >>> from initlab.integrations.keras import WatchCallback      # doctest: +SKIP
        >>> model.fit(x, y, callbacks=[WatchCallback(every=20, classes=10)])      # doctest: +SKIP
    """

    def __init__(self, *, every: int = 50, **options: Any) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise ConfigError(
                "KERAS_BACKEND", keras.backend.backend(), "must be torch; set it before keras is imported"
            )
        self.every, self.options = every, options
        self.watch: Watch | None = None
        self.findings: tuple[Finding, ...] = ()
        self._restore: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Wraps the model's call and the optimiser's update: Keras does not run torch's hooks."""
        del logs
        model: Any = self.model
        seen = watch(model, every=self.every, **self.options)
        self.watch = seen
        call, apply = model.call, model.optimizer.apply

        def watched_call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("training"):
                seen.before_forward(args, {k: v for k, v in kwargs.items() if v is not None})
            try:
                return call(*args, **kwargs)
            finally:
                seen.after_forward()

        def watched_apply(*args: Any, **kwargs: Any) -> Any:
            seen.before_step()
            result = apply(*args, **kwargs)
            seen.after_step()
            return result

        model.call, model.optimizer.apply = watched_call, watched_apply
        self._restore = [(model, "call"), (model.optimizer, "apply")]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Records the loss."""
        if self.watch is not None and logs and "loss" in logs and batch % self.every == 0:
            self.watch.log(loss=float(logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Records the scores of the validation part."""
        del epoch
        found = {f"val/{k.removeprefix('val_')}": float(v) for k, v in (logs or {}).items() if k.startswith("val_")}
        if self.watch is not None and found:
            self.watch.log(found)

    def on_train_end(self, logs: Any = None) -> None:
        """Judges the run."""
        del logs
        for owner, name in self._restore:
            vars(owner).pop(name, None)
        if self.watch is not None:
            self.findings = self.watch.close()
