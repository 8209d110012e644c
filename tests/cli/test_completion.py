"""Shell completion: commands, options, groups, files and keys, in bash itself and for `python -m initlab`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from initlab.cli.completion import candidates
from initlab.cli.table import COMMANDS
from initlab.config import conf_dir
from tests.cli.driver import environment, initlab


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("initlab adv", ["advise"]),
        ("initlab compare bas", ["baseline="]),
        ("initlab gc ap", ["apply="]),
        ("initlab init=lsu", ["init=lsuv"]),
        ("initlab inspect init=lsu", ["init=lsuv"]),
        ("initlab init=he init.ga", ["init.gain="]),
        ("python -m initlab adv", ["advise"]),
        ("python3 -m initlab inspect activation=gelu_", ["activation=gelu_tanh"]),
        ("initlab data mnist_", ["mnist_mini"]),
        ("initlab schedule ne", ["next"]),
        ("initlab --vers", ["--version"]),
        ("initlab papers he_", ["he_2015"]),
        ("initlab papers he_2015 he_", []),
        ("initlab papers he_2015 qui", ["quick="]),
        ("initlab papers --li", ["--list"]),
        ("initlab experiment=papers/he_", ["experiment=papers/he_2015"]),
        ("initlab experi", ["experiment="]),
        ("initlab mode", ["model.", "model="]),
        ("initlab experiment=addi", ["experiment=adding_lstm"]),
        ("initlab help experiment=papers/he_", ["experiment=papers/he_2015"]),
    ],
)
def test_what_may_follow(line: str, expected: list[str]) -> None:
    assert candidates(line, COMMANDS) == expected


def test_every_command_is_offered_first() -> None:
    found = candidates("initlab ", COMMANDS)
    assert set(COMMANDS) - {"train"} <= set(found) and "init=" in found
    groups = {folder.name for folder in conf_dir().iterdir() if folder.is_dir()}
    assert not groups & (set(found) - set(COMMANDS)), "the bare name of a group is no argument"


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "expected"),
    [("initlab exp", {"explain", "experiment=", "export"}), ("python -m initlab gc app", {"apply="})],
)
def test_bash_offers_them(workdir: Path, line: str, expected: set[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = initlab("--shell-completion", "install=bash", cwd=workdir).stdout
    words = line.split()
    program = f'PATH="{Path(sys.executable).parent}:$PATH"'
    ask = (
        f"{script}\nCOMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n"
        f"{program}\n_initlab_complete\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        [bash, "-c", ask], cwd=workdir, env=environment(), capture_output=True, text=True, check=False
    )
    assert expected == set(done.stdout.split()), done.stdout + done.stderr


@pytest.mark.process
def test_bash_completes_a_value_behind_the_equals_sign(workdir: Path) -> None:
    """Bash breaks words at ``=``: what it gets back is the part behind it."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = initlab("--shell-completion", "install=bash", cwd=workdir).stdout
    ask = (
        f"{script}\nCOMP_WORDBREAKS=$' =:'; COMP_LINE='initlab init=lsu'; COMP_POINT=16\n"
        "COMP_WORDS=(initlab init = lsu)\n"
        f'PATH="{Path(sys.executable).parent}:$PATH"\n_initlab_complete\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        [bash, "-c", ask], cwd=workdir, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["lsuv"], done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_of_other_shells_parse_where_the_shell_is_there(workdir: Path, shell: str) -> None:
    script = initlab("--shell-completion", f"install={shell}", cwd=workdir).stdout
    assert "--shell-completion query" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run(
        [program, "-n", "-c", script], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_an_unknown_shell_is_refused(workdir: Path) -> None:
    done = initlab("--shell-completion", "install=tcsh", cwd=workdir)
    assert done.returncode == 2 and "install=bash" in done.stderr
