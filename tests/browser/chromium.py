"""A real Chromium without a window, and what it says of a page: errors, requests, contrast."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

#: relative luminance and contrast of WCAG 2.1; every text node against the nearest background that is not transparent
_CONTRAST = """
const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const parse = s => { const n = s.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c[3] > 0.99) return c;
  }
  return matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.textContent.trim() || !parent.getClientRects().length) continue;
  const a = luminance(parse(getComputedStyle(parent).color)), b = luminance(behind(parent));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push([node.textContent.trim().slice(0, 60), Math.round(ratio * 100) / 100]);
}
return found;
"""


@contextmanager
def browser() -> Generator[webdriver.Chrome]:
    """Chromium under Debian's driver; skipped where there is none, which in CI is a failure."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or program is None:
        absent = "chromium and chromium-driver are not installed (apt-get install chromium chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,1600",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def scheme(chrome: webdriver.Chrome, value: str) -> None:
    """Have pages see that the reader wants them ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": value}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def errors(chrome: webdriver.Chrome) -> list[str]:
    """What the console was told since the last call that is an error."""
    logged: list[dict[str, Any]] = chrome.get_log("browser")
    return [str(entry["message"]) for entry in logged if entry["level"] == "SEVERE"]


def requested(chrome: webdriver.Chrome) -> list[str]:
    """Addresses that were asked for since the last call, those inside the page itself left out."""
    logged: list[dict[str, Any]] = chrome.get_log("performance")
    messages = [json.loads(entry["message"])["message"] for entry in logged]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


def faint(chrome: webdriver.Chrome) -> list[tuple[str, float]]:
    """Texts below a contrast of 4.5, the AA bar of WCAG 2.1 for small text, with what they have."""
    return [(str(text), float(ratio)) for text, ratio in chrome.execute_script(_CONTRAST)]


def resize(chrome: webdriver.Chrome, width: int) -> None:
    """Make the page that many CSS pixels wide, without a scroll bar."""
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    )


def screenshot(chrome: webdriver.Chrome, width: int) -> bytes:
    """The whole page at its present width, as a PNG file."""
    height = int(chrome.execute_script("return document.documentElement.scrollHeight"))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return base64.b64decode(taken["data"])


def violations(chrome: webdriver.Chrome) -> list[tuple[str, str, str]]:
    """Serious and critical violations that axe-core finds on the page: (rule, how grave, the first element)."""
    script = (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    chrome.execute_script(script)
    # of the rules that hold, one element each is enough
    found: dict[str, Any] = chrome.execute_async_script(
        "axe.run(document, {resultTypes: ['violations']}).then(arguments[0])"
    )
    assert len(found["passes"]) > 5, "axe-core looked at the page"
    return [
        (v["id"], v["impact"], v["nodes"][0]["html"][:120])
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]


def picture(chrome: webdriver.Chrome, file: Path) -> Path:
    """The whole page as a PNG file."""
    height = int(chrome.execute_script("return document.documentElement.scrollHeight"))
    chrome.set_window_size(1280, min(max(height, 800) + 150, 12_000))
    file.parent.mkdir(parents=True, exist_ok=True)
    chrome.save_screenshot(str(file))
    return file
