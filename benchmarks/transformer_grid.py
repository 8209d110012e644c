"""The networks of `transformer_theory.py`: drawn at random, with weights of random scale."""

from __future__ import annotations

import math
import random
from typing import Any

import torch
from torch import Tensor, nn

Cell = dict[str, Any]

ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "elu", "squared_relu", "swiglu", "geglu", "reglu", "sin", "softplus")
SCALES = ("one", "one", "inverse_sqrt", "inverse", "convex", 0.3)
VOCABULARY = 65


def grid(count: int, seed: int) -> list[Cell]:
    """`count` networks, the same ones at every call with the same seed."""
    rng = random.Random(seed)
    cells: list[Cell] = []
    for number in range(count):
        width = rng.choice((64, 96, 128, 192, 256))
        heads = rng.choice(
            [h for h in (1, 2, 3, 4, 6, 8) if width % h == 0 and width // h >= 16 and (width // h) % 2 == 0]
        )
        norm = rng.choice(("layer", "layer", "layer", "rms", "rms", "dyt", "derf", "none"))
        place = "pre" if norm == "none" else rng.choice(("pre", "post", "post", "peri"))
        prone = rng.random() < 0.3  # to collapse of rank
        if prone and norm != "none":
            place = "post"
        cells.append(
            {
                "number": number, "seed": seed, "depth": round(math.exp(rng.uniform(math.log(2), math.log(48.5)))),
                "width": width, "heads": heads, "norm": norm, "norm_at": place,
                "causal": rng.random() < 0.6, "tokens": rng.choice((32, 48, 64)),
                "activation": rng.choice(ACTIVATIONS),
                "branch_scale": "one" if prone else rng.choice(SCALES),
                "qk_norm": rng.random() < 0.12, "softcap": 5.0 if rng.random() < 0.08 else None,
                "positions": rng.choice(("learned", "learned", "rope", "none")),
                # s_q s_k over two decades
                "logit_gain": 10 ** rng.uniform(-0.6, 1.5), "value_gain": rng.uniform(0.5, 3.0),
                "out_gain": rng.uniform(0.5, 1.4), "in_gain": rng.uniform(0.7, 1.8), "end_gain": rng.uniform(0.5, 1.4),
                "embedding": rng.choice((1.0, 1.0, 0.3, 0.02)),
            }
        )  # fmt: skip
    return cells


def build(cell: Cell) -> nn.Module:
    """The network of a cell, its weights not yet drawn."""
    from initlab import activations
    from initlab.models import gpt, vit
    from initlab.spec import IO

    activation = activations.parse_activation(cell["activation"])
    options = {
        k: cell[k]
        for k in ("depth", "width", "heads", "norm", "norm_at", "qk_norm", "softcap", "positions", "branch_scale")
    }
    if cell["causal"]:
        io = IO(input_shape=(cell["tokens"],), classes=VOCABULARY, vocabulary=VOCABULARY, per_step=True)
        return gpt(tied=False, **options)(io, activation)
    side = {32: (4, 8), 48: (6, 8), 64: (8, 8)}[cell["tokens"]]
    io = IO(input_shape=(1, 4 * side[0], 4 * side[1]), classes=10)
    return vit(patch=4, pool="mean", **options)(io, activation)


def draw(model: nn.Module, cell: Cell, seed: int) -> None:
    """Gaussian weights of the cell's gains, biases 0, norms and multipliers as they are."""
    generator = torch.Generator().manual_seed(10_000 * cell["seed"] + 100 * cell["number"] + seed)

    def normal(p: Tensor, std: float) -> None:
        p.copy_(std * torch.randn(p.shape, generator=generator))

    with torch.no_grad():
        for name, p in model.named_parameters():
            short = name.removesuffix(".weight").rpartition(".")[2]
            if name.endswith("bias"):
                p.zero_()
            elif short in ("c_attn", "qkv"):
                fan = p.shape[1] ** -0.5
                for part, gain in zip(
                    p.chunk(3), (math.sqrt(cell["logit_gain"]),) * 2 + (cell["value_gain"],), strict=True
                ):
                    normal(part, gain * fan)
            elif ".attn." in name and short in ("c_proj", "proj"):
                normal(p, cell["out_gain"] * p.shape[1] ** -0.5)
            elif short in ("c_fc", "fc1"):
                normal(p, cell["in_gain"] * p.shape[1] ** -0.5)
            elif ".mlp." in name and short in ("c_proj", "fc2"):
                normal(p, cell["end_gain"] * p.shape[1] ** -0.5)
            elif "embed" in name and p.dim() == 4:
                normal(p, cell["embedding"] * p[0].numel() ** -0.5)
            elif short in ("wte", "wpe", "pos_embed", "cls_token"):
                normal(p, cell["embedding"])
            elif short in ("lm_head", "head"):
                normal(p, p.shape[1] ** -0.5)


def inputs(cell: Cell, examples: int) -> Tensor:
    """Tokens of a skewed distribution, or images of smooth noise: both with repetition."""
    generator = torch.Generator().manual_seed(cell["number"])
    if cell["causal"]:
        chances = 1 / torch.arange(1, VOCABULARY + 1).float()
        return torch.multinomial(chances, examples * cell["tokens"], replacement=True, generator=generator).view(
            examples, -1
        )
    side = {32: (4, 8), 48: (6, 8), 64: (8, 8)}[cell["tokens"]]
    coarse = torch.randn(examples, 1, *side, generator=generator)
    fine = torch.randn(examples, 1, 4 * side[0], 4 * side[1], generator=generator)
    return 0.7 * nn.functional.interpolate(coarse, scale_factor=4) + 0.7 * fine
