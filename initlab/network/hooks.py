"""Forward hooks that read what each weight's activation receives and sends on.

The hooks exist only inside a context manager. Each *use* of a module counts separately, so one activation module that
is called three times gives three readings and not only the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.graph import call_name
from initlab.spec import Carrying, Site

#: the smallest normal number: dividing by less is division by 0 where subnormals are flushed
SMALLEST = torch.finfo(torch.float32).tiny

#: called with the site, the pre-activation h and the output φ(h) (both the layer's output where no activation follows)
TapCallback = Callable[[Site, Tensor, Tensor], None]


@contextmanager
def tap(model: nn.Module, sites: tuple[Site, ...], read: TapCallback) -> Generator[None]:
    """While open, calls `read` once a forward pass for each of `sites` that has an output to read."""
    by_activation: dict[str, list[Site]] = {}
    by_layer: dict[str, list[Site]] = {}
    for site in sites:
        if site.activation is not None:
            by_activation.setdefault(site.activation, []).append(site)
        else:
            by_layer.setdefault(site.layer, []).append(site)
    calls: dict[str, int] = {}
    hooks: list[torch.utils.hooks.RemovableHandle] = []

    def on_activation(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            call = calls.get(name, 0)
            calls[name] = call + 1
            for site in by_activation.get(call_name(name, call), ()):
                read(site, inputs[0], output)

        return hook

    def on_layer(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            for site in by_layer[name]:
                read(site, tensor, tensor)

        return hook

    def new_pass(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        calls.clear()

    modules = dict(model.named_modules())
    try:
        hooks.append(model.register_forward_pre_hook(new_pass))
        used = {key.split("#")[0] for key in by_activation}
        hooks.extend(modules[name].register_forward_hook(on_activation(name)) for name in used)
        hooks.extend(modules[name].register_forward_hook(on_layer(name)) for name in by_layer)
        yield
    finally:
        for handle in hooks:
            handle.remove()


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
    """Restores buffers, modes, gradients, a carried state and random generators at the end of the block."""
    gradients = [(p, p.grad) for p in model.parameters()]
    buffers = {name: b.detach().clone() for name, b in model.named_buffers()}
    modes = [(m, m.training) for m in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices), empty_state(model):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
