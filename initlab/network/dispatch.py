"""A mode that sees the kernels of a forward pass, without torch's compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class KernelMode(TorchDispatchMode):
    """torch's dispatch mode, not kept away from torch.compile.

    To be kept away from it imports it at the first kernel, which takes as long as importing torch; nothing that a mode
    of initlab does is compiled.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
