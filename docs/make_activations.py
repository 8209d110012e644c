"""Writes docs/activations.md and a page with a picture for each entry: `python docs/make_activations.py`.

Run by hand when an entry changes, or docs/catalogue.json; the result is committed. Same catalogue, same bytes.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from initlab.activations import factories, parse_activation
from initlab.activations.slope import derivative
from initlab.config import compose, experiment
from initlab.report.charts import Figure, Line, Scale, lines_panel
from initlab.spec import Activation, ElementwiseFn
from initlab.theory import dks, gain, tat
from initlab.theory.meanfield import q_map
from initlab.theory.quadrature import moments_of

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from catalogue import figure_text, measured_lines, measured_of  # noqa: E402

CONF = DOCS.parent / "conf" / "activation"
FAMILIES = (
    ("activations.rectified", "Rectified"),
    ("activations.sigmoidal", "Sigmoidal"),
    ("activations.smooth", "Smooth relatives of ReLU"),
    ("activations.shrink", "Shrinkage"),
    ("activations.periodic", "Waves and bumps"),
    ("activations.gated", "Several units"),
    ("activations.learnable", "Learnable"),
    ("activations.acon", "Switched between linear and nonlinear"),
    ("activations.mixtures", "Mixed"),
    ("activations.expression", "Formulas"),
    ("theory.shaping", "Shaped for a depth"),
)
REACH = 5.0
#: χ_q above which a fixed point counts as unstable: a deviation of a tenth doubles within 700 layers
UNSTABLE = 1.001
LAYERS = 50
#: what a curve of an activation of several units shows: the others are held at a value
HELD = {
    "glu": "h₁ held at 1, over h₂", "geglu": "h₁ held at 1, over h₂", "swiglu": "h₁ held at 1, over h₂",
    "reglu": "h₁ held at 1, over h₂", "crelu": "both units sent, over h", "maxmin": "both units sent, h₂ held at 0",
    "maxout": "h₂ held at 0", "per_layer": "its layers as in the file", "alternate": "its members as in the file",
    "blend": "its members in grey", "homotopy": "the way from the first (grey) to the last", "expr": "as in the file",
}  # fmt: skip


def entries() -> dict[str, Callable[..., Activation]]:
    """Name → factory of everything that conf/activation offers."""
    return {**factories(), "dks": dks, "tat": tat}


@cache
def activation(name: str) -> Activation:
    """The entry as its file has it."""
    return experiment(compose([f"activation={name}"])).activation


# ------------------------------------------------------------------ text
def index() -> str:
    """The page of all entries."""
    lines = [
        "# Activations",
        "",
        "<!-- Written by docs/make_activations.py. -->",
        "",
        f"{len(entries())} entries, chosen with `activation=NAME`; each has a page with picture and figures.",
        "*Gain* is 1/√E[φ²] forward and 1/√E[φ'²] backward for h ~ N(0, 1), of the entry as its file has it;",
        "`init.gain=auto` uses it. Keys are set as `activation.KEY=VALUE`. Wherever an entry takes other activations,",
        "a name, a name with arguments (`leaky_relu(negative_slope=0.2)`) and a formula in x will do.",
        "Float16 and bfloat16 are computed in float32 and rounded once; torch's own modules do so within each kernel.",
        "*Accuracy*: of a plain network of ten hidden layers of 64 on scikit-learn's digits, He's initialisation, ten",
        "epochs of Adam, mean of three seeds, nothing tuned. Such a network asks much of an activation.",
    ]
    for module, title in FAMILIES:
        subject = inspect.getdoc(importlib.import_module(f"initlab.{module}")) or ""
        lines += ["", f"## {title}", "", subject.split("\n\n")[0], ""]
        lines += ["| entry | formula and source | gain forward | backward | accuracy |", "|---|---|---|---|---|"]
        for name in (n for n, f in entries().items() if f.__module__ == f"initlab.{module}"):
            lines.append(row(name))
    lines += unstable()
    return "\n".join(lines) + "\n"


def row(name: str) -> str:
    """A line of the index."""
    first = doc_of(name).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    found = activation(name)
    gains = ("of its layers", "") if found.layers else (f"{gain(found):.4f}", f"{gain(found, 'backward'):.4f}")
    measured = measured_of(f"activation={name}").get("init=he", {}).get("test/accuracy")
    return f"| [`{name}`](activation/{name}.md) | {first} | {gains[0]} | {gains[1]} | {figure_text(measured)} |"


def doc_of(name: str) -> str:
    return (inspect.getdoc(entries()[name]) or "").split("\n\nArgs:")[0].split("\n\nRaises:")[0]


def page(name: str) -> str:
    """The page of one entry: picture, formula and use, gain, figures, keys."""
    held = f" ({HELD[name]})" if name in HELD else ""
    lines = [
        f"# {name}", "", "<!-- Written by docs/make_activations.py. -->", "",
        f"![{name}: φ solid, φ' dashed{held}]({name}.svg)", "", doc_of(name), "",
    ]  # fmt: skip
    found = activation(name)
    if not found.layers:
        lines.append(f"Gain {gain(found):.4f} forward, {gain(found, 'backward'):.4f} backward{note(found)}.")
        if stability(found) > UNSTABLE:
            lines += [
                "",
                f"*Unstable at this gain*: χ_q = {stability(found):.3f} > 1, so that in a deep network without norms a "
                "small signal fades and a large one explodes ([table](../activations.md#unstable-fixed-points)).",
            ]
    else:
        lines.append("Each layer has the gain of its own activation.")
    lines += measured_lines(f"activation={name}")
    keys = (CONF / f"{name}.yaml").read_text(encoding="utf-8").split("\n", 2)[2]
    if keys.strip():
        lines += ["", "## Keys", "", "```yaml", keys.rstrip(), "```"]
    lines += ["", "## Try it", "", "```bash", f"python -m initlab activation={name}", "```", ""]
    lines.append("[All activations](../activations.md)")
    return "\n".join(lines) + "\n"


def note(found: Activation) -> str:
    received, sent = found.units
    if found.units != (1, 1):
        return f", for each unit sent; {received} received make {sent} sent"
    return ""


# ------------------------------------------------------------------ stability
def stability(found: Activation) -> float:
    """χ_q = dE[φ²]/dq / E[φ²] at q = 1: the slope of the variance map at its fixed point by the forward gain."""
    m = moments_of(found, q=1.0)
    return m.second_by_q / m.second


def unstable() -> list[str]:
    """The table of the entries whose fixed point at the forward gain is unstable."""
    lines = [
        "",
        "## Unstable fixed points",
        "",
        "The forward gain makes q = 1, q the mean square of the pre-activations, a fixed point of the map from layer",
        "to layer; where χ_q > 1 the signal leaves it. Per layer a small deviation grows by χ_q and the squared",
        f"gradient by χ₁; the last columns are q in layer {LAYERS} for that of the first, without norms. Units of",
        "gated entries are independent. What helps: a norm before each activation (as in every transformer),",
        "`init=lsuv`, or `init=edge_of_chaos` where a critical point exists.",
        "",
        "| at its forward gain | χ_q | χ₁ | from q = 0.9 | from q = 1.1 |",
        "|---|---|---|---|---|",
    ]
    for name in entries():
        found = activation(name)
        if found.layers or stability(found) <= UNSTABLE:
            continue
        m = moments_of(found, q=1.0)
        ends = (f"{_number(_after(found, q))}" for q in (0.9, 1.1))
        lines.append(f"| `{name}` | {stability(found):.3f} | {m.slope_second / m.second:.3f} | {' | '.join(ends)} |")
    return lines


def _after(found: Activation, q: float) -> float:
    """q in the last layer, for that of the first; 0 and infinity below 1e-10 and above 1e8."""
    sigma_w2 = gain(found) ** 2
    for _ in range(LAYERS - 1):
        q = q_map(found, q, sigma_w2=sigma_w2, sigma_b2=0.0)
        if not 1e-10 < q < 1e8:
            return 0.0 if q < 1 else math.inf
    return q


def _number(q: float) -> str:
    return "∞" if math.isinf(q) else f"{q:.2g}"


# ------------------------------------------------------------------ pictures
def curves(name: str) -> tuple[list[tuple[ElementwiseFn, tuple[float, ...]]], list[ElementwiseFn]]:
    """Functions with their kinks, drawn with their derivatives, and functions that are drawn thin and grey."""
    found = activation(name)
    if name in ("glu", "geglu", "swiglu", "reglu"):
        gate: dict[str, Callable[[Tensor], Tensor]] = {
            "glu": torch.sigmoid, "geglu": torch.nn.functional.gelu, "swiglu": torch.nn.functional.silu,
            "reglu": torch.relu,
        }  # fmt: skip
        return [(gate[name], (0.0,) if name == "reglu" else ())], []
    if name == "crelu":
        return [(torch.relu, (0.0,)), (lambda x: torch.relu(-x), (0.0,))], []
    if name == "maxmin":
        return [(torch.relu, (0.0,)), (lambda x: -torch.relu(-x), (0.0,))], []
    if name == "maxout":
        return [(torch.relu, (0.0,))], []
    if found.layers:
        unique = {a.name: a for a in found.layers}
        return [(a.fn, a.kinks) for a in unique.values()], []
    if name == "blend":
        return [(found.fn, found.kinks)], [parse_activation("relu").fn, parse_activation("tanh").fn]
    if name == "homotopy":
        module = found.make()
        way: list[ElementwiseFn] = [found.fn]
        for share in (0.15, 0.35):
            module.set_progress(share)  # pyright: ignore[reportCallIssue]
            way.append(module.activation.fn)  # pyright: ignore[reportAttributeAccessIssue]
        return [(parse_activation("relu").fn, (0.0,))], way
    return [(found.fn, found.kinks)], []


def picture(name: str) -> str:
    """φ and φ' from -5 to 5, as SVG."""
    drawn, grey = curves(name)
    lines: list[Line] = []
    seen = [0.0]
    for fn in grey:
        x = torch.linspace(-REACH, REACH, 200, dtype=torch.float64)
        lines.append(Line(label="", points=list(zip(x.tolist(), fn(x).tolist(), strict=True)), colour=8))
        seen += [float(fn(x).min()), float(fn(x).max())]
    for k, (fn, kinks) in enumerate(drawn):
        x, value, slope = _pieces(fn, kinks)
        for words, y, colour, dash in (("φ'", slope, 1, "dash"), ("φ", value, 0, "")):
            points = list(zip(x.tolist(), y.tolist(), strict=True))
            lines.append(Line(label=words if k == 0 else "", points=points, colour=colour, dash=dash))
        seen += [float(v) for v in (np.nanmin(value), np.nanmax(value), np.nanmin(slope), np.nanmax(slope))]
    low, high = max(-3.0, min(seen)), min(4.0, max(seen))
    margin = 0.06 * (high - low)
    y = Scale(low - margin, high + margin)
    inside = [
        replace(line, points=[(a, b if y.low <= b <= y.high else math.nan) for a, b in line.points]) for line in lines
    ]
    panel = lines_panel(inside, x_label="pre-activation h", y_label="", x=Scale(-REACH, REACH), y=y, height=210)
    return Figure(name, (panel,), "").standalone()


def _pieces(fn: ElementwiseFn, kinks: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, φ and φ' with a gap at each kink, so that no jump is drawn as a slope."""
    borders = [-REACH, *[k for k in sorted(kinks) if -REACH < k < REACH], REACH]
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    gap = np.array([np.nan])
    for low, high in itertools.pairwise(borders):
        x = torch.linspace(low + 1e-9, high - 1e-9, 120, dtype=torch.float64)
        y, slope = fn(x).numpy(), derivative(fn, x).numpy()
        parts += [(x.numpy(), y, slope), (gap, gap, gap)]
    return tuple(np.concatenate(row) for row in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]


def main() -> None:
    folder = DOCS / "activation"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in entries():
        (folder / f"{name}.svg").write_text(picture(name), encoding="utf-8")
        (folder / f"{name}.md").write_text(page(name), encoding="utf-8")
    (DOCS / "activations.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
