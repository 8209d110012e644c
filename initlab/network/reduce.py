"""Reduces a recorded pass to the steps that theory speaks of: weights, norms, activations, sums, factors."""

from __future__ import annotations

from dataclasses import replace

import torch

from initlab.activations.match import match_gate, match_values
from initlab.activations.recognise import recognise
from initlab.network.call_kinds import ALPHA_DROPOUTS, DROPOUTS, FACTORS, JOINS, MAXIMA, SHAPE_CALLS, SUMS
from initlab.network.calls import Call, Recording, Ref, dropout_factor, padding_mode, pooling_window
from initlab.network.graph import Graph, Node
from initlab.network.modules import Op, call_name, is_batch_norm
from initlab.network.parts import parts_of
from initlab.network.regions import Elementwise, Regions
from initlab.network.trials import refs_of
from initlab.network.use_kinds import Use
from initlab.spec import Activation, Reading

#: (value, the elementwise part that gates it, its activation)
Gate = tuple[Call, Elementwise, Activation]


class Reduction:
    """The graph of one recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.calls = recording.calls
        self.regions = Regions(recording)
        self.nodes: list[Node] = []
        self.at: dict[int, int] = {}  # call → node
        self.activations: dict[str, Activation] = {}
        self.spans: dict[tuple[int, int], tuple[str, int]] = {}
        self._gates: dict[int, Gate | None] = {}
        for name, count, inputs, output in recording.spans:
            for i in inputs[:1]:
                self.spans.setdefault((i, output), (name, count))

    def graph(self) -> Graph:
        needed = self._needed()
        for call in self.calls:
            if call.index in needed:
                self._emit(call)
        rows = [c for c in self.calls if c.moments is not None]
        if rows:
            values = torch.stack([c.moments for c in rows if c.moments is not None]).tolist()
            measured = {c.index: tuple(v) for c, v in zip(rows, values, strict=True)}
            back = {node: call for call, node in self.at.items()}
            self.nodes = [replace(n, moments=measured.get(back[n.index])) for n in self.nodes]
        outputs = tuple(dict.fromkeys(self.at[i] for i in self.recording.outputs if i in self.at))
        uses: dict[str, list[Use]] = {}
        for call in self.calls:
            for use in call.uses:
                for name in use.names:
                    uses.setdefault(name, []).append(use)
        return Graph(
            nodes=tuple(self.nodes), output=outputs[0] if outputs else len(self.nodes) - 1, outputs=outputs,
            activations=self.activations, order=self._order(), learned=self._learned(),
            beside_data=self._beside_data(), uses={n: tuple(u) for n, u in uses.items()},
            parts={} if rows else parts_of(self.recording), reached=frozenset(self.recording.reached),
        )  # fmt: skip

    def _order(self) -> dict[str, int]:
        """Parameter, and module that is a node as a whole → index of the first call that reads it."""
        found: dict[str, int] = {}
        for call in self.calls:
            for use in call.uses:
                for name in use.names:
                    found.setdefault(name, call.index)
            if call.module is not None:
                found.setdefault(call.label, call.index)
        return found

    def _beside_data(self) -> frozenset[str]:
        """Tokens that are joined to the network's input itself, not to something that a layer computed."""
        found: set[str] = set()
        for call in self.calls:
            if any(u.kind == "token" for u in call.uses) and call.inputs and all(map(self._is_data, call.inputs)):
                found.update(n for u in call.uses if u.kind == "token" for n in u.names)
        return frozenset(found)

    def _is_data(self, index: int) -> bool:
        call = self.calls[index]
        if call.op is not None:
            return call.op == "input"
        return call.name in SHAPE_CALLS and not call.uses and all(map(self._is_data, call.inputs))

    def _learned(self) -> frozenset[str]:
        """Parameters of activations: those that an elementwise function depends on, and not as a scale or shift."""
        parts = [self.regions.longest(call) for call, node in self.at.items() if self.nodes[node].op == "activation"]
        return frozenset(n for part in parts if part is not None for n in part.parameters)

    # ---------------------------------------------------------- which calls become nodes
    def _inputs(self, call: Call) -> tuple[int, ...]:
        """The calls that the node of `call` reads."""
        elementwise = self.regions.longest(call.index)
        if elementwise is not None:
            return (elementwise.source.index,)
        norm = self.regions.norms.get(call.index)
        if norm is not None:
            return (norm.source.index,)
        gate = self._gate(call)
        if gate is not None:
            return (gate[0].index, gate[1].source.index)
        found = call.inputs
        if any(u.kind in ("contract", "lookup") for u in call.uses):
            found = found[:1]
        elif call.name == "scaled_dot_product_attention":  # a weighted mean of the values, which come last
            found = tuple(dict.fromkeys(reversed(found)))
        return tuple(i for i in found if self._carries(i))

    def _carries(self, index: int) -> bool:
        call = self.calls[index]
        return (
            call.op is not None
            or call.dtype.is_floating_point
            or call.dtype.is_complex
            or not call.inputs
            or (call.name in SHAPE_CALLS and all(self._carries(i) for i in call.inputs))
        )

    def _needed(self) -> set[int]:
        waiting = [*self.recording.outputs, 0] + [
            c.index for c in self.calls
            if c.op in ("input", "recurrent", "attention", "norm", "scale")
            or any(u.kind in ("contract", "lookup") for u in c.uses)
        ]  # fmt: skip
        needed: set[int] = set()
        while waiting:
            index = waiting.pop()
            if index not in needed and index < len(self.calls):
                needed.add(index)
                waiting.extend(self._inputs(self.calls[index]))
        return needed

    # ---------------------------------------------------------- one node
    def _emit(self, call: Call) -> None:
        inputs = tuple(dict.fromkeys(self.at[i] for i in self._inputs(call)))
        node = Node(index=len(self.nodes), op="opaque", name=call.name, inputs=inputs, shape=call.shape)
        self.at[call.index] = node.index
        self.nodes.append(self._described(node, call))

    def _described(self, node: Node, call: Call) -> Node:
        elementwise = self.regions.longest(call.index)
        if elementwise is not None:
            if elementwise.affine is None:
                return self._activation(node, call, elementwise)
            slope = elementwise.affine[0]
            if elementwise.parameters:
                name = elementwise.parameters[0]
                shifts = all(u.kind == "shift" for u in call.uses)
                return replace(node, op="shape", shift=name) if shifts else replace(node, op="factor", name=name)
            return replace(node, op="shape") if slope == 1 else replace(node, op="factor", factor=slope)
        norm = self.regions.norms.get(call.index)
        if norm is not None:
            scale = next((n for u in call.uses if u.kind == "norm_scale" for n in u.names), "")
            name = scale.rpartition(".")[0] if scale else self._label(call, norm.source.index)
            return replace(
                node, op="norm", name=name, over_examples=norm.over_examples, centred=norm.centred, parameter=scale,
                level=1.0 if scale else norm.level,
            )  # fmt: skip
        gate = self._gate(call)
        if gate is not None:
            _, part, activation = gate
            name = self._named(call, part.source.index)
            self.activations[name.partition("#")[0]] = match_gate(activation)
            return replace(node, op="activation", name=name, reading=self._reading(part.source, part.first, call))
        if call.op is not None:
            return self._whole(node, call)
        return self._plain(node, call)

    def _whole(self, node: Node, call: Call) -> Node:
        assert call.op is not None
        name = call_name(call.label, call.key.count) if call.op == "activation" else call.label
        module = call.module
        if call.op == "activation" and module is not None:
            self.activations.setdefault(call.label, recognise(module))
        prefix = f"{call.label}." if call.label else ""
        has_scale = call.op == "norm" and getattr(module, "weight", None) is not None
        return replace(
            node, op=call.op, name=name, over_examples=is_batch_norm(module) and module is not None and module.training,
            centred=not isinstance(module, torch.nn.RMSNorm), parameter=f"{prefix}weight" if has_scale else "",
        )  # fmt: skip

    def _plain(self, node: Node, call: Call) -> Node:
        shift = next((n for u in call.uses if u.kind == "shift" and u.rank < 2 for n in u.names), "")
        for use in call.uses:
            if use.kind in ("contract", "lookup"):
                effective, balanced = None, False
                if use.derived is not None and use.kind == "contract":
                    used = use.derived.value.detach().float()
                    effective = float(used.square().mean())
                    balanced = used.dim() > 1 and float(used.flatten(1).mean(1).abs().max()) < 1e-3 * effective**0.5
                return replace(
                    node, op="weight", name=use.names[0].rpartition(".")[0], parameter=use.names[0], shift=shift,
                    effective=effective, balanced=balanced,
                )  # fmt: skip
        name = call.name.removeprefix("aten.")
        alpha = call.kwargs.get("alpha", 1)
        if name in SUMS and alpha == 1 and len(node.inputs) == 2:
            return replace(node, op="sum", name=name)
        if name in SUMS and len(node.inputs) <= 1 and call.uses:
            return replace(node, op="shape", name=name, shift=shift)
        if name in SUMS and len(node.inputs) == 1:
            return replace(node, op="shape", name=name)
        if name in FACTORS:
            scale = next((n for u in call.uses if u.kind == "scale" for n in u.names), "")
            if scale and len(node.inputs) == 1:
                return replace(node, op="factor", name=scale)
            if "div" not in name and len(node.inputs) == 2:
                return replace(node, op="product", name=name)
        if name in JOINS:
            return replace(node, op="join", name=name)
        if name in DROPOUTS or name in ALPHA_DROPOUTS:
            op: Op = "dropout" if name in DROPOUTS else "alpha_dropout"
            return replace(node, op=op, factor=dropout_factor(call))
        if name in MAXIMA:
            return replace(node, name=name, window=pooling_window(call, self.calls[call.inputs[0]].shape))
        wraps = name == "pad" and padding_mode(call) != "constant"
        return replace(node, op="shape" if name in SHAPE_CALLS or wraps else "opaque", name=name)

    # ---------------------------------------------------------- activations
    def _activation(self, node: Node, call: Call, part: Elementwise) -> Node:
        source, first = part.source, part.first
        if call.op == "activation" and call.index == first and call.module is not None:
            return self._whole(node, call)
        name = self._named(call, source.index)
        self.activations[name.partition("#")[0]] = match_values(part.fn, _function_name(name))
        return replace(node, op="activation", name=name, reading=self._reading(source, first, call))

    def _named(self, call: Call, source: int) -> str:
        span = self.spans.get((source, call.index))
        return call_name(*span) if span is not None and span[0] else str(call.key)

    def _label(self, call: Call, source: int) -> str:
        span = self.spans.get((source, call.index))
        return span[0] if span is not None and span[0] else str(call.key)

    def _reading(self, source: Ref, first: int, last: Call) -> Reading | None:
        begin = self.calls[first]
        if (source.index, last.index) in self.spans and self.spans[source.index, last.index][0]:
            return None  # a module's own input and output are read
        position = next((i for i, r in enumerate(refs_of(begin)) if r == source), 0)
        return Reading(first=begin.anchor, position=position, last=last.anchor)

    def _gate(self, call: Call) -> Gate | None:
        if call.index not in self._gates:
            self._gates[call.index] = self._find_gate(call)
        return self._gates[call.index]

    def _find_gate(self, call: Call) -> Gate | None:
        """(value, elementwise part, its activation) of a product of a signal with an activation of another one."""
        if call.name not in FACTORS or "div" in call.name or len(call.inputs) != 2 or call.uses:
            return None
        a, b = (self.calls[i] for i in call.inputs)
        if a.shape != b.shape:
            return None
        found = [(i, self.regions.longest(i.index)) for i in (a, b)]
        active = [(i, part) for i, part in found if part is not None and part.affine is None]
        if len(active) != 1:
            return None
        gate, part = active[0]
        value = b if gate is a else a
        if not self._from_weight(value.index) or not self._from_weight(part.source.index):
            return None
        if gate.op == "activation" and gate.index == part.first and gate.module is not None:
            return value, part, recognise(gate.module)
        return value, part, match_values(part.fn, _function_name(str(gate.key)))

    def _from_weight(self, index: int) -> bool:
        """Whether a tensor is the output of a weight, moved at most."""
        call = self.calls[index]
        while not any(u.kind == "contract" for u in call.uses):
            if (call.name not in SHAPE_CALLS and not (call.name in SUMS and call.uses)) or not call.inputs:
                return False
            call = self.calls[call.inputs[0]]
        return True


def _function_name(name: str) -> str:
    return name.partition("#")[0].partition("()")[0].rpartition(".")[2].strip("_").lower() or "activation"
