"""Training steps through ``torch.compile``, and the plain network where it cannot be compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core.error_line import print_notice
from initlab.network.state import preserve_state
from initlab.train.evaluate import autocast
from initlab.train.run import Run


def compiled(model: nn.Module, example: Tensor, *, precision: str = "fp32") -> Callable[..., Any]:
    """`model` as a compiled program, tried forward and backward; the model itself, with a notice, where that fails.

    The program has the parameters of the model. Hooks on its modules are not run by it: probe steps and evaluation call
    the model. Sums are rounded in another order and dropout draws other numbers than without compilation.

    Args:
        model: the network, in training mode.
        example: a batch of prepared inputs, in the layout of the run.
        precision: of the run, as in ``trainer.precision``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    """
    program = torch.compile(model)
    try:
        with preserve_state(model):
            with autocast(example.device, precision):
                output: Tensor = program(example)
            output.float().sum().backward()
    except Exception as error:
        with preserve_state(model):
            model(example)  # an error of the network itself is the user's to see
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        print_notice(f"trainer.compile: the network cannot be compiled and trains without: {reason[:200]}")
        torch.compiler.reset()
        return model
    return program


def program_of(run: Run) -> Callable[..., Any]:
    """The network of a run as a compiled program, tried on its first examples; left in training mode."""
    run.model.train()
    x = run.splits.prepare(run.splits.train.x[: run.settings.batch_size])
    return compiled(run.model, run.layout.of(x), precision=run.settings.precision)
