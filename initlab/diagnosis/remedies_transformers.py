"""Remedies for transformers: overrides to append to the same command. What was already set is never suggested."""

from __future__ import annotations

from collections.abc import Mapping

from initlab.spec import Remedy, Scalar

_USUAL = {"gpt": "gpt2", "vit": "vit"}


def is_transformer(params: Mapping[str, Scalar]) -> bool:
    """Whether the run's model is one of initlab's transformers."""
    return str(params.get("model")) in _USUAL


def usual_init(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """The initialiser that comes with the model, unless it was tried; nothing for other models."""
    init = _USUAL.get(str(params.get("model")), "")
    if not init or params.get("init") == init:
        return ()
    return (Remedy(overrides=(f"init={init}",), why="small logits and an even stream, the scheme of that model"),)


def apart_tokens(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings that keep the tokens of a sequence apart: a stronger shortcut."""
    found: list[Remedy] = []
    if params.get("model.norm_at") == "post":
        why = "the shortcut stays outside of the norms (Xiong et al., ICML 2020)"
        found.append(Remedy(overrides=("model.norm_at=pre",), why=why))
        if params.get("init") != "deepnorm":
            why = "branches weaker by (2N)^-1/4, for post-norm networks (Wang et al., 2022)"
            found.append(Remedy(overrides=("init=deepnorm", "model.branch_scale=learned"), why=why))
    elif "model.branch_scale" in params and params.get("model.branch_scale") != "inverse_sqrt":
        why = "branches times 1/√(2L): their sum keeps the size of the stream (Noci et al., NeurIPS 2022)"
        found.append(Remedy(overrides=("model.branch_scale=inverse_sqrt",), why=why))
    return (*found, *usual_init(params))


def calmer_attention(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings that take the logits of attention to a deviation near 1."""
    found: list[Remedy] = []
    if isinstance(params.get("model.attention_scale"), (int, float)):
        found.append(Remedy(overrides=("model.attention_scale=sqrt",), why="logits over √d (Vaswani et al., 2017)"))
    found += usual_init(params)
    if params.get("model.qk_norm") is False:
        why = "queries and keys of length √d: logits at most √d (Henry et al., 2020)"
        found.append(Remedy(overrides=("model.qk_norm=true", "model.attention_scale=sqrt"), why=why))
    return tuple(found)


def calmer_updates(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings under which logits grow slowly."""
    found: list[Remedy] = []
    if not params.get("lr_schedule.warmup"):
        found.append(warm_up())
    lr = params.get("optimizer.lr")
    if isinstance(lr, (int, float)) and not isinstance(lr, bool):
        found.append(Remedy(overrides=(f"optimizer.lr={float(f'{lr / 10:.1g}'):g}",), why="a tenth of the rate"))
    if params.get("model.qk_norm") is False:
        why = "bounds the logits whatever the weights become (Dehghani et al., ICML 2023)"
        found.append(Remedy(overrides=("model.qk_norm=true",), why=why))
    return tuple(found)


def warm_up() -> Remedy:
    """A learning rate that rises over the first tenth of the updates."""
    return Remedy(overrides=("lr_schedule=cosine", "lr_schedule.warmup=0.1"), why="small first updates")


def even_stream(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings that bound the growth of the stream over the blocks."""
    found: list[Remedy] = []
    if "model.branch_scale" in params and params.get("model.branch_scale") != "inverse_sqrt":
        found.append(Remedy(overrides=("model.branch_scale=inverse_sqrt",), why="branches times 1/√(2L)"))
    return (*found, *usual_init(params))


def quieter_head(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings under which the first logits are small."""
    found = list(usual_init(params))
    if params.get("model.tied") is True:
        found.append(Remedy(overrides=("model.tied=false",), why="a head of its own, drawn for logits"))
    return tuple(found)
