"""The command line: `python -m initlab [COMMAND] [overrides]`, the same as `initlab`.

Heavy libraries are imported by the command that needs them: `--help` must answer before torch would have loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from initlab.core.error_line import print_error
from initlab.core.exit import run_and_exit
from initlab.errors import InitlabError, UnknownNameError, one_of

if TYPE_CHECKING:
    from omegaconf import DictConfig


#: words of a command line that ask for a study, and those with which it has no worker here
_SEARCHES = frozenset({"-m", "--multirun"})
_NO_WORKER = frozenset({"--help", "-h", "--hydra-help", "--cfg", "--info", "study.engine=ray", "study.workers=0"})


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 fine, 1 a run failed or diverged, 2 bad input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except InitlabError as error:
        return print_error(error, error.exit_code)
    except KeyboardInterrupt:
        print("initlab: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # the reader of our output (head, less) has gone; there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from initlab.config.hydra_errors import translate

        ours = translate(error, arguments)
        if ours is not None:
            return print_error(ours, ours.exit_code, cause=error)
        return print_error(error, 1)


def _dispatch(arguments: list[str]) -> int:
    command = "train"
    if arguments and arguments[0][:1] not in ("-", "+", "~") and "=" not in arguments[0]:
        command = arguments.pop(0)
    if command not in COMMANDS:
        known = [c for c in COMMANDS if c != "train"]
        raise UnknownNameError(
            f"{command}: no such command; {one_of(known, command)}, or begin with KEY=VALUE to train"
        )
    return COMMANDS[command](arguments)


def _with_config(arguments: list[str], act: Callable[[DictConfig], int | None]) -> int:
    """Let Hydra compose (or answer --help, --cfg, ...) and hand the configuration to `act`; its highest exit code."""
    # Hydra would swallow the exception and exit with 1; our own handler prints one line and picks the code
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra

    from initlab.config import check_folders, conf_dir, quote_formulas

    check_folders(arguments)
    codes: list[int] = []
    errors: list[Exception] = []

    def task(config: DictConfig) -> None:
        try:
            codes.append(act(config) or 0)
        except Exception as error:
            # kept from Hydra, which would add a line of its own, and end a sweep at its first failure
            errors.append(error)

    sys.argv = ["initlab", *quote_formulas(arguments)]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)()
    if errors:
        for error in errors[:-1]:
            print_error(error, 1)
        raise errors[-1]
    return max(codes, default=0)


# ------------------------------------------------------------------ commands
def _train(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.cli.train import train_command  # brings torch

        return train_command(config, stop=stop.is_set)

    stop = threading.Event()

    def ask_to_stop(number: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print(f"initlab: {signal.Signals(number).name}: ending the run after this update", file=sys.stderr, flush=True)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    if _SEARCHES.intersection(arguments) and not _NO_WORKER.intersection(arguments):
        from initlab.study.workers.worker_pool import SPARES, threads

        # what its first worker imports takes as long as all that has to be done before it
        SPARES.have(1, threads=threads(1))
    return _with_config(arguments, act)


def _data(arguments: list[str]) -> int:
    names = [a for a in arguments if a[:1] not in ("-", "+", "~") and "=" not in a]
    if len(names) > 1:
        raise UnknownNameError(f"{' '.join(names)}: one data set at a time")
    rest = [a for a in arguments if a not in names]

    def act(config: DictConfig) -> int:
        from initlab.cli.data import data_command

        return data_command(config, verify=bool(names))

    from initlab.config import conf_dir, task_of_data

    task = [f"task={t}" for n in names if (t := task_of_data(n, conf_dir() / "data"))]
    if any(a.startswith("task=") for a in rest):
        task = []
    return _with_config([*rest, *task, *(f"data={n}" for n in names)], act)


def _inspect(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.cli.inspect import inspect_command  # brings torch

        return inspect_command(config)

    return _with_config(arguments, act)


def _compare(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.cli.compare import compare_command

        return compare_command(config)

    from initlab.config import compare_overrides

    return _with_config(compare_overrides(arguments), act)


def _explain(arguments: list[str]) -> int:
    from initlab.config import asked_for

    asked, rest = asked_for(arguments)

    def act(config: DictConfig) -> int:
        from initlab.cli.explain import explain_command  # brings torch

        return explain_command(config, asked)

    return _with_config(rest, act)


def _advise(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.cli.advise import advise_command  # brings torch

        return advise_command(config)

    return _with_config(arguments, act)


def _sync(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab import tracking
        from initlab.config import tracking_settings

        report = tracking.sync(Path.cwd(), tracking_settings(config))
        print("\n".join(report.lines()))
        return 1 if report.waiting else 0

    return _with_config(arguments, act)


def _ui(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab import tracking
        from initlab.config import tracking_settings

        settings = tracking_settings(config)
        return tracking.ui(Path.cwd(), settings, port=settings.ui_port)

    return _with_config(arguments, act)


def _export(arguments: list[str]) -> int:
    from initlab.cli.transfer import export_command, words_of

    words, rest = words_of(arguments, ("study", "to"))
    return _with_config(rest, lambda config: export_command(config, words))


def _import(arguments: list[str]) -> int:
    from initlab.cli.transfer import import_command, words_of

    words, rest = words_of(arguments, ("from", "as"))
    return _with_config(rest, lambda config: import_command(config, words))


def _server(arguments: list[str]) -> int:
    from initlab.operations.server.serve import serve
    from initlab.operations.server.settings import asked_for

    settings, flags = asked_for(arguments, Path.cwd())
    if flags:
        return _with_config(flags, lambda _config: None)
    return serve(settings)


def _worker(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.study.workers.join import join  # brings torch and optuna

        name, storage = config.study.name, config.study.storage
        return join(Path.cwd(), None if name is None else str(name), storage=None if storage is None else str(storage))

    return _with_config(arguments, act)


def _schedule(arguments: list[str]) -> int:
    from initlab.cli.schedule import schedule_command

    return schedule_command(arguments)


def _doctor(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.cli.doctor import doctor_command  # brings torch

        return doctor_command(config)

    return _with_config(arguments, act)


def _gc(arguments: list[str]) -> int:
    def act(config: DictConfig) -> int:
        from initlab.cli.gc import gc_command

        return gc_command(config)

    return _with_config(arguments, act)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "inspect": _inspect,
    "compare": _compare,
    "explain": _explain,
    "advise": _advise,
    "data": _data,
    "sync": _sync,
    "worker": _worker,
    "ui": _ui,
    "schedule": _schedule,
    "doctor": _doctor,
    "gc": _gc,
    "server": _server,
    "export": _export,
    "import": _import,
}


def entry() -> NoReturn:
    """`initlab`, typed."""
    run_and_exit(main)


if __name__ == "__main__":
    entry()
