"""`initlab.watch` as a callback of Lightning's Trainer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

try:
    from lightning.pytorch import Callback, LightningModule
except ImportError:  # the package that is only Lightning's PyTorch part
    from pytorch_lightning import Callback, LightningModule  # pyright: ignore[reportMissingImports]

from initlab.api.watch import Watch, watch
from initlab.errors import ConfigError
from initlab.spec import Finding


class WatchCallback(Callback):  # pyright: ignore[reportUntypedBaseClass, reportGeneralTypeIssues]
    """Watches the network of a LightningModule while it is fitted.

    Args:
        network: dotted name of the module to watch within the LightningModule. By default the LightningModule itself,
            where its forward is what training calls, else its child with the most parameters.
        every: updates between two looks.
        options: further arguments of `initlab.watch` (``classes=10``, ``track=False``).

    Attributes:
        watch: the `initlab.api.Watch` of the last fit; `findings` are what the rules say at its end.

    Example:
        >>> from initlab.integrations.lightning import WatchCallback
        >>> callback = WatchCallback(every=20, classes=10)      # Trainer(callbacks=[callback])
    """

    def __init__(self, network: str | None = None, *, every: int = 50, **options: Any) -> None:
        super().__init__()
        self.network = network
        self.every, self.options = every, options
        self.watch: Watch | None = None
        self.findings: tuple[Finding, ...] = ()
        self._due = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Sets the hooks."""
        self.watch = self._open(trainer, self._named(pl_module))

    def _open(self, trainer: Any, network: nn.Module) -> Watch:
        options: dict[str, Any] = {"name": type(network).__name__, **self.options}
        if not trainer.is_global_zero:
            options["track"] = False
        return watch(network, every=self.every, **options)

    def _named(self, pl_module: Any) -> nn.Module:
        if self.network is not None:
            try:
                return pl_module.get_submodule(self.network)
            except AttributeError as error:
                raise ConfigError("network", self.network, f"is no module of {type(pl_module).__name__}") from error
        own_forward = type(pl_module).forward is not LightningModule.forward
        return pl_module if own_forward else _largest_child(pl_module)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Reads the gradients."""
        del trainer, pl_module, optimizer
        if self.watch is not None:
            self.watch.before_step()
            self._due = True

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Reads the update."""
        del batch
        if self.watch is None:
            return
        if not self.watch.has_begun and self.network is None and batch_idx == 0:
            # training_step does not call the module's own forward
            self.watch.close()
            self.watch = self._open(trainer, _largest_child(pl_module))
            return
        if self._due:
            self._due = False
            self.watch.after_step()
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and batch_idx % max(1, trainer.log_every_n_steps) == 0:
            self.watch.log(loss=loss)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Records what the module logged of the validation part."""
        del pl_module
        if self.watch is None or trainer.sanity_checking:
            return
        found = {
            f"val/{k.removeprefix('val_').removeprefix('val/')}": v
            for k, v in trainer.callback_metrics.items()
            if "val" in k
        }
        if found:
            self.watch.log({k: float(torch.as_tensor(v)) for k, v in found.items()})

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Judges the run."""
        del trainer, pl_module
        if self.watch is not None:
            self.findings = self.watch.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Completes the record of a run that failed."""
        del trainer, pl_module
        if self.watch is not None:
            self.findings = self.watch.close("killed" if isinstance(exception, KeyboardInterrupt) else "failed")


def _largest_child(module: nn.Module) -> nn.Module:
    children = [(sum(p.numel() for p in c.parameters()), i, c) for i, c in enumerate(module.children())]
    if not children or max(children)[0] == 0:
        raise ConfigError("network", None, f"{type(module).__name__} has no child with parameters; give network='name'")
    return max(children)[2]
