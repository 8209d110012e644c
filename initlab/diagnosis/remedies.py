"""Remedies: overrides to append to the same command. What was already tried is never suggested."""

from __future__ import annotations

from collections.abc import Mapping

from initlab.diagnosis.remedies_transformers import is_transformer, usual_init
from initlab.spec import Remedy, Scalar

#: which initialisation goes with which activation: (overrides, why)
_RECOMMENDED_INITS: dict[str, tuple[tuple[str, ...], str]] = {
    "relu": (("init=he",), "keeps the mean square of a ReLU network's signal (He et al., 2015)"),
    "leaky_relu": (("init=he",), "keeps the mean square of the signal (He et al., 2015)"),
    "tanh": (("init=xavier",), "tanh is critical at gain 1 (Glorot & Bengio, 2010)"),
    "identity": (("init=orthogonal",), "a deep linear network keeps every norm (Saxe et al., 2014)"),
    "selu": (("init=lecun",), "SELU normalises itself at gain 1 only (Klambauer et al., 2017)"),
    "sigmoid": (("activation=tanh", "init=xavier"), "a deep sigmoid network vanishes at any usual scale"),
    "gelu": (("init=lsuv",), "GELU is unstable at He's gain; LSUV sets each layer on data (Mishkin & Matas, 2016)"),
    "silu": (("init=lsuv",), "SiLU is unstable at He's gain; LSUV sets each layer on data (Mishkin & Matas, 2016)"),
    "softplus": (("activation=relu", "init=he"), "softplus has no critical point"),
}


