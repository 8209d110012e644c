"""Shell completion: commands, their options, configuration groups, files and keys, for bash, zsh and fish.

The scripts serve `initlab` and `python -m initlab`. Groups, files and keys come from Hydra's own completion.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from initlab.cli.arguments import Command
from initlab.cli.conf_files import files_of
from initlab.errors import ConfigError, one_of

_FLAGS = ("--shell-completion", "-sc")
_BASH = """\
_initlab_complete() {
    local program=initlab line found
    if [[ ${COMP_WORDS[0]##*/} == python* ]]; then
        [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == initlab ]] || { COMPREPLY=(); return; }
        program="${COMP_WORDS[0]} -m initlab"
    fi
    line=${COMP_LINE:0:$COMP_POINT}
    local IFS=$'\\n'
    found=($(COMP_LINE="$line" bash -c "$program --shell-completion query" 2>/dev/null))
    local last=${line##* } prefix=""
    [[ $last == *=* && $COMP_WORDBREAKS == *=* ]] && prefix="${last%"${last##*=}"}"
    COMPREPLY=("${found[@]#"$prefix"}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} != *= ]] && compopt +o nospace 2>/dev/null
}
complete -o nospace -o default -F _initlab_complete initlab
for _initlab_python in python python3; do
    complete -p "$_initlab_python" >/dev/null 2>&1 ||
        complete -o nospace -o default -F _initlab_complete "$_initlab_python"
done
unset _initlab_python
"""
_ZSH = """\
_initlab_complete() {
    local program=initlab
    if [[ ${words[1]:t} == python* ]]; then
        [[ ${words[2]} == -m && ${words[3]} == initlab ]] || { _default; return; }
        program="${words[1]} -m initlab"
    fi
    local -a found
    found=("${(@f)$(COMP_LINE="${LBUFFER}" sh -c "$program --shell-completion query" 2>/dev/null)}")
    compadd -Q -S '' -- ${found:#}
}
autoload -Uz compinit && compinit -u
compdef _initlab_complete initlab python python3
"""
_FISH = """\
function __initlab_complete
    set -l line (commandline -cp)
    set -l program initlab
    if string match -qr '^\\S*python\\S* -m initlab' -- $line
        set program (string match -r '^\\S+' -- $line) -m initlab
    end
    env COMP_LINE="$line" $program --shell-completion query 2>/dev/null
end
complete -c initlab -f -a '(__initlab_complete)'
complete -c python -n 'string match -qr -- "-m initlab" (commandline -cp)' -f -a '(__initlab_complete)'
complete -c python3 -n 'string match -qr -- "-m initlab" (commandline -cp)' -f -a '(__initlab_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for completion: ``--shell-completion install=bash`` or ``query``."""
    return any(a in _FLAGS for a in arguments)


def answer(arguments: Sequence[str], commands: Mapping[str, Command]) -> int:
    """Print the script of a shell, or what may follow the line in ``COMP_LINE``. Returns the exit code.

    Raises:
        ConfigError: for an unknown shell.
    """
    said = [a for a in arguments if a not in _FLAGS]
    verb, _, shell = (said[0] if said else "").partition("=")
    if verb == "query":
        print("\n".join(candidates(os.environ.get("COMP_LINE", ""), commands)))
    elif verb == "install" and shell in _SCRIPTS:
        print(_SCRIPTS[shell], end="")
    elif verb == "uninstall":
        print("complete -r initlab" if shell == "bash" else "")
    else:
        raise ConfigError("--shell-completion", " ".join(said) or None, one_of([f"install={s}" for s in _SCRIPTS]))
    return 0


def candidates(line: str, commands: Mapping[str, Command]) -> list[str]:
    """What may stand for the last word of a command line.

    Args:
        line: the command line up to the cursor, such as ``initlab compare stu``.
        commands: of the table.
    """
    from initlab.cli.help import options_of

    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if not line or line[-1].isspace():
        words.append("")
    # `initlab`, or `python -m initlab`
    start = words.index("initlab") + 1 if "initlab" in words[1:] else 1
    before, word = words[start:-1], words[-1]
    command = next((commands[w] for w in before[:1] if w in commands), None)
    found: list[str] = []
    if not before:
        found += [name for name in commands if name != "train"]
    if command is not None:
        found += [f"{o.name}=" for o in options_of(command)]
        if command.name == "help":
            return [n for n in (*commands, *_overrides(before[1:], word)) if n.startswith(word)]
        if command.name == "schedule" and len(before) == 1:
            found += ["list", "next", "run", "history"]
        if command.name == "papers":
            named = (f.removeprefix("papers/") for f in files_of("experiment") if f.startswith("papers/"))
            found += [n for n in named if n not in before]
        if command.name == "data" and len(before) == 1:
            found += [n.removeprefix("data=") for n in _overrides((), "data=")]
    if word.startswith("-"):
        own = [f"--{o.name}" for o in (options_of(command) if command is not None else ()) if o.kind == "flag"]
        general = ("--help", "--version", "--cfg", "--multirun", *(("--try",) if command is None else ()))
        return [f for f in dict.fromkeys([*general, *own]) if f.startswith(word)]
    if command is None or (command.composes and command.accepts is None):
        found += _overrides([w for w in before if w not in commands], word)
    return [f for f in dict.fromkeys(found) if f.startswith(word)]


def _overrides(before: Sequence[str], word: str) -> list[str]:
    """Hydra's completions of `word`: groups, files and keys; files in a folder below their group are its too."""
    group, equals, _ = word.partition("=")
    if equals and group == "experiment":
        return [f"{group}={name}" for name in sorted(files_of(group))]
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.plugins import Plugins
    from hydra.core.utils import setup_globals
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from initlab.config import conf_dir

    setup_globals()
    Plugins.instance()
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(conf_dir())))
    line = " ".join([*before, word])
    found = DefaultCompletionPlugin(loader)._query("config", line)  # pyright: ignore[reportPrivateUsage]
    # Hydra offers the bare name of a group that has a folder inside; an argument needs the equals sign
    return [f"{name}=" if (conf_dir() / name).is_dir() else name for name in found]
