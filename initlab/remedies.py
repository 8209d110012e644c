"""What to try next, as overrides of the same command; none of them is what was tried already."""

from __future__ import annotations

from collections.abc import Mapping

from initlab.spec import Remedy, Scalar

#: which initialisation goes with which activation: (overrides, why)
_PARTNERS: dict[str, tuple[tuple[str, ...], str]] = {
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
    """An initialisation that goes with the activation, where it is not the one that was tried."""
    activation, init = str(params.get("activation")), str(params.get("init"))
    overrides, why = _PARTNERS.get(activation, (("init=he",), "gain 1/√E[φ²] for this activation"))
    found: list[Remedy] = []
    if f"init={init}" not in overrides:
        found.append(Remedy(overrides=overrides, why=why))
    if init != "auto":
        found.append(Remedy(overrides=("init=auto",), why="tries what suits this network on one batch, and says why"))
    if init != "orthogonal":
        found.append(Remedy(overrides=("init=orthogonal",), why="equal singular values (Saxe et al., 2014)"))
    return tuple(found)


def longer_memory(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """What lets a gradient reach further back in time, by the kind of recurrent network."""
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
    """What keeps the state of a plain RNN from growing over time."""
    relu = str(params.get("activation")) == "relu"
    found = [Remedy(overrides=("init=orthogonal",), why="every singular value is 1 (Saxe et al., 2014)")]
    if relu:
        found.append(Remedy(overrides=("init=irnn",), why="an identity neither grows nor shrinks (Le et al., 2015)"))
    return tuple(r for r in found if r.overrides != (f"init={params.get('init')}",))


def structure(params: Mapping[str, Scalar]) -> tuple[Remedy, ...]:
    """Remedies in the architecture, where the model has the key."""
    found: list[Remedy] = []
    if params.get("model.norm") == "none":
        found.append(
            Remedy(overrides=("model.norm=batch",), why="rescales the signal in every layer (Ioffe & Szegedy, 2015)")
        )
    if params.get("model.residual") is False:
        found.append(
            Remedy(overrides=("model.residual=true",), why="gives gradient a path of its own (He et al., 2016)")
        )
    return tuple(found)


def smaller_lr(params: Mapping[str, Scalar]) -> Remedy:
    """A tenth of the learning rate."""
    lr = number(params, "optimizer.lr")
    return Remedy(
        overrides=(f"optimizer.lr={lr / 10:g}" if lr is not None else "optimizer.lr=1e-4",), why="a tenth of the rate"
    )


def number(params: Mapping[str, Scalar], key: str) -> float | None:
    """A parameter of the configuration, where it is a number."""
    value = params.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
