"""Predicts the stream of a given transformer, block by block, and says what it does not know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initlab.activations import activations_of, identity
from initlab.network.attention import blocks_of
from initlab.network.attention_calls import AttentionCall, attention_calls
from initlab.network.graph import Graph, trace
from initlab.network.inputs import call, cloned, tensors
from initlab.network.sites import survey
from initlab.network.state import preserve_state
from initlab.spec import Activation, BlockForecast, InitContext, Site, StreamForecast
from initlab.theory.quadrature import moments_of
from initlab.theory.state import is_lookup
from initlab.theory.transformer.chains import mean_square
from initlab.theory.transformer.embedding import token_gram
from initlab.theory.transformer.gram import StreamState, recursion
from initlab.theory.transformer.kernels import KernelRangeError
from initlab.theory.transformer.network import Perceptron, Stream
from initlab.theory.transformer.prevention import sentences
from initlab.theory.transformer.read import read_stream

#: sequences that are walked, and tokens of each
_SEQUENCES, _TOKENS = 4, 512
#: standard deviation of logits beyond which the mean squared gradient is made by rare draws
_SATURATED = 14.0
#: below that, what lies above the first number may add up over blocks to the second
_SHARP, _SHARP_SUM = 8.0, 25.0
#: growth of the mean square of a stream without norms beyond which its draws scatter by more than 1.3
_GROWTH = 1e3


@dataclass(frozen=True)
class StreamSurvey:
    """A transformer as it was read.

    Attributes:
        stream: its branches.
        start: (sequences, T, T) Gram matrices of the tokens that enter the first branch.
        calls: its attentions.
        names: of its blocks.
        from_tokens: whether `start` was predicted from the tokens, and not measured behind the embedding.
    """

    stream: Stream
    start: Tensor
    calls: tuple[AttentionCall, ...]
    names: tuple[str, ...]
    from_tokens: bool


def survey_stream(
    model: nn.Module, inputs: Any, *, sites: tuple[Site, ...] = (), context: InitContext | None = None
) -> StreamSurvey | None:
    """Reads the residual stream of `model` on a batch of inputs; None where nothing attends or no stream is found.

    The network's mode, buffers and random numbers stay as they were.

    Args:
        inputs: two examples or more.
        sites, context: of the network; by default it is described, which takes a further pass.
    """
    with preserve_state(model):
        model.eval()
        calls = attention_calls(model, inputs)
        if not calls:
            return None
        graph = trace(model, inputs, moments=True)
        if context is None or not sites:
            found = survey(model, inputs)
            known = {**found.activations, **activations_of(model, None)}
            context = InitContext(activation=next(iter(known.values()), identity()), activations=known)
            sites = found.sites
        read = read_stream(model, graph, sites, context, calls)
        if read is None:
            return None
        stream, entry = read
        names = tuple(b for b in blocks_of(model, [c.module for c in calls]) if b)
        start = _from_tokens(model, graph, entry, sites, inputs)
        from_tokens = start is not None
        if start is None:
            start = _measured(model, inputs, names, calls[0].tokens)
    if start is None:
        return None
    return StreamSurvey(stream, start[:_SEQUENCES, :_TOKENS, :_TOKENS], calls, names, from_tokens)


def forecast_of(
    found: StreamSurvey, *, end: Tensor | None = None, draws: int = 8, explain: bool = True
) -> StreamForecast:
    """Predicts size, cosine, gradient and entropy behind each block.

    Args:
        found: of `survey_stream`.
        end: (sequences, T, T) Gram matrix of the gradient behind the last block, of the same sequences; by default an
            independent gradient at every token.
        draws: of attention's weights, a branch and sequence.
        explain: whether what would prevent a predicted collapse is computed as well.
    """
    stream, start = found.stream, found.start
    length = start.shape[-1]
    upper = None if end is None else end[: len(start), :length, :length]
    try:
        states = recursion(stream, start, gradient=upper, draws=draws)
    except KernelRangeError as error:
        unknown = (*stream.unknown, f"a stream that leaves the range of floating point ({error})")
        empty = StreamState(mean_square=math.nan, cosine=math.nan)
        states = (empty,) * (len(stream.branches) + 1)
        return StreamForecast(blocks=_blocks(stream, states, found.names, claimed=False), unknown=unknown)
    unknown = (*stream.unknown, *_beyond(stream, states))
    stds = [s.logit_std for s in states if not math.isnan(s.logit_std)]
    of_gradient: tuple[str, ...] = ()
    if max(stds, default=0.0) > _SATURATED or sum(max(0.0, s - _SHARP) for s in stds) > _SHARP_SUM:
        of_gradient = (f"the gradient through saturated attention (standard deviation of its logits {max(stds):.3g})",)
    blocks = _blocks(stream, states, found.names, claimed=not unknown, gradient=not of_gradient)
    told = () if unknown or not explain else sentences(stream, start, blocks)
    return StreamForecast(blocks=blocks, unknown=(*unknown, *of_gradient), sentences=told)


def _beyond(stream: Stream, states: tuple[StreamState, ...]) -> tuple[str, ...]:
    """Where means over draws are not what one draw shows: streams without norms that grow by their own size.

    What a draw has more than the mean at the first blocks is multiplied by all later ones.
    """
    normed = any(n.kind in ("layer", "rms") for b in stream.branches for n in (b.before, b.end, b.after))
    first = states[0].mean_square
    if normed or not first > 0:
        return ()
    growth = max(s.mean_square for s in states) / first
    if growth > _GROWTH:
        return (f"a stream without norms that grows {growth:.2g} times",)
    if growth > 2 and any(isinstance(b.inner, Perceptron) and _faster(b.inner.activation) for b in stream.branches):
        return ("a stream without norms that grows by an activation which grows faster than its input",)
    return ()


def _faster(activation: Activation) -> bool:
    """Whether E[φ²] grows faster than its argument: gated units and squares do."""
    if activation.gate is not None:
        return True
    low, high = (moments_of(activation, q=q).second for q in (1.0, 16.0))
    return high > 16 * 1.5 * low


def _blocks(
    stream: Stream, states: tuple[StreamState, ...], names: tuple[str, ...], *, claimed: bool, gradient: bool = True
) -> tuple[BlockForecast, ...]:
    claims = (claimed, claimed and gradient)
    found = [_block("", states[:1], claims)]
    begin = 1
    for i, last in enumerate(stream.blocks):
        found.append(_block(names[i] if i < len(names) else str(i), states[begin : last + 1], claims))
        begin = last + 1
    return tuple(found)


def _block(name: str, states: tuple[StreamState, ...], claims: tuple[bool, bool]) -> BlockForecast:
    last = states[-1]
    attends = [s for s in states if not math.isnan(s.entropy_ratio)]
    return BlockForecast(
        block=name, mean_square=last.mean_square, cosine=last.cosine, gradient=last.gradient,
        entropy_ratio=attends[-1].entropy_ratio if attends else math.nan,
        logit_std=attends[-1].logit_std if attends else math.nan, claimed=claims[0],
        gradient_claimed=claims[1],
    )  # fmt: skip


# ------------------------------------------------------------------ the start
def _from_tokens(model: nn.Module, graph: Graph, entry: int, sites: tuple[Site, ...], inputs: Any) -> Tensor | None:
    """The Gram matrices of embedded tokens, where the stream is a table looked up, and positions added."""
    tokens = inputs if isinstance(inputs, Tensor) and inputs.dim() == 2 and not inputs.is_floating_point() else None
    node = graph.nodes[entry]
    added = node.op == "shape" and node.name == "add" and len(node.inputs) == 1
    table = graph.nodes[node.inputs[0]] if added else node
    if tokens is None or table.op != "weight" or not is_lookup(graph, table):
        return None
    parameters = dict(model.named_parameters())
    places = [s for s in sites if s.kind == "position" and not s.unused]
    if added != bool(places) or table.parameter not in parameters:
        return None
    return token_gram(
        tokens.cpu(), token2=mean_square(parameters[table.parameter]),
        position2=sum(mean_square(parameters[s.name]) for s in places),
    )  # fmt: skip


def _measured(model: nn.Module, inputs: Any, names: tuple[str, ...], tokens: int) -> Tensor | None:
    """The Gram matrices of what the first block receives."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, args: Any, kwargs: Any) -> None:
        kept.extend(t.detach() for t in tensors((args, kwargs)) if t.is_floating_point() and t.dim() == 3)

    block = dict(model.named_modules()).get(names[0]) if names else None
    if block is None:
        return None
    handle = block.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            call(model, cloned(inputs))
    finally:
        handle.remove()
    if not kept:
        return None
    x = kept[0].to("cpu", torch.float64)
    x = x.transpose(0, 1) if x.shape[1] != tokens and x.shape[0] == tokens else x
    return x @ x.mT / x.shape[-1] if x.shape[1] == tokens else None
