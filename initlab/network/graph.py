"""Traces one forward pass into a graph of weights, norms, activations and sums.

The pass is watched from outside. Modules whose meaning is known (layers, norms, activations, recurrent layers,
attention) are nodes of their own, and what happens between them is seen call by call through torch's function mode.
That holds for any Python control flow and needs neither a tracing compiler nor a description of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlab.activations.slope import is_activation

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORM = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm)  # pyright: ignore[reportPrivateUsage]
WEIGHTED = (nn.Linear, nn.Bilinear, *CONV, *CONV_TRANSPOSE, nn.Embedding, nn.EmbeddingBag)

Op = Literal[
    "input",
    "weight",
    "norm",
    "scale",
    "activation",
    "recurrent",
    "attention",
    "sum",
    "factor",
    "join",
    "shape",
    "opaque",
]

#: calls that move numbers without changing them, as far as their moments are concerned
_SHAPE_CALLS = frozenset((
    "flatten", "view", "reshape", "unflatten", "transpose", "permute", "squeeze", "unsqueeze", "contiguous", "to",
    "float", "double", "clone", "detach", "movedim", "swapaxes", "t", "expand", "requires_grad", "channel_shuffle",
    "pixel_shuffle", "dropout", "feature_dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
))  # fmt: skip
_SUMS = frozenset(("add", "sub", "__add__", "__radd__", "__sub__", "__iadd__", "add_", "__rsub__"))
_FACTORS = frozenset(("mul", "div", "__mul__", "__rmul__", "__truediv__", "true_divide", "__imul__", "mul_", "div_"))
_JOINS = frozenset(("cat", "concat", "concatenate", "stack"))


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step of the forward pass.

    Attributes:
        op: what it does; ``opaque`` is anything that is known by its inputs and output only.
        name: dotted module name (with ``#k`` for a later use of an activation), or the function's name.
        inputs: indices of the nodes it reads, in order.
        shape: of its output, with the batch dimension.
        factor: of a ``factor``: the number that is multiplied with; None where it is a parameter (named in `name`).
        over_examples: of a ``norm``: whether its statistics are taken over the batch, and not within each example.
        moments: (mean, mean square, mean product of two examples) of its output in this pass, where asked for.
    """

    index: int
    op: Op
    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    factor: float | None = None
    over_examples: bool = False
    moments: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the forward pass; node 0 is the network's input, `output` what it returns."""

    nodes: tuple[Node, ...]
    output: int

    def named(self, op: Op) -> dict[str, Node]:
        """Name → node of an operation; the first use counts."""
        found: dict[str, Node] = {}
        for node in self.nodes:
            if node.op == op:
                found.setdefault(node.name, node)
        return found


def call_name(module: str, call: int) -> str:
    """Name of one use of an activation module within a forward pass: ``relu``, then ``relu#1``, ``relu#2``, ..."""
    return f"{module}#{call}" if call else module


def trace(model: nn.Module, example: Tensor, *, moments: bool = False) -> Graph:
    """One forward pass of `model` in its present mode, as a graph.

    Buffers and random numbers change as in any forward pass; `hooks.preserve_state` restores them.

    Args:
        example: a batch on the model's device; for `moments` of two examples or more.
        moments: measure what each node sends.
    """
    recorder = _Recorder(model, measure=moments)
    with torch.enable_grad(), recorder.hooked(), recorder:
        recorder.node("input", "", (), example)
        output = model(example)
    nodes = recorder.nodes
    if moments:
        rows = torch.stack(recorder.moments).tolist()
        nodes = [replace(n, moments=(m, q, p)) for n, (m, q, p) in zip(nodes, rows, strict=True)]
    return Graph(tuple(nodes), recorder.index_of(output))


def example_moments(x: Tensor) -> Tensor:
    """(mean, mean square, mean product of two different examples) of a batch (B, ...): float32, shape (3,)."""
    flat = x.detach().flatten(1).float() if x.dim() > 1 else x.detach().float()[:, None]
    batch, units = flat.shape
    squares = flat.square().sum()
    pairs = flat.sum(0).square().sum() - squares
    return torch.stack([flat.mean(), squares / (batch * units), pairs / max(1, batch * (batch - 1) * units)])


