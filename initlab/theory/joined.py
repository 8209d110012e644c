"""Batch norm over channels that were joined: each divides by its own variance, and so does the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initlab.theory.walk import Walk


def inverse_variance(walk: Walk, index: int) -> float:
    """E[1/variance] over the channels of a tensor, by which batch norm multiplies the squared gradient.

    Where the tensor joins several of different variance (DenseNet: new channels beside averaged ones), and nothing else
    reads it, the shares of the gradient are corrected too: channels of a smaller variance receive more of it.
    """
    node = walk.graph.nodes[index]
    if node.op == "join" and walk.readers[index] == 1 and len(walk.back[index]) == len(node.inputs):
        parts = [share * inverse_variance(walk, i) for share, i in zip(walk.back[index], node.inputs, strict=True)]
        walk.back[index] = tuple(p / sum(parts) for p in parts)
        return sum(parts)
    if node.op == "shape" and len(node.inputs) == 1 and walk.readers[index] == 1:
        return inverse_variance(walk, node.inputs[0])
    state = walk.states[index]
    variance = state.s - state.p
    return 1 / variance if variance > 0 else 0.0
