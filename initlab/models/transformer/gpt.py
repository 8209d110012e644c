"""A decoder: predicts the next token at every step. Parameter names as in GPT-2."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, arange, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.models.transformer.attention import AttentionScale, Positions
from initlab.models.transformer.block import Block, Names
from initlab.models.transformer.norms import TokenNorm, token_norm
from initlab.models.transformer.options import BranchScaling, NormPlace, Options, activations_of
from initlab.spec import IO, Activation, ModelBuilder, PositiveFloat, PositiveInt, Probability

#: as in GPT-2
_NAMES = Names(
    norms=("ln_1", "ln_2"), behind=("end_1", "end_2"), ends=("scale_1", "scale_2"), attention=("c_attn", "c_proj"),
    perceptron=("c_fc", "c_proj"),
)  # fmt: skip


@factory
def gpt(
    *,
    depth: PositiveInt = 4,
    width: PositiveInt = 128,
    heads: PositiveInt = 4,
    mlp_width: PositiveInt | Literal["auto"] = "auto",
    norm: TokenNorm = "layer",
    norm_at: NormPlace = "pre",
    qk_norm: bool = False,
    attention_scale: AttentionScale = "sqrt",
    softcap: PositiveFloat | None = None,
    positions: Positions = "learned",
    tied: bool = True,
    bias: bool = False,
    branch_scale: BranchScaling = "one",
    embedding_scale: PositiveFloat = 1.0,
    output_scale: PositiveFloat | Literal["mup"] = 1.0,
    base_width: PositiveInt = 64,
    base_depth: PositiveInt = 4,
    dropout: Probability = 0.0,
) -> ModelBuilder:
    """Builder of a decoder of `depth` blocks; see `GPT`.

    Args:
        depth: number of blocks, L; each has two residual branches.
        width: features of a token, D.
        heads: of each attention; divides `width`.
        mlp_width: units behind the activation of a block; ``auto`` is 4D, and 8D/3 for a gated activation.
        norm: ``layer``, ``rms``, ``dyt``, ``derf`` or ``none``.
        norm_at: ``pre`` before each branch, ``post`` after each sum, ``peri`` before and at the end of each branch.
        qk_norm: normalise queries and keys in each head (Henry et al., 2020).
        attention_scale: factor of the logits: ``sqrt`` 1/√d, ``linear`` 8/d, ``mup`` √(base_width/heads)/d, a number.
        softcap: c of c·tanh(logit/c) (Gemma 2, 2024); None for none.
        positions: ``learned`` (a table), ``rope`` (rotations) or ``none``.
        tied: the head's matrix is the embedding's.
        bias: of linear layers and layer norms.
        branch_scale: multiplier of each branch: ``one``, ``inverse_sqrt`` 1/√(2L), ``inverse`` 1/L, ``depth_mup``
            √(base_depth/L), ``completep`` base_depth/L, a number, or ``learned``, which begins as 1 (ReZero and
            SkipInit begin it as 0).
        embedding_scale: multiplier of what the embeddings of token and position add up to (Gemma's √D).
        output_scale: multiplier of the logits: a number, or ``mup`` for base_width/width.
        base_width, base_depth: width and depth at which the learning rate was tuned, for the options named after μP.
        dropout: of the embedding, the attention's weights and the ends of the branches, in training.

    Raises:
        ConfigError: heads that do not divide the width, a place for no norm.
    """
    options = Options(
        depth=depth, width=width, heads=heads, mlp_width=mlp_width, norm=norm, norm_at=norm_at, qk_norm=qk_norm,
        attention_scale=attention_scale, softcap=softcap, positions=positions, bias=bias, branch_scale=branch_scale,
        dropout=dropout, base_width=base_width, base_depth=base_depth,
    )  # fmt: skip
    scale = base_width / width if output_scale == "mup" else output_scale
    return partial(GPT, options=options, tied=tied, embedding_scale=embedding_scale, output_scale=scale)


class GPT(nn.Module):
    """Tokens (B, T) to logits (B, T, vocabulary); token t sees the tokens up to t.

    Parameters are named ``transformer.wte.weight``, ``transformer.wpe.weight``, ``transformer.h.<i>.ln_1.weight``,
    ``transformer.h.<i>.attn.c_attn.weight`` (queries, keys and values stacked), ``….attn.c_proj.weight``,
    ``….ln_2.weight``, ``….mlp.c_fc.weight``, ``….mlp.c_proj.weight``, ``transformer.ln_f.weight``, ``lm_head.weight``.
    """

    def __init__(
        self, io: IO, activation: Activation, *, options: Options, tied: bool = True, embedding_scale: float = 1.0,
        output_scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if io.vocabulary is None or not io.per_step:
            raise ConfigError(
                "model", "gpt", "predicts the next token of a text; use task=text, or model=vit for images"
            )
        o = options
        self.positions, self.context = o.positions, io.input_shape[0]
        self.embedding_scale, self.output_scale = embedding_scale, output_scale
        parts: dict[str, nn.Module] = {"wte": nn.Embedding(io.vocabulary, o.width)}
        if o.positions == "learned":
            parts["wpe"] = nn.Embedding(self.context, o.width)
        parts["drop"] = nn.Dropout(o.dropout)
        parts["h"] = nn.ModuleList([Block(o, a, _NAMES, causal=True) for a in activations_of(activation, o.depth)])
        parts["ln_f"] = nn.Identity() if o.norm_at == "post" else token_norm(o.norm, o.width, bias=o.bias)
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(o.width, io.classes, bias=False)
        if tied:
            if io.classes != io.vocabulary:
                raise ConfigError("tied", tied, "needs as many answers as tokens")
            self.lm_head.weight = parts["wte"].weight  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) int64, T up to the length of the training windows where positions are learned."""
        h = self.transformer["wte"](x)
        if self.positions == "learned":
            h = h + self.transformer["wpe"](arange(x.shape[1], device=x.device))
        if self.embedding_scale != 1.0:
            h = self.embedding_scale * h
        h = self.transformer["drop"](h)
        for block in self.transformer["h"]:  # pyright: ignore[reportGeneralTypeIssues]
            h = block(h)
        logits = self.lm_head(self.transformer["ln_f"](h))
        return logits if self.output_scale == 1.0 else self.output_scale * logits