class _Recorder(TorchFunctionMode):
    """Watches one pass. Tensors are told apart by identity and kept alive, so that no identity is used twice."""

    def __init__(self, model: nn.Module, *, measure: bool) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.moments: list[Tensor] = []
        self._model = model
        self._measure = measure
        self._made: dict[int, int] = {}
        self._alive: list[Any] = []
        self._inside = 0
        self._calls: dict[str, int] = {}
        self._parameters = {id(p): n for n, p in model.named_parameters()}

    # ---------------------------------------------------------- nodes
    def node(
        self,
        op: Op,
        name: str,
        inputs: Sequence[int],
        output: Any,
        *,
        factor: float | None = None,
        over_examples: bool = False,
    ) -> None:
        tensors = list(_tensors(output))
        if not tensors:
            return
        index = len(self.nodes)
        self.nodes.append(
            Node(
                index=index,
                op=op,
                name=name,
                inputs=tuple(inputs),
                shape=tuple(tensors[0].shape),
                factor=factor,
                over_examples=over_examples,
            )
        )
        if self._measure:
            with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]
                self.moments.append(example_moments(tensors[0]))
        for tensor in tensors:
            self._made[id(tensor)] = index
            self._alive.append(tensor)

    def index_of(self, value: Any) -> int:
        for tensor in _tensors(value):
            if id(tensor) in self._made:
                return self._made[id(tensor)]
        return len(self.nodes) - 1

    def _known(self, values: Any) -> list[int]:
        return [self._made[id(t)] for t in _tensors(values) if id(t) in self._made]

    # ---------------------------------------------------------- calls between modules
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if self._inside == 0 and isinstance(output, (Tensor, tuple, list)):
            self._call(func, args, kwargs or {}, output)
        return output

    def _call(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], output: Any) -> None:
        inputs = self._known((args, list(kwargs.values())))
        if not inputs or getattr(func, "__name__", "") in ("__get__", "__set__", "size", "shape"):
            return
        if not any(t.is_floating_point() for t in _tensors(output)):
            return  # a mask, a length, an index: no signal goes that way
        name = func.__name__.rstrip("_") if not func.__name__.startswith("__") else func.__name__
        own = [self._parameters[id(t)] for t in _tensors((args, list(kwargs.values()))) if id(t) in self._parameters]
        if func.__name__ in _SUMS and len(inputs) == 2:
            self.node("sum", name, inputs, output)
        elif func.__name__ in _SUMS:
            self.node("shape", name, inputs[:1], output)  # a constant or a bias is added
        elif func.__name__ in _FACTORS and len(inputs) == 1 and len(args) > 1:
            number = next((a for a in args if isinstance(a, (int, float))), None)
            if number is not None:
                inverse = "div" in name
                self.node("factor", name, inputs, output, factor=1 / number if inverse else float(number))
            elif own:
                self.node("factor", own[0], inputs, output)
            else:
                self.node("opaque", name, inputs, output)
        elif name in _JOINS:
            self.node("join", name, inputs, output)
        elif name in ("linear", "conv1d", "conv2d", "conv3d", "embedding") and own:
            self.node("weight", own[0].rpartition(".")[0], inputs[:1], output)
        else:
            self.node("shape" if name in _SHAPE_CALLS else "opaque", name, inputs, output)

    # ---------------------------------------------------------- modules with a meaning of their own
    def hooked(self) -> _Hooks:
        handles: list[Any] = []
        for name, module in self._model.named_modules():
            op = _op_of(module)
            if op is not None and not name.endswith("out_proj"):
                handles.append(module.register_forward_pre_hook(self._enter, prepend=True))
                handles.append(module.register_forward_hook(self._leave(op, name)))
        return _Hooks(handles)

    def _enter(self, _module: nn.Module, _inputs: Any) -> None:
        self._inside += 1

    def _leave(self, op: Op, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._inside -= 1
            if self._inside:
                return
            label = name
            if op == "activation":
                call = self._calls.get(name, -1) + 1
                self._calls[name] = call
                label = call_name(name, call)
            over_examples = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training  # pyright: ignore[reportPrivateUsage]
            self.node(op, label, self._known(inputs)[:1], output, over_examples=over_examples)

        return hook


@dataclass
class _Hooks:
    """Handles that are removed at the end of the pass, however it ends."""

    handles: list[Any] = field(default_factory=list)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def _op_of(module: nn.Module) -> Op | None:
    if isinstance(module, WEIGHTED):
        return "weight"
    if isinstance(module, NORM):
        return "norm"
    if isinstance(module, nn.RNNBase):
        return "recurrent"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    if is_scale(module):
        return "scale"
    return "activation" if is_activation(module) else None


def is_scale(module: nn.Module) -> bool:
    """Whether a module multiplies a residual branch by a parameter of its own."""
    return getattr(module, "initlab_role", None) == "scale"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


# ------------------------------------------------------------------ residual branches
