"""The update of an optimiser without torch's compiler, which torch imports only to keep it away (1.5 s of CPU)."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import torch


def stepper(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """The update of `optimizer`, the same numbers as its `step`.

    For those of torch.optim it goes without what is wrapped around `step` for torch.compile and for the profiler: a
    tenth of an update of a tiny network.
    """
    theirs = type(optimizer).__module__.partition(".")[0] == "torch"
    step = inspect.unwrap(type(optimizer).step) if theirs else type(optimizer).step

    def update() -> None:
        with torch.no_grad():
            step(optimizer)

    def called() -> None:
        optimizer.step()

    return update if theirs else called


def without_compiler() -> None:
    """Prevents torch's optimisers from importing torch.compile (a second), which they do only to disable it.

    The word for that is kept as an attribute of the function, which torch sets at its first call.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        inner = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if inner is not None and "torch._dynamo" not in sys.modules:
            inner.__dict__.setdefault("__dynamo_disable", inner)
