"""Puts the results of `initlab papers` into docs/papers.md, and their figures into docs/papers/.

    python -m initlab papers out=FOLDER
    python docs/make_papers.py FOLDER

What stands between the two marks of the page is replaced. Figures of claims that are no longer there are deleted.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
BEGIN, END = "<!-- results: written by docs/make_papers.py -->", "<!-- end of results -->"


def with_results(page: str, results: str) -> str:
    """The page with other results between its marks.

    Raises:
        ValueError: the page has not each mark once, in this order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page needs the lines {BEGIN} and {END}, once each")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    return f"{before}{BEGIN}\n\n{results.strip()}\n\n{END}{after}"


def main(arguments: list[str], docs: Path = DOCS) -> int:
    """Write the page and the figures. Returns the exit code."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "papers.md").is_file():
        print(
            "usage: python docs/make_papers.py FOLDER, which `initlab papers out=FOLDER` has written", file=sys.stderr
        )
        return 2
    folder = Path(arguments[0])
    results = (folder / "papers.md").read_text(encoding="utf-8")
    page = docs / "papers.md"
    page.write_text(with_results(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    figures = {Path(name).name for name in re.findall(r"\]\(papers/([\w-]+\.svg)\)", results)}
    target = docs / "papers"
    target.mkdir(exist_ok=True)
    for old in target.glob("*.svg"):
        if old.name not in figures:
            old.unlink()
    for name in sorted(figures):
        (target / name).write_bytes((folder / "papers" / name).read_bytes())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
