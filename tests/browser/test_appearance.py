"""Pages at three widths, light and dark, beside stored pictures of them; what a keyboard and a screen reader find.

After a wanted change INITLAB_WRITE_REFERENCES=1 writes the pictures anew: look at every one before they are kept.
"""

from __future__ import annotations

import os
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.browser.chromium import browser, errors, faint, resize, scheme, screenshot, violations
from tests.browser.fixed_pages import NAMES, write_pages

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]
REFERENCES = Path(__file__).parent / "references"
WIDTHS = (390, 768, 1280)
#: pictures are kept at a third of their size
_SMALLER = 3


def fonts() -> str:
    """The fonts in which this machine draws the pages."""
    asked = [
        subprocess.run(["fc-match", name], capture_output=True, text=True, check=False)
        for name in ("system-ui", "monospace")
    ]
    return "".join(a.stdout for a in asked)


@pytest.fixture(scope="module")
def same_fonts() -> None:
    """Pictures in other fonts cannot be compared: their lines break elsewhere."""
    file = REFERENCES / "fonts.txt"
    if os.environ.get("INITLAB_WRITE_REFERENCES"):
        file.write_text(fonts(), encoding="utf-8")
    if fonts() != file.read_text(encoding="utf-8"):
        pytest.skip(f"the stored pictures are in other fonts than this machine's: {file.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def chrome() -> Any:
    with browser() as found:
        yield found


def reduce(png: bytes) -> Image.Image:
    """A small picture of 64 greys, in which single letters do not count but whatever has moved does."""
    image = Image.open(BytesIO(png)).convert("L").filter(ImageFilter.BoxBlur(1))
    small = image.resize((image.width // _SMALLER, image.height // _SMALLER), Image.Resampling.BOX)
    return small.quantize(64).convert("L")


@pytest.mark.usefixtures("same_fonts")
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_looks_as_it_did(pages: dict[str, Path], chrome: Any, name: str, width: int, colours: str) -> None:
    errors(chrome)
    scheme(chrome, colours)
    resize(chrome, width)
    chrome.get(pages[name].as_uri())
    assert errors(chrome) == []
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width, "nothing is cut at the side"
    seen = reduce(screenshot(chrome, width))
    kept = REFERENCES / f"{name}-{width}-{colours}.png"
    if os.environ.get("INITLAB_WRITE_REFERENCES"):
        seen.quantize(64).save(kept, optimize=True)
    before = Image.open(kept).convert("L")
    assert abs(seen.height - before.height) <= 0.02 * before.height + 2, "the page is longer or shorter than it was"
    tall = min(seen.height, before.height)
    difference = np.abs(
        np.asarray(seen, dtype=float)[:tall]
        - np.asarray(before.resize((seen.width, before.height)), dtype=float)[:tall]
    )
    assert float((difference > 40).mean()) < 0.03, "something has moved, or changed its colour"


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_stands_in_the_way_of_a_keyboard_or_a_screen_reader(
    pages: dict[str, Path], chrome: Any, name: str, colours: str
) -> None:
    scheme(chrome, colours)
    for width in (390, 1280):
        resize(chrome, width)
        chrome.get(pages[name].as_uri())
        chrome.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert violations(chrome) == []
        assert faint(chrome) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_needs_no_script_and_begins_with_the_answer(pages: dict[str, Path], chrome: Any, name: str) -> None:
    resize(chrome, 1280)
    chrome.get(pages[name].as_uri())
    assert chrome.execute_script("return document.scripts.length") == 0
    first = chrome.execute_script("return document.querySelector('main').children[1].className")
    assert first.startswith("answer")
    shown = chrome.execute_script(
        "return [...document.querySelectorAll('figure')].filter(f => f.checkVisibility()).length"
    )
    assert (0 if name == "study_explained" else 1) <= shown <= 4
    commands = chrome.execute_script("return [...document.querySelectorAll('code.command')].map(c => c.textContent)")
    assert len(commands) == len(set(commands)), "each command once"
    chosen = chrome.execute_script("return getComputedStyle(document.querySelector('code.command') ?? document.body)"
                                   ".userSelect")  # fmt: skip
    assert chosen == "all" or not commands, "one click selects a command"
