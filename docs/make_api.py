"""Writes docs/api.md, the reference of the public Python names, from signatures and docstrings.

    python docs/make_api.py [--check]

Nothing is imported: griffe reads the source. With ``--check`` nothing is written; the exit code is 1 where the page
differs from what the source says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
#: module, prefix in code, heading, sentence; the names are those of the module's `__all__`
MODULES = (
    ("initlab.api", "initlab", "initlab", "What `import initlab` offers."),
    ("initlab.init", "initlab.init", "initlab.init", "Single tensors and modules, in the manner of `torch.nn.init`."),
)
ERRORS = "initlab.errors"
WIDTH = 84
#: what a function returns is one text, without a name or a type
WHOLE: dict[str, Any] = {"returns_multiple_items": False, "returns_named_value": False}


def reference() -> str:
    """The page."""
    lines = [
        "# Python reference", "",
        "All public names of `initlab`, from the docstrings of the source.",
        "[Your own network, your own loop](your_code.md) shows how they belong together;",
        "`help(initlab.inspect)` prints the same.", "",
    ]  # fmt: skip
    for path, prefix, heading, sentence in MODULES:
        module = griffe.load(path, search_paths=[ROOT])
        lines += [f"## {heading}", "", sentence, ""]
        public = set(map(str, griffe.load(prefix, search_paths=[ROOT]).exports or ()))
        for name in sorted(public & set(map(str, module.exports or ())), key=lambda name: (name.lower(), name)):
            lines += entry(module[name], prefix)
    lines += [f"## {ERRORS}", "", "Every error that is meant for users is an `InitlabError`.", ""]
    for member in griffe.load(ERRORS, search_paths=[ROOT]).classes.values():
        lines.append(f"- `{ERRORS}.{member.name}({bases(member)})`: {first_sentence(member)}")
    return "\n".join(lines).rstrip() + "\n"


def entry(thing: griffe.Object | griffe.Alias, prefix: str, level: str = "###") -> Iterator[str]:
    """A function, or a class with its public methods."""
    found = thing.final_target if isinstance(thing, griffe.Alias) else thing
    if isinstance(found, griffe.Module):  # of the same name as its function
        found = found[found.name]
    yield from (f"{level} {prefix}.{thing.name}", "")
    if isinstance(found, griffe.Function):
        yield from ("```text", *signature(found), "```", "")
    yield from text(found)
    for member in found.members.values() if isinstance(found, griffe.Class) else ():
        if isinstance(member, griffe.Function) and not member.name.startswith("_") and member.docstring:
            yield from entry(member, thing.name, level + "#")


def signature(function: griffe.Function) -> list[str]:
    """In one line where it fits, else one parameter a line."""
    whole = str(function.signature()).replace("(self, ", "(").replace("(self)", "()")
    if len(whole) <= WIDTH:
        return [whole]
    parameters, star = [], False
    for parameter in function.parameters:
        if parameter.kind is griffe.ParameterKind.keyword_only and not star:
            parameters, star = [*parameters, "*"], True
        parameters.append(written(parameter))
    inner = [f"    {p}," for p in parameters if p != "self"]
    return [f"{function.name}(", *inner, f") -> {function.returns}"]


def written(parameter: griffe.Parameter) -> str:
    """One parameter, as in the source."""
    if parameter.kind is griffe.ParameterKind.var_keyword:
        return f"**{parameter.name}: {parameter.annotation}"
    default = "" if parameter.default is None else f" = {parameter.default}"
    return f"{parameter.name}: {parameter.annotation}{default}" if parameter.annotation else parameter.name + default


def text(thing: griffe.Object) -> Iterator[str]:
    """The docstring as Markdown: sentences, then what is listed, then examples."""
    if thing.docstring is None:
        return
    for section in thing.docstring.parse("google", warnings=False, **WHOLE):
        match section.kind:
            case griffe.DocstringSectionKind.text:
                yield from as_text(section.value)
            case griffe.DocstringSectionKind.parameters | griffe.DocstringSectionKind.attributes:
                yield from (f"- {names(item)}: {one_line(item.description)}" for item in section.value)
                yield ""
            case griffe.DocstringSectionKind.raises:
                yield from (f"- raises `{item.annotation}`: {one_line(item.description)}" for item in section.value)
                yield ""
            case griffe.DocstringSectionKind.returns:
                for item in section.value:
                    yield from (f"Returns: {one_line(item.description)}", "")
            case griffe.DocstringSectionKind.examples:
                yield from ("```pycon", *(line for _, part in section.value for line in part.splitlines()), "```", "")
            case griffe.DocstringSectionKind.admonition:
                code = ">>>" in section.value.description
                yield from (
                    ("```pycon", section.value.description, "```", "")
                    if code
                    else as_text(f"{section.title}: {one_line(section.value.description)}")
                )
            case _:
                raise ValueError(f"{thing.path}: a section {section.kind.value} in the docstring has no form here")


def names(item: griffe.DocstringParameter | griffe.DocstringAttribute) -> str:
    """The name, or several that are explained together (griffe takes the later ones for a type)."""
    more = str(item.annotation) if item.name.endswith(",") else ""
    return ", ".join(
        f"`{name}`" for name in f"{item.name}{more}".strip("()").replace(" ", "").replace("(", "").split(",") if name
    )


def as_text(value: str) -> Iterator[str]:
    """Paragraphs; lines that are indented under a title become a list."""
    for line in value.replace("``", "`").splitlines():
        yield f"- {line.strip()}" if line.startswith("    ") else line + ("\n" if line.endswith(":") else "")
    yield ""


def one_line(value: str) -> str:
    """On one line, in Markdown's quotes."""
    return " ".join(value.replace("``", "`").split())


def bases(thing: griffe.Class) -> str:
    """What a class is made from."""
    return ", ".join(str(b) for b in thing.bases)


def first_sentence(thing: griffe.Object) -> str:
    """Of the docstring."""
    return one_line(thing.docstring.value.split("\n\n", maxsplit=1)[0]) if thing.docstring else ""


def main() -> int:
    """Write the page, or with ``--check`` compare it. Returns the exit code."""
    content = reference()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text("utf-8") != content:
            print(f"{PAGE.relative_to(ROOT)} is out of date: python docs/make_api.py")
            return 1
        return 0
    PAGE.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
