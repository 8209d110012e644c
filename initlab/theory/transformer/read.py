"""Reads a transformer out of the graph of one forward pass: its residual branches and the scales of their matrices.

What a branch is comes from the wiring and never from a name: attention from a softmax over tokens, a perceptron from an
activation between two matrices, the stream from the sums that both reach. Gains are those of the weights as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from initlab.network.attention import blocks_of
from initlab.network.attention_calls import AttentionCall
from initlab.network.graph import Graph, Node, above
from initlab.spec import InitContext, Site
from initlab.theory.transformer.chains import Chain, passed_factor2, read_chain
from initlab.theory.transformer.inner import Reader, weight_nodes
from initlab.theory.transformer.network import NO_NORM, Branch, Stream


def read_stream(
    model: nn.Module, graph: Graph, sites: tuple[Site, ...], context: InitContext, calls: Sequence[AttentionCall]
) -> tuple[Stream, int] | None:
    """The stream of `model` and the index of the node at which it begins; None where nothing in it attends.

    Args:
        graph: of `network.graph.trace(model, batch, moments=True)`, in eval mode.
        sites: of `network.sites.describe`.
        context: which activation each module is.
        calls: of `network.attention_calls`.
    """
    if not calls:
        return None
    parameters = dict(model.named_parameters())
    walk = _Walk(graph, parameters, Reader(graph, sites, parameters, context, tuple(calls)))
    walk.run()
    if not walk.branches or walk.reader.attended == 0:
        return None
    if walk.reader.attended < len(calls):
        walk.unknown.append("attention outside of a residual branch")
    width = graph.nodes[walk.entry].shape[-1]
    blocks = blocks_of(model, [c.module for c in calls])
    return Stream(
        branches=tuple(walk.branches), width=width, ends=_ends(walk.branches, blocks),
        unknown=tuple(dict.fromkeys((*walk.unknown, *walk.reader.unknown))),
    ), walk.entry  # fmt: skip


def _ends(branches: Sequence[Branch], blocks: Sequence[str]) -> tuple[int, ...]:
    """For each block, how many branches are finished behind it; every branch where no block holds one."""
    last = [max((i + 1 for i, b in enumerate(branches) if b.name.startswith(f"{name}.")), default=0) for name in blocks]
    return tuple(last) if last and all(last) and sorted(set(last)) == last else tuple(range(1, len(branches) + 1))


class _Walk:
    """Follows the residual sums of a graph in the order of the forward pass."""

    def __init__(self, graph: Graph, parameters: Mapping[str, Tensor], reader: Reader) -> None:
        self.graph, self.parameters, self.reader = graph, parameters, reader
        self.above = above(graph)
        self.weights = sum(1 << n.index for n in weight_nodes(graph))
        self.branches: list[Branch] = []
        self.place: dict[int, int] = {}  # node of the stream → branches that are finished there
        self.entry = -1
        self.unknown: list[str] = []

    def run(self) -> None:
        last = -1
        for node in self.graph.nodes:
            if node.op == "sum" and len(node.inputs) == 2 and self._branch(node):
                last = node.index
        if self.branches and last >= 0 and self._post():
            self._last_norm(last)

    def _branch(self, node: Node) -> bool:
        """Whether the sum ends a branch, which is then added."""
        a, b = node.inputs
        mine, other = self.above[a] & ~self.above[b], self.above[b] & ~self.above[a]
        ours, theirs = ((x & self.weights).bit_count() for x in (mine, other))
        common = self.above[a] & self.above[b]
        if not common or min(ours, theirs) > 0 or ours == theirs:
            return False
        skip, end = (b, a) if ours > theirs else (a, b)
        fork = common.bit_length() - 1
        stream, kept = self._strip(skip)
        if not self.place:
            self.entry = stream
            self.place[stream] = 0
        if stream not in self.place and not self._after(stream):
            return False
        read = self._reads(fork)
        if read is None:
            return False
        inside = [
            n for n in self.graph.nodes[read + 1 : end + 1]
            if self.above[end] >> n.index & 1 and self.above[n.index] >> read & 1 and n.index not in self.place
        ]  # fmt: skip
        found = self.reader.branch(inside)
        if found is None:
            return False
        position = len(self.branches)
        if self.place[stream] != position:
            self.unknown.append(f"{node.name}: a stream that is left")
        reads = self.place[read]
        self.branches.append(replace(found, kept2=kept, reads=None if reads == position else reads))
        self.place[node.index] = position + 1
        return True

    def _strip(self, index: int) -> tuple[int, float]:
        """The node of the stream behind factors, and the product of their squares."""
        kept2 = 1.0
        while index not in self.place:
            node = self.graph.nodes[index]
            if node.op in ("shape", "dropout", "factor", "scale") and len(node.inputs) == 1 and not node.shift:
                kept2 *= read_chain([node], self.parameters, {}).factor2
            elif node.op == "opaque" and len(node.inputs) == 1:
                square = passed_factor2(node, self.graph.nodes[node.inputs[0]])
                if square is None:
                    break
                kept2 *= square
            else:
                break
            if node.op == "shape" and not self.place:  # an entry is where it is made, and not a view of it
                if len(self.graph.nodes[node.inputs[0]].shape) != len(node.shape):
                    break
                if self.graph.nodes[node.inputs[0]].op in ("weight", "input", "constant") or node.name == "add":
                    break
            index = node.inputs[0]
        return index, kept2

    def _row(self, index: int) -> tuple[int, list[Node]] | None:
        """The node of the stream above `index`, and the norm, factors and shapes between them."""
        row: list[Node] = []
        while index not in self.place:
            node = self.graph.nodes[index]
            if len(node.inputs) != 1 or node.op not in ("norm", "factor", "scale", "shape", "activation", "dropout"):
                return None
            row.append(node)
            index = node.inputs[0]
        return index, row[::-1]

    def _after(self, index: int) -> bool:
        """Whether `index` is a norm of the stream, which is then that of the branch before it."""
        found = self._row(index)
        if found is None or self.place[found[0]] == 0:
            return False
        chain = self._chain(found[1])
        position = self.place[found[0]]
        self.branches[position - 1] = replace(self.branches[position - 1], after=chain.norm)
        self.place[index] = position
        return True

    def _reads(self, fork: int) -> int | None:
        """The node of the stream that a branch with this fork reads."""
        if fork in self.place:
            return fork
        found = self._row(fork)
        return None if found is None else found[0]

    def _post(self) -> bool:
        return len(self.branches) > 1 and all(b.after != NO_NORM for b in self.branches[:-1])

    def _last_norm(self, index: int) -> None:
        """The norm behind the last sum of a post-norm network."""
        row: list[Node] = []
        while True:
            readers = [n for n in self.graph.nodes if index in n.inputs]
            if len(readers) != 1 or readers[0].op not in ("norm", "factor", "shape", "activation"):
                break
            row.append(readers[0])
            index = readers[0].index
            if readers[0].op == "norm":
                break
        if any(n.op in ("norm", "activation") for n in row):
            self.branches[-1] = replace(self.branches[-1], after=self._chain(row).norm)

    def _chain(self, row: Sequence[Node]) -> Chain:
        chain = read_chain(row, self.parameters, self.reader.activations)
        self.unknown.extend(chain.unknown)
        return chain
