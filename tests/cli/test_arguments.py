"""Arguments of commands: one way of writing them, former spellings, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab.cli.arguments import Command, parse
from initlab.cli.help import options_of
from initlab.cli.table import COMMANDS, TABLE
from initlab.errors import ConfigError, UnknownNameError
from tests.cli.driver import initlab


def parsed(line: str) -> tuple[list[str], dict[str, str], list[str]]:
    name, *typed = line.split(" ")
    found = parse(COMMANDS[name], typed, options_of(COMMANDS[name]))
    return list(found.words), dict(found.given), list(found.overrides)


@pytest.mark.parametrize(
    ("line", "overrides"),
    [
        ("gc apply=true keep_arms=2", ["gc.apply=true", "gc.keep_arms=2"]),
        ("ui port=5001", ["tracking.ui_port=5001"]),
        ("compare study=one,two out=dir", ["compare.study=['one','two']", "compare.out=dir"]),
        ("compare baseline=init=xavier,activation=relu", ["compare.baseline=['init=xavier','activation=relu']"]),
        ("compare filter=params.a='b'", ["compare.filter='params.a=\\'b\\''"]),
        ("inspect examples=64 model.depth=50", ["inspect.examples=64", "model.depth=50"]),
        ("worker study=mine storage=sqlite:///s.db", ["study.name=mine", "study.storage=sqlite:///s.db"]),
        ("train -m init=he,xavier --cfg job", ["-m", "init=he,xavier", "--cfg", "job"]),
    ],
)
def test_options_become_overrides(line: str, overrides: list[str]) -> None:
    assert parsed(line) == ([], {}, overrides)


@pytest.mark.parametrize(
    ("line", "words", "given"),
    [
        ("explain run=last --try", [], {"run": "last", "try": "true"}),
        ("explain study=mine try=false", [], {"study": "mine", "try": "false"}),
        ("schedule run nightly folder=here", ["run", "nightly"], {"folder": "here"}),
        ("server port=5001 postgres=true", [], {"port": "5001", "postgres": "true"}),
        ("export study=mine to=there", [], {"study": "mine", "to": "there"}),
        ("data mnist", ["mnist"], {}),
    ],
)
def test_options_of_the_command_alone_stay_with_it(line: str, words: list[str], given: dict[str, str]) -> None:
    assert parsed(line) == (words, given, [])


FORMER = [(c, o.name, f) for c in TABLE for o in options_of(c) for f in o.former]


@pytest.mark.parametrize(("command", "name", "former"), FORMER, ids=[f"{c.name}-{f}" for c, _, f in FORMER])
def test_former_spellings_work_and_name_the_new_one(
    command: Command, name: str, former: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new = parse(command, [f"{name}=x"], options_of(command))
    assert capsys.readouterr().err == ""
    assert parse(command, [f"{former}=x"], options_of(command)) == new
    assert f"is now written {name}=x" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("gc aply=true", ["aply=true", "did you mean apply?"]),
        ("explain lr=3", ["lr=3", "run", "study"]),
        ("server prt=1", ["prt=1", "did you mean port?"]),
        ("schedule list folders=x", ["folders=x", "did you mean folder?"]),
        ("export studdy=x", ["studdy=x", "did you mean study?"]),
    ],
)
def test_unknown_options_are_refused_with_the_valid_ones(line: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(line)
    assert all(p in str(refused.value) for p in parts), refused.value


@pytest.mark.parametrize("line", ["train he", "data mnist digits", "sync now", "schedule list a b"])
def test_one_word_too_many(line: str) -> None:
    with pytest.raises(UnknownNameError, match="one word too many"):
        parsed(line)


@pytest.mark.process
def test_a_former_spelling_in_a_process(workdir: Path) -> None:
    done = initlab("gc", "gc.apply=false", cwd=workdir)
    assert done.returncode == 0 and done.stderr == "initlab: gc gc.apply= is now written apply=false\n"
