"""Reads the activations of a network in one forward pass: of modules with weights, of blocks, of attention, the output.

Works on any module, since it looks at calls alone: hooks on modules, and torch's function mode for the logits of
attention, which are those of ``scaled_dot_product_attention`` or what goes into a softmax over keys.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlab.network.inputs import call, cloned, main_output, tensors
from initlab.network.state import preserve_state

#: what an activation is: the thresholds of the coordinate check differ
Kind = Literal["embedding", "module", "block", "attention logits", "logits"]
#: name → (kind, values)
Activations = dict[str, tuple[Kind, Tensor]]
#: logits below are masked
_MASKED = -1e8
#: arguments of scaled_dot_product_attention behind the mask
_REST = ("dropout_p", "is_causal", "scale", "enable_gqa")


def read_activations(model: nn.Module, inputs: Any) -> Activations:
    """The activations of a training pass, in the order in which they are computed; the model is left as it was.

    Dropout, where there is any, drops the same units in every call. Names: that of the module for what it gives
    (``h.0.attn.c_attn``), with `` logits`` behind it for attention (``h.0.attn logits``, of visible keys alone),
    ``logits`` for the network's output. ``h[-1]`` is the last block of the list ``h``,
    ``h[half]`` that in the middle. The module that makes the output is left out: ``logits`` is what comes of it.
    """
    seen: list[tuple[str, Kind, Tensor]] = []
    with torch.no_grad(), preserve_state(model):
        torch.manual_seed(0)
        with _Reader(model, seen).open():
            output = main_output(call(model.train(), cloned(inputs)))
    found: dict[str, tuple[Kind, list[Tensor]]] = {}
    head = _last_module(seen, output)
    for name, kind, value in seen:
        if name != head:
            found.setdefault(name, (kind, []))[1].append(value.flatten())
    read: Activations = {name: (kind, torch.cat(parts)) for name, (kind, parts) in found.items()}
    if output is not None:
        read["logits"] = ("logits", output.detach().float().flatten().clone())
    return read


def _last_module(seen: list[tuple[str, Kind, Tensor]], output: Tensor | None) -> str:
    """The last module with weights, where it gives as many numbers as the output has."""
    last = next((s for s in reversed(seen) if s[1] == "module"), None)
    return last[0] if last is not None and output is not None and last[2].numel() == output.numel() else ""


class _Reader(TorchFunctionMode):
    def __init__(self, model: nn.Module, seen: list[tuple[str, Kind, Tensor]]) -> None:
        super().__init__()
        self._model, self._seen = model, seen
        self._path: list[str] = []
        self._inside = False
        self._blocks = _blocks(model)

    @contextmanager
    def open(self) -> Generator[None]:
        hooks: list[torch.utils.hooks.RemovableHandle] = []
        try:
            for name, module in self._model.named_modules():
                if name:
                    hooks.append(module.register_forward_pre_hook(self._enter(name), prepend=True))
                    hooks.append(module.register_forward_hook(self._leave(name, module)))
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str) -> Any:
        return lambda _module, _args: self._path.append(name)

    def _leave(self, name: str, module: nn.Module) -> Any:
        kind = _kind(module)

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            self._path.pop()
            value = next((t for t in tensors(output) if t.is_floating_point()), None)
            if value is None:
                return
            if kind is not None:
                self._keep(name, kind, value)
            for alias in self._blocks.get(name, ()):
                self._keep(alias, "block", value)

        return hook

    def _keep(self, name: str, kind: Kind, value: Tensor) -> None:
        self._inside = True  # what this reader computes is not the network's
        try:
            self._seen.append((name, kind, value.detach().float().clone()))
        finally:
            self._inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._inside:
            name = getattr(func, "__name__", "")
            if name == "scaled_dot_product_attention":
                self._attention(*args[:4], **(kwargs | dict(zip(_REST, args[4:], strict=False))))
                self._inside = True  # a kernel that is written in Python has a softmax of its own
                try:
                    return func(*args, **kwargs)
                finally:
                    self._inside = False
            if name in ("softmax", "_softmax"):
                self._softmax(args[0] if args else kwargs.get("input"))
        return func(*args, **kwargs)

    def _softmax(self, logits: Any) -> None:
        if isinstance(logits, Tensor) and (logits.dim() >= 4 or (logits.dim() == 3 and _is_square(logits))):
            self._visible(logits)

    def _attention(self, query: Tensor, key: Tensor, _value: Tensor, mask: Tensor | None = None, **given: Any) -> None:
        """The logits that the fused kernel computes from the same arguments."""
        mask = given.get("attn_mask", mask)
        self._inside = True
        try:
            if key.dim() >= 3 and query.shape[-3] != key.shape[-3]:
                key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
            scale = given.get("scale")
            logits = (query @ key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
            if given.get("is_causal"):
                ahead = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
                logits = logits.masked_fill(ahead, -math.inf)
            if mask is not None and mask.dtype == torch.bool:
                logits = logits.masked_fill(~mask, -math.inf)
            elif mask is not None:
                logits = logits + mask
        finally:
            self._inside = False
        self._visible(logits)

    def _visible(self, logits: Tensor) -> None:
        name = f"{self._path[-1]} logits" if self._path else "attention logits"
        self._inside = True
        try:
            found = logits[logits > _MASKED]
        finally:
            self._inside = False
        self._keep(name, "attention logits", found)


# ------------------------------------------------------------------ pieces
def _kind(module: nn.Module) -> Kind | None:
    """Of a module that owns a matrix or a kernel; None for all others."""
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    return "module" if any(p.dim() >= 2 for p in module.parameters(recurse=False)) else None


def _blocks(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Module → names of its output as a block of a list of alike modules with weights.

    The last is ``[-1]``, that in the middle ``[half]`` besides: these are at the same place whatever the depth.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        children = list(module.named_children())
        if any(_kind(c) is not None or not any(True for _ in c.parameters()) for _, c in children):
            continue
        if len({type(c) for _, c in children}) > 1:
            continue
        for index, (child, _) in enumerate(children):
            names = [f"{name}[{index}]" if index < len(children) - 1 else f"{name}[-1]"]
            names += [f"{name}[half]"] if index == (len(children) - 1) // 2 else []
            found[f"{name}.{child}"] = tuple(names)
    return found


def _is_square(logits: Tensor) -> bool:
    return logits.shape[-1] == logits.shape[-2] and logits.shape[-1] > 1
