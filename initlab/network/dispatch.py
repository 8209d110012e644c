"""Base class of what watches the kernels of a forward pass."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class KernelMode(TorchDispatchMode):
    """A dispatch mode of torch that does not import torch's compiler.

    By default torch excludes the code of such a mode from compilation. To do so it imports its compiler, which takes as
    long as importing torch. The modes of initlab are never compiled, so they do not ask for it.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
