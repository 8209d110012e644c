"""Writes a page for each initialiser: formula, source, use, picture, figures, keys: `python docs/make_inits.py`.

Run by hand when an entry changes, or docs/catalogue.json; the result is committed. The tables of docs/inits.md are
written by hand, and the pages take their columns from there.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

from initlab.config import compose, experiment
from initlab.errors import InitlabError
from initlab.report.charts import Figure, Line, Scale, lines_panel
from initlab.run.prepare import foresee, prepare
from initlab.spec import Prediction

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from catalogue import held, measured_lines  # noqa: E402
from measure_catalogue import NETWORKS  # noqa: E402

CONF = DOCS.parent / "conf" / "init"
#: the network of the pictures
DEEP = ("data=digits", "model=mlp", "model.depth=30", "model.width=128", "tracking=none")
ACTIVATIONS = ("relu", "tanh")


def names() -> list[str]:
    """The initialisers by name."""
    return sorted(p.stem for p in CONF.glob("*.yaml"))


def table() -> dict[str, tuple[str, str, str, str]]:
    """Name → formula, use and what is refused, passes, source, from the tables of docs/inits.md."""
    found: dict[str, tuple[str, str, str, str]] = {}
    for line in (DOCS / "inits.md").read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and "`" in cells[0]:
            for name in re.findall(r"`([^`]*)`", cells[0]):
                found[name] = (cells[1], cells[2], cells[3], cells[4])
    return found


def page(name: str) -> str:
    """The page of one initialiser."""
    first, _, rest = (CONF / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")
    text, other = rest, re.search(r"^defaults: \[(\w+)\]", rest, flags=re.MULTILINE)
    if other is not None:  # another name of the same
        text = (CONF / f"{other[1]}.yaml").read_text(encoding="utf-8")
        rest = ""
    target = re.search(r"_target_: (\S+)", text)
    assert target is not None, name
    module, _, function = target[1].rpartition(".")
    doc = inspect.getdoc(getattr(importlib.import_module(module), function)) or ""
    lines = [f"# {name}", "", "<!-- Written by docs/make_inits.py. -->", "", first.removeprefix("# "), ""]
    formula, use, passes, source = table().get(name, ("", "", "", ""))
    if formula:
        lines += [
            "| | |", "|---|---|", f"| formula | {formula} |", f"| for, and what it refuses | {use or '–'} |",
            f"| passes over data | {passes} |", f"| source | {source} |", "",
        ]  # fmt: skip
    lines += [doc.split("\n\nArgs:")[0].split("\n\nRaises:")[0]]
    if (DOCS / "init" / f"{name}.svg").exists():
        lines += [
            "", "## Signal and gradient before training", "",
            f"![{name}: mean square of the signal and of the gradient over 30 layers of 128 units]({name}.svg)", "",
            "By theory, over 30 hidden layers of 128 units without norms. Level lines are healthy.",
        ]  # fmt: skip
    lines += measured_lines(f"init={name}")
    keys = rest.partition("\n")[2].rstrip()
    if keys:
        lines += ["", "## Keys", "", "```yaml", keys, "```"]
    found = held().get(f"init={name}", {})
    network = dict(NETWORKS).get(found.get("network", ""), ())
    if network:
        typed = " ".join((*network, f"init={name}", next(iter(found["results"]))))
        lines += ["", "## Try it", "", "```bash", f"python -m initlab inspect {typed}", "```"]
    lines.append("")
    lines.append("[All initialisers](../inits.md)")
    return "\n".join(lines) + "\n"


def picture(name: str) -> str:
    """Mean square of the signal and of the gradient by layer, as SVG; empty where the plain network is refused."""
    found: dict[str, Prediction] = {}
    for activation in ACTIVATIONS:
        typed = (*DEEP, f"init={name}", f"activation={activation}")
        try:
            found[activation] = foresee(prepare(experiment(compose(list(typed)), overrides=typed))).prediction
        except InitlabError:
            continue
    panels = []
    for key, label in (
        ("q", "mean square of the pre-activation h"),
        ("log10_gradient", "squared gradient, last layer = 1"),
    ):
        lines = [
            Line(
                label=activation, colour=k, dash="" if k == 0 else "dash",
                points=[
                    (i + 1.0, r.q if key == "q" else 10 ** max(-45.0, min(45.0, r.log10_gradient)))
                    for i, r in enumerate(said.layers)
                ],
            )
            for k, (activation, said) in enumerate(found.items())
        ]  # fmt: skip
        if lines:
            y = Scale.of([v for line in lines for _, v in line.points], log=True, decades=2.0)
            panels.append(lines_panel(lines, x_label="hidden layer", y_label=label, y=y))
    return Figure(name, tuple(panels), "").standalone() if panels else ""


def main() -> None:
    folder = DOCS / "init"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in names():
        drawn = picture(name)
        if drawn:
            (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
        (folder / f"{name}.md").write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
