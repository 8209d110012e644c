"""The Python of the README and of the pages that teach runs as it stands, and the FAQ's numbers are the library's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import initlab

ROOT = Path(__file__).parents[2]
#: pages whose blocks continue one another, with words that their last lines of output hold
PAGES = {
    "docs/tutorial.md": ("untrainable", "edge_of_chaos", "healthy", "not known"),
    "docs/moving.md": ("healthy",),
}


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def ran(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.process
def test_a_block_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    assert blocks("README.md")
    for block in blocks("README.md"):
        printed = ran(block, tmp_path)
        assert "trainable" in printed or "marginal" in printed


@pytest.mark.process
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_one_after_the_other(tmp_path: Path, page: str) -> None:
    assert len(blocks(page)) > 1
    printed = ran("\n".join(blocks(page)), tmp_path)
    assert all(word in printed for word in PAGES[page]), printed


def test_the_numbers_of_the_faq() -> None:
    page = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    torch_default, tanh = initlab.meanfield("relu", sigma_w=3**-0.5), initlab.meanfield("tanh", sigma_w=5 / 3)
    sigmoid, critical = initlab.meanfield("sigmoid", sigma_w=3**-0.5), initlab.critical_point("sigmoid")
    leaky = initlab.gain("leaky_relu(negative_slope=2.23606797749979)")  # √5
    assert torch_default.chi_1 == pytest.approx(1 / 6) and critical is not None
    for said in (
        f"6ξ = {torch_default.trainable_depth:.2f} layers",
        f"{initlab.gain('relu'):.4f} at a = 0, {leaky:.4f} at a = √5",
        f"q\\* = {tanh.q_star:.4f} (a root mean square of {tanh.q_star**0.5 * 3 / 5:.4f}",
        f"χ₁ = {tanh.chi_1:.4f}",
        f"keeps q = 1 is {initlab.gain('tanh'):.4f}, with χ₁ = 1.178",
        f"q\\* = {initlab.meanfield('selu', sigma_w=0.75).q_star:.3f}",
        f"{initlab.gain('gelu'):.4f} for GELU, {initlab.gain('silu'):.4f} for SiLU",
        f"default χ₁ = {sigmoid.chi_1:.3f}",
        f"6ξ is {sigmoid.trainable_depth:.2f} layers",
        f"(σ_w = {critical.sigma_w:.2f})",
    ):
        assert said in " ".join(page.split()), said


@pytest.mark.parametrize(
    ("page", "chinese"), [("README.md", "docs/zh/README.md"), ("docs/tutorial.md", "docs/zh/tutorial.md")]
)
def test_a_translation_has_the_same_commands_and_code(page: str, chinese: str) -> None:
    def shown(file: str) -> list[str]:
        return re.findall(r"^```.*?^```$", (ROOT / file).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)

    assert len(shown(page)) > 4
    assert shown(chinese) == shown(page)
