"""Records one forward pass: every call of torch's functions, and which parameters each of them reads, in which way.

Three views are taken together. Torch's function mode sees the calls that Python code makes (`F.relu`, `x.relu()`,
`x @ w`); the dispatch mode sees the operations below them, from which follows what a parameter is used for whichever
way its tensor lies, and what Python does not see (scripted functions); module hooks see modules whose meaning is known
as a whole (norms, activations, recurrent layers, attention).

"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.calls import Recording
from initlab.network.inputs import batch_size, call, cloned, tensors
from initlab.network.recorder import Recorder


def record(
    model: nn.Module, inputs: Any, *, measure: Callable[[Tensor, int | None], Tensor] | None = None
) -> Recording:
    """One forward pass of `model` in its present mode.

    Buffers and random numbers change as in any forward pass; `state.preserve_state` restores them.

    Args:
        measure: (tensor, number of examples) → numbers to keep of each call's first tensor.
    """
    recorder = Recorder(model, batch_size(inputs), measure)
    given = cloned(inputs)
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_plain_paths())
        stack.enter_context(recorder.hooked())
        for tensor in tensors(given):
            recorder.leaf("input", tensor)
        stack.enter_context(recorder)
        stack.enter_context(recorder.below)
        output = call(model, given)
    recorder.returned(output)
    found = [recorder.made[id(t)][0] for t in tensors(output) if id(t) in recorder.made]
    return Recording(
        calls=recorder.calls, outputs=tuple(dict.fromkeys(found)) or (len(recorder.calls) - 1,),
        spans=recorder.spans, reached=recorder.parameters.reached, batch=recorder.batch,
    )  # fmt: skip


@contextmanager
def _plain_paths() -> Generator[None]:
    """Fused fast paths and compiled code are off inside: they hide their parts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # code was compiled only where the compiler was imported, which takes as long as importing torch
    compiled = "torch._dynamo" in sys.modules
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
