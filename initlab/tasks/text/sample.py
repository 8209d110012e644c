"""Samples text from a trained language model after a prompt, one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.spec import Carrying
from initlab.tasks.text.tokens import Level, join


def continuation(
    model: nn.Module,
    prompt: Tensor,
    tokens: Sequence[str],
    *,
    level: Level,
    length: int,
    temperature: float,
    seed: int,
) -> str:
    """A text with the prompt and the continuation by `model`.

    Args:
        model: in eval mode, (B, T) int64 → (B, T, vocabulary). What it carries is given back.
        prompt: (T,) int64, on the model's device.
        tokens: the vocabulary.
        level: what a token is.
        length: tokens to draw.
        temperature: of the softmax.
        seed: of the run; draws come from its stream ``probe``.
    """
    drawn = sample(model, prompt, length=length, temperature=temperature, seed=seed)
    head = f"prompt, the first {len(prompt)} tokens of the validation part:"
    told = f"continuation, {len(drawn)} tokens at temperature {temperature:g}:"
    if len(drawn) < length:
        told = f"{told[:-1]} (its next prediction was not finite):"
    texts = [join([tokens[i] for i in ids], level) for ids in (prompt.tolist(), drawn)]
    return f"{head}\n\n{texts[0]}\n\n{told}\n\n{texts[1]}\n"


@torch.no_grad()
def sample(model: nn.Module, prompt: Tensor, *, length: int, temperature: float, seed: int) -> list[int]:
    """Tokens drawn after `prompt` (T,); fewer than `length` where the network's output is not finite.

    A network that carries its state reads each token once. Another reads the last T tokens anew each time.
    """
    generator = seeds.generator(seed, "probe", "sample")
    if not isinstance(model, Carrying):
        window = prompt[None]

        def read(new: Tensor | None) -> Tensor:
            nonlocal window
            if new is not None:
                window = torch.cat([window[:, 1:], new], dim=1)
            return model(window)

        return _draw(read, prompt, length, temperature, generator)
    before = model.carry, model.state
    model.carry, model.state = True, ()
    try:
        return _draw(lambda new: model(prompt[None] if new is None else new), prompt, length, temperature, generator)
    finally:
        model.carry, model.state = before


def _draw(
    read: Callable[[Tensor | None], Tensor], prompt: Tensor, length: int, temperature: float, generator: torch.Generator
) -> list[int]:
    drawn: list[int] = []
    new: Tensor | None = None
    while len(drawn) < length:
        # in float64 on the CPU: the same draws whatever the device rounds
        share = torch.softmax(read(new)[0, -1].double().cpu() / temperature, dim=-1)
        if not bool(torch.isfinite(share).all()):
            break
        drawn.append(int(torch.multinomial(share, 1, generator=generator)))
        new = prompt.new_tensor([[drawn[-1]]])
    return drawn
