"""Small questions about the nodes of a branch and the matrices of an attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from initlab.network.graph import Node


def alike(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether the entries of two matrices correlate beyond chance."""
    if a is None or b is None or a.shape != b.shape:
        return False
    x, y = a.detach().double().flatten(), b.detach().double().flatten()
    size = float(x.norm() * y.norm())
    return size > 0 and abs(float(x @ y)) / size > max(0.02, 6 * x.numel() ** -0.5)


def is_rotary(node: Node) -> bool:
    """A node of rotary positions."""
    return node.op in ("product", "constant", "sum", "join") or (node.op == "factor" and node.factor == -1.0)


def ancestors(inside: Mapping[int, Node], index: int) -> set[int]:
    """`index` and what it is computed from, inside a branch."""
    found: set[int] = set()
    waiting = [index]
    while waiting:
        at = waiting.pop()
        if at in inside and at not in found:
            found.add(at)
            waiting.extend(inside[at].inputs)
    return found


def descendants(inside: Sequence[Node], roots: Sequence[int]) -> set[int]:
    """Indices of the nodes that are computed from one of `roots`, and those."""
    found = set(roots)
    for node in inside:
        if found.intersection(node.inputs):
            found.add(node.index)
    return found
