"""Keeps a network as it is while it is looked at: buffers, modes, gradients, attributes and random generators."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from initlab.spec import Carrying

#: a module's own bookkeeping: what is registered in it, not what a forward pass leaves in it
_REGISTERED = frozenset((
    "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks",
    "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
))  # fmt: skip


@contextmanager
def empty_state(model: nn.Module) -> Generator[None]:
    """Forward passes inside start with an empty hidden state and do not change a carried one."""
    if not isinstance(model, Carrying):
        yield
        return
    before = model.carry
    model.carry = False
    try:
        yield
    finally:
        model.carry = before


@contextmanager
def preserve_state(model: nn.Module) -> Generator[None]:
    """Restores what forward and backward passes change, at the end of the block; parameters' values are not restored.

    Buffers (also resized, replaced or registered by the pass), modes, gradients, attributes of the modules (counters,
    caches, a carried state) and torch's random generators.
    """
    gradients = [(p, p.grad) for p in model.parameters()]
    modules = [_Module(m) for m in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices), empty_state(model):
            yield
    finally:
        for module in modules:
            module.restore()
        for parameter, gradient in gradients:
            parameter.grad = gradient


class _Module:
    """What one module holds besides parameters and children."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.buffers = dict(module._buffers)  # pyright: ignore[reportPrivateUsage]
        self.values = {n: b.detach().clone() for n, b in self.buffers.items() if b is not None}
        self.persistent = set(module._non_persistent_buffers_set)  # pyright: ignore[reportPrivateUsage]
        self.attributes = {k: v for k, v in vars(module).items() if k not in _REGISTERED}
        self.contents = {k: _copy(v) for k, v in self.attributes.items() if isinstance(v, (list, dict, set, Tensor))}

    def restore(self) -> None:
        now = vars(self.module)
        for name in [k for k in now if k not in _REGISTERED and k not in self.attributes]:
            del now[name]
        now.update(self.attributes)
        for name, content in self.contents.items():
            _restore(self.attributes[name], content)
        self.module._buffers.clear()  # pyright: ignore[reportPrivateUsage]
        self.module._buffers.update(self.buffers)  # pyright: ignore[reportPrivateUsage]
        self.module._non_persistent_buffers_set.clear()  # pyright: ignore[reportPrivateUsage]
        self.module._non_persistent_buffers_set.update(self.persistent)  # pyright: ignore[reportPrivateUsage]
        with torch.no_grad():
            for name, value in self.values.items():
                buffer = self.buffers[name]
                if buffer is not None and not buffer.is_inference():
                    _write(buffer, value)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value.copy()


def _restore(value: Any, content: Any) -> None:
    if isinstance(value, Tensor):
        # the weight that a hook computes from parameters is computed again at the next call
        if value.is_leaf and not value.is_inference() and value._version:  # pyright: ignore[reportPrivateUsage]
            with torch.no_grad():
                _write(value, content)
    elif isinstance(value, list):
        value[:] = content
    else:
        value.clear()
        value.update(content)


def _write(tensor: Tensor, value: Tensor) -> None:
    if tensor.shape != value.shape:
        tensor.resize_(value.shape)
    tensor.copy_(value)
