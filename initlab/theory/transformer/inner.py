"""Reads one residual branch: attention or perceptron, its matrices' gains and what surrounds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from initlab.activations import identity
from initlab.network.attention_calls import AttentionCall
from initlab.network.graph import Graph, Node
from initlab.spec import Activation, InitContext, Site
from initlab.theory.transformer.chains import mean_square, read_chain
from initlab.theory.transformer.gram import modelled
from initlab.theory.transformer.network import Attention, Branch, Perceptron
from initlab.theory.transformer.wires import alike, ancestors, descendants, is_rotary

#: calls that compute attention out of queries, keys and values
_FUSED = "scaled_dot_product_attention"
_PRODUCTS = ("matmul", "bmm", "einsum", "__matmul__", "baddbmm")
#: rotary positions of networks of other people, whose base is not seen; what it changes is small
_ROPE = 10_000.0


def weight_nodes(graph: Graph) -> list[Node]:
    """Nodes that multiply with a matrix."""
    return [n for n in graph.nodes if n.op in ("weight", "attention", "recurrent")]


class Reader:
    """Reads the branches of one network in the order of the forward pass.

    Attributes:
        attended: attentions that were read. unknown: what was not understood.
    """

    def __init__(
        self, graph: Graph, sites: tuple[Site, ...], parameters: Mapping[str, Tensor], context: InitContext,
        calls: tuple[AttentionCall, ...],
    ) -> None:  # fmt: skip
        self.graph, self.parameters, self.context = graph, parameters, context
        self.sites = {s.name: s for s in sites}
        self.activations: Mapping[str, Activation] = {**graph.activations, **context.activations}
        self.calls = calls
        self.attended = 0
        self.unknown: list[str] = []

    def branch(self, inside: Sequence[Node]) -> Branch | None:
        """The branch of these nodes; None where it is neither attention nor a perceptron."""
        weights = [n for n in inside if n.op in ("weight", "attention")]
        attends = [
            n for n in inside if n.op == "attention" or (n.op == "opaque" and n.name in (_FUSED, "softmax", "_softmax"))
        ]
        if not weights:
            return None
        first, last = weights[0].index, weights[-1].index
        below = descendants(inside, [w.index for w in weights])
        before = read_chain([n for n in inside if n.index < first], self.parameters, self.activations)
        ending = [n for n in inside if n.index > last and n.index in below]
        end = read_chain(ending, self.parameters, self.activations)
        middle = [n for n in inside if first <= n.index <= last]
        inner = self._attention(attends[0], weights, middle) if attends else self._perceptron(weights, middle)
        if inner is None:
            return None
        if len(attends) > 1:
            self.unknown.append(f"{len(attends)} attentions in one branch")
        # factors in front of the matrices multiply what a linear branch sends, and the input of any other
        if before.factor2 != 1.0:
            self.unknown.append(f"a factor before {weights[0].name}")
        self.unknown.extend((*before.unknown, *end.unknown))
        return Branch(
            inner=inner, before=before.norm, end=end.norm, factor2=end.factor2, name=weights[0].name
        )  # fmt: skip

    # ---------------------------------------------------------- attention
    def _attention(self, node: Node, weights: Sequence[Node], middle: Sequence[Node]) -> Attention | None:
        if self.attended >= len(self.calls):
            self.unknown.append(f"attention {node.name}")
            return None
        call = self.calls[self.attended]
        self.attended += 1
        if call.causal is None:
            self.unknown.append("a mask that is neither causal nor open, or logits that are not finite")
        if call.biased:
            self.unknown.append("a bias of attention's logits")
        if node.op == "attention":
            return self._whole(node, call)
        if node.name == _FUSED and len(node.inputs) in (1, 3):  # one: parts of a single tensor
            value, key, query = node.inputs if len(node.inputs) == 3 else node.inputs * 3
        else:
            found = self._explicit(node, middle)
            if found is None:
                self.unknown.append(f"attention {call.module}")
                return None
            query, key, value = found
        paths = [self._path(i, middle) for i in (query, key, value)]
        if any(p is None for p in paths) or len(weights) > 4:
            self.unknown.append(f"how {call.module} makes queries, keys and values")
            return None
        (wq, pq), (wk, pk), (wv, pv) = [p for p in paths if p is not None]
        scale = call.scale if call.scale is not None else self._factor(node, middle)
        chains = [read_chain([n for n in p if not is_rotary(n)], self.parameters, self.activations) for p in (pq, pk)]
        scale *= (chains[0].factor2 * chains[1].factor2 * chains[0].norm.gain2 * chains[1].norm.gain2) ** 0.5
        if pv and read_chain(pv, self.parameters, self.activations).unknown:
            self.unknown.append(f"values of {call.module}")
        self.unknown.extend(u for c in chains for u in c.unknown)
        kinds = {c.norm.kind for c in chains}
        if kinds - {"none", "layer", "rms"} or len(kinds) > 1:
            self.unknown.append(f"norm of queries and keys of {call.module}")
        kind = kinds.pop()
        normed = "layer" if kind == "layer" else "rms" if kind == "rms" else None
        out = weights[-1]
        turning = any(n.op in ("product", "constant") for n in (*pq, *pk))
        self._independent({p: self._matrix(w, p) for w, p in ((wq, "q"), (wk, "k"), (wv, "v"), (out, "o"))})
        rows = self._rows(wq, "q")
        return Attention(
            q2=self._gain(wq, "q"), k2=self._gain(wk, "k"), v2=self._gain(wv, "v"), o2=self._gain(out),
            heads=call.heads, head=call.head or rows // call.heads, scale=scale, causal=bool(call.causal),
            softcap=self._softcap(node, middle), qk_norm=normed,
            rope=_ROPE if turning else None, value_bias2=self._bias(wv, "v"), out_bias2=self._bias(out),
        )  # fmt: skip

    def _whole(self, node: Node, call: AttentionCall) -> Attention:
        """A module of torch.nn.MultiheadAttention."""
        prefix = f"{node.name}." if node.name else ""
        joined = self.parameters.get(f"{prefix}in_proj_weight")
        parts = (
            list(joined.detach().chunk(3)) if joined is not None
            else [self.parameters[f"{prefix}{x}_proj_weight"].detach() for x in "qkv"]
        )  # fmt: skip
        gains = [p.shape[1] * mean_square(p) for p in parts]
        out = self.parameters[f"{prefix}out_proj.weight"]
        self._independent({**dict(zip("qkv", parts, strict=True)), "o": out.detach()})
        bias, end = self.parameters.get(f"{prefix}in_proj_bias"), self.parameters.get(f"{prefix}out_proj.bias")
        head = parts[0].shape[0] // call.heads
        return Attention(
            q2=gains[0], k2=gains[1], v2=gains[2], o2=out.shape[1] * mean_square(out), heads=call.heads, head=head,
            scale=head**-0.5, causal=bool(call.causal),
            value_bias2=mean_square(bias.detach().chunk(3)[2]) if bias is not None else 0.0,
            out_bias2=mean_square(end) if end is not None else 0.0,
        )  # fmt: skip

    def _explicit(self, node: Node, middle: Sequence[Node]) -> tuple[int, int, int] | None:
        """(query, key, value) nodes of an attention that is written out around a softmax."""
        inside = {n.index: n for n in middle}
        at = node.inputs[0] if node.inputs else -1
        while at in inside and not (inside[at].name in _PRODUCTS and len(inside[at].inputs) == 2):
            if not inside[at].inputs:
                return None
            at = inside[at].inputs[0]
        if at not in inside:
            return None
        index, mixing = node.index, None
        while mixing is None:
            readers = [n for n in middle if index in n.inputs]
            if not readers:
                return None
            mixing = readers[0] if readers[0].name in _PRODUCTS and len(readers[0].inputs) == 2 else None
            index = readers[0].index
        query, key = inside[at].inputs
        value = next((i for i in mixing.inputs if i in inside and node.index not in ancestors(inside, i)), None)
        return None if value is None else (query, key, value)

    def _path(self, index: int, middle: Sequence[Node]) -> tuple[Node, list[Node]] | None:
        """The matrix that a node comes from, and what lies between them in order."""
        inside = {n.index: n for n in middle}
        above = ancestors(inside, index)
        weights = [inside[i] for i in above if inside[i].op == "weight"]
        if len(weights) != 1:
            return None
        between = sorted(i for i in above if weights[0].index in ancestors(inside, i) and i != weights[0].index)
        return weights[0], [inside[i] for i in between]

    def _factor(self, node: Node, middle: Sequence[Node]) -> float:
        """The factor between the product of queries and keys and the softmax."""
        inside = {n.index: n for n in middle}
        at, scale = node.inputs[0], 1.0
        while at in inside and inside[at].name not in _PRODUCTS:
            n = inside[at]
            if n.op == "factor" and n.factor is not None:
                scale *= n.factor
            elif n.op == "sum" or (n.op == "shape" and n.shift):
                self.unknown.append("a bias of attention's logits")
            elif n.op == "activation":
                scale *= self._cap(n)[1]
            elif n.op not in ("shape", "dropout", "join") and n.name not in ("masked_fill", "where", "add", "float"):
                self.unknown.append(f"{n.name} of the logits")
            at = n.inputs[0]
        return scale

    def _softcap(self, node: Node, middle: Sequence[Node]) -> float | None:
        inside = {n.index: n for n in middle}
        at = node.inputs[0]
        while at in inside and inside[at].name not in _PRODUCTS and node.name != _FUSED:
            if inside[at].op == "activation":
                return self._cap(inside[at])[0]
            at = inside[at].inputs[0]
        return None

    def _cap(self, node: Node) -> tuple[float | None, float]:
        """(c, s) of c·tanh(s·z/c), where the elementwise function of the logits is one."""
        import torch

        found = self.activations.get(node.name.partition("#")[0])
        if found is None:
            self.unknown.append(f"{node.name} of the logits")
            return None, 1.0
        z = torch.tensor([1e-4, 1e9], dtype=torch.float64)
        with torch.no_grad():
            small, cap = (float(v) for v in found.fn(z))
        slope = small / 1e-4
        probe = torch.linspace(-3, 3, 13, dtype=torch.float64) * (cap / slope if slope > 0 else 1.0)
        with torch.no_grad():
            right = cap > 0 and bool(torch.allclose(found.fn(probe), cap * torch.tanh(slope * probe / cap), rtol=1e-4))
        if not right:
            self.unknown.append(f"{node.name} of the logits")
            return None, 1.0
        return cap, slope

    # ---------------------------------------------------------- perceptron
    def _perceptron(self, weights: Sequence[Node], middle: Sequence[Node]) -> Perceptron | None:
        acts = [n for n in middle if n.op == "activation"]
        others = [n.name for n in middle if n.op not in ("weight", "activation", "shape", "dropout", "join")]
        if others or len(acts) > 1 or not 2 <= len(weights) <= 3:
            self.unknown.append(f"branch of {weights[0].name}")
            return None
        out = weights[-1]
        if not acts:
            activation = identity()
        else:
            activation = self.activations.get(acts[0].name.partition("#")[0], self.context.activation)
        if not modelled(activation):
            self.unknown.append(f"cosines through {activation.name}")
        ahead = weights[0]
        if len(weights) == 3 and acts and len(acts[0].inputs) == 2:
            inside = {n.index: n for n in middle}
            sources = [next((w for w in weights[:2] if w.index in ancestors(inside, i)), None) for i in acts[0].inputs]
            value, gate = sources[0] or ahead, sources[1] or ahead
            return Perceptron(
                activation=activation, in2=self._gain(value), gate2=self._gain(gate), out2=self._gain(out),
                bias2=self._bias(value), out_bias2=self._bias(out),
            )  # fmt: skip
        if len(weights) == 3:
            self.unknown.append(f"branch of {weights[0].name}")
            return None
        return Perceptron(
            activation=activation, in2=self._gain(ahead), out2=self._gain(out), bias2=self._bias(ahead),
            out_bias2=self._bias(out),
        )  # fmt: skip

    # ---------------------------------------------------------- sizes
    def _independent(self, matrices: Mapping[str, Tensor | None]) -> None:
        """Names matrices (out, in) of one attention that are not independent: theory takes them for it."""
        q, k, v, o = (matrices.get(x) for x in "qkvo")
        if alike(q, k):
            self.unknown.append("queries and keys whose matrices are alike")
        if alike(v, None if o is None else o.T):
            self.unknown.append("values and output whose matrices are each other's transpose")

    def _matrix(self, node: Node, part: str) -> Tensor | None:
        """A weight as (out, in); None where it is not one matrix."""
        site = self.sites.get(node.parameter)
        value = self._part(node.parameter, site, part) if site is not None else None
        if value is None or value.dim() != 2 or site is None:
            return None
        return value.T if site.dims == "io" else value

    def _gain(self, node: Node, part: str = "") -> float:
        site = self.sites.get(node.parameter)
        if site is None:
            self.unknown.append(f"the matrix of {node.name}")
            return 1.0
        if node.effective is not None:
            return site.fan_in * node.effective
        return site.fan_in * mean_square(self._part(node.parameter, site, part))

    def _rows(self, node: Node, part: str) -> int:
        site = self.sites[node.parameter]
        gate = next((g for g in site.gates if g.name == part), None)
        return gate.stop - gate.start if gate is not None else site.shape[1 if site.dims == "io" else 0]

    def _part(self, name: str, site: Site, part: str) -> Tensor:
        value = self.parameters[name].detach()
        gate = next((g for g in site.gates if g.name == part), None)
        if gate is None:
            return value
        return value.narrow(1 if site.dims == "io" and value.dim() > 1 else 0, gate.start, gate.stop - gate.start)

    def _bias(self, node: Node, part: str = "") -> float:
        value, site = self.parameters.get(node.shift), self.sites.get(node.parameter)
        if value is None or site is None:
            return 0.0
        gate = next((g for g in site.gates if g.name == part), None)
        return mean_square(value[gate.start : gate.stop] if gate is not None else value)