def better_init(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """An initialiser recommended for the activation, unless it was tried already."""
    if usual := usual_init(params):
        return usual
    activation, init = str(params.get("activation")), str(params.get("init"))
    overrides, why = _RECOMMENDED_INITS.get(activation, (("init=he",), "gain 1/√E[φ²] for this activation"))
    found: list[Remedy] = []
    if overrides != (f"init={init}",):  # with another activation the same one is another proposal
        found.append(Remedy(overrides=overrides, why=why))
    if init != "auto":
        found.append(Remedy(overrides=("init=auto",), why="tries what suits this network on one batch, and says why"))
    if init != "orthogonal":
        found.append(Remedy(overrides=("init=orthogonal",), why="equal singular values (Saxe et al., 2014)"))
    return tuple(found)


def longer_memory(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings that let the gradient reach further back in time, by type of recurrent network."""
    model, init = str(params.get("model")), str(params.get("init"))
    found: list[Remedy] = []
    if model in ("lstm", "gru"):
        if init != "chrono":
            found.append(
                Remedy(overrides=("init=chrono",), why="memories from 2 to t_max steps (Tallec & Ollivier, ICLR 2018)")
            )
        if init != "recurrent" and model == "lstm":
            found.append(Remedy(overrides=("init=recurrent",), why="forget bias 1 (Gers et al., 2000)"))
        return tuple(found)
    if init != "irnn":
        overrides = ("init=irnn",) if str(params.get("activation")) == "relu" else ("activation=relu", "init=irnn")
        found.append(Remedy(overrides=overrides, why="an identity keeps state and gradient (Le et al., 2015)"))
    found.append(Remedy(overrides=("model=lstm", "init=recurrent"), why="a cell that gates keep (Hochreiter, 1997)"))
    return tuple(found)


def smaller_recurrence(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Settings that keep the state of a plain RNN from growing over time."""
    relu = str(params.get("activation")) == "relu"
    found = [Remedy(overrides=("init=orthogonal",), why="every singular value is 1 (Saxe et al., 2014)")]
    if relu:
        found.append(Remedy(overrides=("init=irnn",), why="an identity neither grows nor shrinks (Le et al., 2015)"))
    return tuple(r for r in found if r.overrides != (f"init={params.get('init')}",))


def architecture_changes(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Remedies in the architecture, where the model has the key."""
    found: list[Remedy] = []
    if params.get("model.norm") == "none":
        norm, source = ("layer", "Ba et al., 2016") if is_transformer(params) else ("batch", "Ioffe & Szegedy, 2015")
        found.append(Remedy(overrides=(f"model.norm={norm}",), why=f"rescales the signal in every layer ({source})"))
    if params.get("model.residual") is False:
        found.append(
            Remedy(overrides=("model.residual=true",), why="gives gradient a path of its own (He et al., 2016)")
        )
    return tuple(found)


def scaled_branches(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Initialisers for residual branches without norms, unless they were tried already."""
    schemes = (
        ("residual_scaled", "the last layer of each of L branches times L^-1/2 (Hayou et al., AISTATS 2021)"),
        ("fixup", "branches begin as nothing and wake in the first updates (Zhang et al., ICLR 2019)"),
    )
    found = [Remedy(overrides=(f"init={n}",), why=why) for n, why in schemes if params.get("init") != n]
    if "model.branch_scale" in params and params.get("init") != "skipinit":
        why = "branches times α, which begins as 0: gradients of a shallow network (De & Smith, 2020)"
        multiplier = "learned" if is_transformer(params) else "true"
        found.insert(0, Remedy(overrides=("init=skipinit", f"model.branch_scale={multiplier}"), why=why))
    return tuple(found)


def no_bias(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Zero biases, where they were set to another constant."""
    bias = numeric_parameter(params, "init.bias")
    return (Remedy(overrides=("init.bias=0",), why="a bias of zero leaves half of the units on"),) if bias else ()


def no_decay(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Less weight decay: none, or the usual value."""
    usual = Remedy(overrides=("optimizer.weight_decay=0.01",), why="AdamW's customary decay")
    none = Remedy(overrides=("optimizer.weight_decay=0",), why="leaves the weights to the loss")
    return (none, usual) if str(params.get("optimizer")) == "adamw" else (none,)


def clipping(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """A bound on the gradient's norm, where there is none."""
    if numeric_parameter(params, "trainer.clip_grad_norm") is not None:
        return ()
    return (Remedy(overrides=("trainer.clip_grad_norm=1.0",), why="bounds each update"),)


def no_clipping() -> tuple[Remedy, ...]:
    """No gradient clipping, where clipping leaves almost nothing of the gradient."""
    return (Remedy(overrides=("trainer.clip_grad_norm=null",), why="the bound leaves next to nothing of any gradient"),)


def more_updates(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """More updates: smaller batches for the same epochs, else more epochs."""
    batch, epochs = numeric_parameter(params, "trainer.batch_size"), numeric_parameter(params, "trainer.epochs")
    found: list[Remedy] = []
    if params.get("trainer.max_steps") is not None:
        found.append(Remedy(overrides=("trainer.max_steps=null",), why="lets all epochs run"))
    if batch is not None and batch > 64:
        found.append(Remedy(overrides=("trainer.batch_size=64",), why=f"{batch / 64:.0f} times as many updates"))
    if epochs is not None:
        found.append(Remedy(overrides=(f"trainer.epochs={10 * int(epochs)}",), why="ten times as many updates"))
    return tuple(found)


def lr_for(params: Mapping[str, Scalar], factor: float) -> tuple[Remedy, ...]:
    """The learning rate times `factor`, to one digit."""
    lr = numeric_parameter(params, "optimizer.lr")
    if lr is None or lr <= 0:
        word = "larger" if factor > 1 else "smaller"
        return (Remedy(overrides=("optimizer.lr=0.001",), why=f"the customary rate; a {word} one is wanted"),)
    new = float(f"{lr * factor:.1g}")
    return (
        Remedy(overrides=(f"optimizer.lr={new:g}",), why=f"{factor:.1g} times the rate: updates of the customary size"),
    )


def smaller_lr(params: Mapping[str, Scalar]) -> Remedy:
    """A tenth of the learning rate."""
    lr = numeric_parameter(params, "optimizer.lr")
    return Remedy(
        overrides=(f"optimizer.lr={lr / 10:g}" if lr is not None else "optimizer.lr=1e-4",), why="a tenth of the rate"
    )


def numeric_parameter(params: Mapping[str, Scalar], key: str) -> float | None:
    """A parameter of the configuration, where it is a number."""
    value = params.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
