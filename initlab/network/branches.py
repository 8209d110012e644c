"""Finds the residual branches of a traced network."""

from __future__ import annotations

from dataclasses import replace

from initlab.network.graph import Graph, Node, above
from initlab.spec import Branch


def branches(graph: Graph) -> dict[str, Branch]:
    """Name of module and of parameter → its place, for every weight, norm and scale inside a residual branch.

    A sum is the end of a branch where both summands come from one source and one of them passed weights that the other
    did not. Where both did (a projection on the shortcut), the one with more is the branch; where they are as many, the
    two are equals and neither is one.
    """
    passed, sources = _ancestry(graph)
    origins = above(graph)
    ends: list[list[Node]] = []
    for node in graph.nodes:
        if node.op != "sum" or len(node.inputs) != 2:
            continue
        a, b = node.inputs
        mine, other = passed[a] & ~passed[b], passed[b] & ~passed[a]
        ours, theirs = _count(graph, mine), _count(graph, other)
        if not sources[a] & sources[b] or ours == theirs:
            continue
        longer = mine if ours > theirs else other
        fork = (origins[a] & origins[b]).bit_length() - 1  # the last step that both summands come from
        ends.append([n for n in graph.nodes if longer >> n.index & 1 and origins[n.index] >> fork & 1])
    found: dict[str, Branch] = {}
    for index, nodes in enumerate(ends):
        done = _depths(graph, nodes)
        length = max(done.values(), default=0)
        for node in nodes:
            place = Branch(index=index, position=max(done[node.index] - 1, 0), length=length, count=len(ends))
            if node.op == "attention":  # its output projection is a child that is never called by itself
                found.setdefault(f"{node.name}.out_proj", place)
                place = replace(place, position=place.position - 1)
            for name in (node.parameter, node.name):
                if name:
                    found.setdefault(name, place)
    return found


def _depths(graph: Graph, nodes: list[Node]) -> dict[int, int]:
    """For each node of a branch, the weight layers in a row up to it, itself included."""
    if not nodes:
        return {}
    inside = {n.index for n in nodes}
    passed: dict[int, int] = {}
    for node in graph.nodes[min(inside) : max(inside) + 1]:
        before = max((passed.get(i, 0) for i in node.inputs), default=0)
        passed[node.index] = before + (_layers(node) if node.index in inside else 0)
    return {i: passed[i] for i in inside}


def _ancestry(graph: Graph) -> tuple[list[int], list[int]]:
    """Bit sets a node: the parametrised nodes it comes through, and the nodes without inputs it comes from."""
    passed: list[int] = []
    sources: list[int] = []
    for node in graph.nodes:
        own = 1 << node.index if _has_parameters(node) else 0
        through, begins = own, 0 if node.inputs else 1 << node.index
        for i in node.inputs:
            through |= passed[i]
            begins |= sources[i]
        passed.append(through)
        sources.append(begins)
    return passed, sources


def _has_parameters(node: Node) -> bool:
    return node.op in ("weight", "norm", "scale", "recurrent", "attention") or (
        node.op == "factor" and node.factor is None
    )


def _layers(node: Node) -> int:
    """How many weight layers in a row a node is."""
    return {"weight": 1, "recurrent": 1, "attention": 2}.get(node.op, 0)


def _count(graph: Graph, bits: int) -> int:
    return sum(_layers(n) for n in graph.nodes if bits >> n.index & 1)
