"""Reads what each weight's activation receives and sends on, in any forward pass.

The reader exists only inside a context manager. Each *use* of a module counts separately, so one activation module that
is called three times gives three readings and not only the last one. Activations that are functions are read from the
calls that `describe` recorded, by torch's function mode, which watches only while the model's forward runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlab.network.calls import IGNORED, Keys, call_name_of
from initlab.network.inputs import tensors
from initlab.network.modules import call_name, meaning
from initlab.spec import Reading, Site

#: the smallest normal number: dividing by less is division by 0 where subnormals are flushed
SMALLEST = torch.finfo(torch.float32).tiny

#: called with the site, the pre-activation h and the output φ(h) (both the layer's output where no activation follows)
TapCallback = Callable[[Site, Tensor, Tensor], None]


@contextmanager
def tap(model: nn.Module, sites: tuple[Site, ...], read: TapCallback, *, inside: bool = False) -> Generator[None]:
    """While open, calls `read` once a forward pass for each of `sites` that has an output to read.

    Args:
        inside: whether it is opened in a forward pass of `model`, before the model's own forward.
    """
    with Taps(model, sites).open(read, inside=inside):
        yield


class Taps:
    """The places of a network where `sites` are read, found once for any number of passes.

    Args:
        model: the network; its modules stay the same.
        sites: what is read.
    """

    def __init__(self, model: nn.Module, sites: tuple[Site, ...]) -> None:
        self._model = model
        modules = dict(model.named_modules())
        by_activation: dict[str, list[Site]] = {}
        by_layer: dict[str, list[Site]] = {}
        self._by_call: dict[Reading, list[Site]] = {}
        for site in sites:
            if site.reading is not None:
                self._by_call.setdefault(site.reading, []).append(site)
            elif site.activation is not None and site.activation.partition("#")[0] in modules:
                by_activation.setdefault(site.activation, []).append(site)
            elif site.layer in modules and site.kind not in ("token", "position", "computed"):
                by_layer.setdefault(site.layer, []).append(site)
        self._by_activation = by_activation
        used = {key.split("#")[0] for key in by_activation}
        self._activations = {name: modules[name] for name in used}
        self._layers = [(modules[name], found) for name, found in by_layer.items()]

    @contextmanager
    def open(self, read: TapCallback, *, inside: bool = False) -> Generator[None]:
        """While open, calls `read` once a forward pass for each site; `inside` as for `tap`."""
        calls: dict[str, int] = {}
        hooks: list[torch.utils.hooks.RemovableHandle] = []
        reader: _CallReader | None = None
        # an activation that works in place overwrites what is read
        in_place: list[Any] = [m for m in self._activations.values() if getattr(m, "inplace", False) is True]

        def on_activation(name: str) -> Any:
            def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
                call = calls.get(name, 0)
                calls[name] = call + 1
                h = next(tensors((args, kwargs)), None)
                for site in self._by_activation.get(call_name(name, call), ()):
                    if h is not None:
                        read(site, h, output)

            return hook

        def on_layer(found: list[Site]) -> Any:
            def hook(_module: nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> None:
                tensor = next(tensors(output), None)
                for site in found:
                    if tensor is not None:
                        read(site, tensor, tensor)

            return hook

        def new_pass(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
            calls.clear()

        try:
            for module in in_place:
                module.inplace = False
            hooks.append(self._model.register_forward_pre_hook(new_pass))
            hooks.extend(
                m.register_forward_hook(on_activation(n), with_kwargs=True) for n, m in self._activations.items()
            )
            hooks.extend(m.register_forward_hook(on_layer(found), with_kwargs=True) for m, found in self._layers)
            if self._by_call:
                reader = _CallReader(self._model, self._by_call, read)
                hooks.extend(reader.hooks())
                if inside:  # hooks that are set in a call of the model do not begin that call
                    reader.begin()
            yield
        finally:
            if reader is not None:
                reader.end()
            for module in in_place:
                module.inplace = True
            for handle in hooks:
                handle.remove()


class _CallReader(TorchFunctionMode):
    """Reads the tensors of given calls while the model's forward runs."""

    def __init__(self, model: nn.Module, wanted: dict[Reading, list[Site]], read: TapCallback) -> None:
        super().__init__()
        self._model = model
        self._read = read
        self._first: dict[str, list[Reading]] = {}
        self._last: dict[str, list[Reading]] = {}
        for reading in wanted:
            self._first.setdefault(reading.first, []).append(reading)
            self._last.setdefault(reading.last, []).append(reading)
        self._wanted = wanted
        self._held: dict[Reading, Tensor] = {}
        self._keys = Keys()
        self._inside = 0
        self._begun = False
        self._uses: dict[str, int] = {}
        self._names = {part for r in wanted for part in (r.first, r.last)}

    def hooks(self) -> list[torch.utils.hooks.RemovableHandle]:
        found = [
            self._model.register_forward_pre_hook(self.begin, prepend=True),
            self._model.register_forward_hook(self.end, always_call=True),
        ]
        for name, module in self._model.named_modules():
            if name:
                whole = meaning(module) is not None
                found.append(module.register_forward_pre_hook(self._enter(name, whole), with_kwargs=True))
                found.append(module.register_forward_hook(self._leave(name, whole), with_kwargs=True, always_call=True))
        return found

    def begin(self, *_: Any) -> None:
        """The model's forward begins."""
        self._keys, self._held, self._inside, self._uses = Keys(), {}, 0, {}
        self._begun = True
        self.__enter__()

    def end(self, *_: Any) -> None:
        """The model's forward is over."""
        self._held.clear()
        if self._begun:
            self._begun = False
            self.__exit__(None, None, None)

    def _enter(self, name: str, whole: bool) -> Callable[..., None]:
        def hook(_module: nn.Module, args: Any, kwargs: Any) -> None:
            if whole and not self._inside:
                self._received(self._anchor(name), (args, kwargs))
            self._keys.path.append(name)
            self._inside += whole

        return hook

    def _leave(self, name: str, whole: bool) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
            if len(self._keys.path) > 1:
                self._keys.path.pop()
            self._inside -= whole
            if whole and not self._inside:
                self._sent(self._anchor(name), output)
                self._uses[name] = self._uses.get(name, 0) + 1

        return hook

    def _anchor(self, name: str) -> str:
        return call_name(name, self._uses.get(name, 0))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = call_name_of(func)
        if self._inside or name in IGNORED:
            return func(*args, **kwargs)
        anchor = str(self._keys.next(name))
        if anchor not in self._names:
            return func(*args, **kwargs)
        target = args[0] if args else kwargs.get("input")
        if (name.endswith("_") or kwargs.get("inplace")) and isinstance(target, Tensor):
            return self._beside(anchor, func, target, args, kwargs)
        self._received(anchor, (args, kwargs))
        output = func(*args, **kwargs)
        self._sent(anchor, output)
        return output

    def _beside(self, anchor: str, func: Any, target: Tensor, args: Any, kwargs: Any) -> Any:
        """A call that overwrites `target`, made on a copy: what is read stays as it was, and has a gradient."""
        before = target.clone()
        after = before.clone()
        if args:
            self._received(anchor, ((before, *args[1:]), kwargs))
            output = func(after, *args[1:], **kwargs)
        else:
            self._received(anchor, (args, {**kwargs, "input": before}))
            output = func(**{**kwargs, "input": after})
        target.copy_(after)
        output = target if output is after else output
        self._sent(anchor, output)
        return output

    def _received(self, anchor: str, given: Any) -> None:
        for reading in self._first.get(anchor, ()):
            signals = [t for t in tensors(given) if t.is_floating_point() and not isinstance(t, nn.Parameter)]
            if signals:
                self._held[reading] = signals[min(reading.position, len(signals) - 1)]

    def _sent(self, anchor: str, output: Any) -> None:
        for reading in self._last.get(anchor, ()):
            h, sent = self._held.pop(reading, None), next(tensors(output), None)
            if h is not None and sent is not None:
                for site in self._wanted[reading]:
                    self._read(site, h, sent)
