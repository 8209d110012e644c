"""The site is built without a warning, holds every page of docs/, and no link of it leads nowhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import tomllib
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser.chromium import browser, resize, scheme, violations

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """What a page links to and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if value and key in ("href", "src"):
                self.links.append(value)
            elif value and key in ("id", "name"):
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("zensical.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stderr
    return folder / "build" / "site"


@pytest.mark.process
def test_no_link_of_the_site_leads_nowhere(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(pages) > 25
    broken: list[str] = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert broken == []


@pytest.mark.process
def test_the_site_asks_no_other_host(site: Path) -> None:
    for file in site.rglob("*.html"):
        loaded = [x for x in Page(file).links if x.endswith((".js", ".css")) and urlsplit(x).netloc]
        assert loaded == [], file


#: a page of each kind
KINDS = (
    "index", "tutorial", "own_network", "commands", "api", "inits", "init/he", "activation/relu", "theory",
    "results", "faq", "changelog", "zh/README",
)  # fmt: skip
_LOOKS = (("light", 1280), ("dark", 390))
#: these are laid out in their own way, and looked at in both ways; the others in turn
_BOTH = ("index", "tutorial", "activation/relu", "zh/README")
#: (page, (colours, width)) of each look
LOOKED_AT = [
    (name, look) for name in KINDS for look in (_LOOKS if name in _BOTH else _LOOKS[KINDS.index(name) % 2 :][:1])
]


@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.xdist_group("browser")
def test_a_keyboard_and_a_screen_reader_reach_everything(site: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with browser() as chrome:
            for name, (colours, width) in LOOKED_AT:
                scheme(chrome, colours)
                resize(chrome, width)
                chrome.get(f"http://127.0.0.1:{server.server_port}/{name}.html")
                assert violations(chrome) == [], (name, colours)
    finally:
        server.shutdown()
        server.server_close()


def test_every_page_is_in_the_navigation() -> None:
    def files(entry: object) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        entries = list(entry.values()) if isinstance(entry, dict) else list(entry) if isinstance(entry, list) else []
        return set().union(*map(files, entries))

    nav = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    # the page of a single initialiser or activation is reached from the table of all
    assert files(nav) == {p for p in pages if not p.startswith(("init/", "activation/"))}


@pytest.mark.process
def test_the_python_reference_is_what_the_source_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_api.py"), "--check"], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
