"""`python -m initlab coordcheck`: whether a network moves alike at every width, or every depth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from initlab.cli.folders import output_folder, write_page
from initlab.cli.json_output import is_asked, print_json
from initlab.cli.sizes import Sizes, base_of, experiments, one_number, say_progress, sizes_of, typed_experiment
from initlab.core.signals import interruptible
from initlab.report.note import replace_overrides, shell_line
from initlab.run import process
from initlab.run.prepare import prepare
from initlab.scaling import CoordinateCheck, Subject, check_coordinates
from initlab.scaling.page import coordinate_page
from initlab.spec import Batch, Experiment, Splits
from initlab.train.optimizers import parameter_groups

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from initlab.cli.arguments import Arguments

#: learning rate where none was typed: larger than for training, so that what grows is seen
LR = 2.0**-8
#: answers of the batch where its size was not typed: tokens of a text, else examples
_ANSWERS = 1024
PAGE, FIGURE = "coordcheck.html", "coordcheck.svg"


def coordcheck_command(config: DictConfig, arguments: Arguments) -> int:
    """Run the check that was typed. Returns 0 where nothing fails, 1 where an activation does."""
    as_json, out = is_asked(arguments), output_folder(arguments)
    experiment, overrides = typed_experiment(config)
    sizes = sizes_of(experiment, arguments)
    steps = one_number("steps", arguments.given.get("steps", "4"))
    seeds = one_number("seeds", arguments.given.get("seeds", "3"))
    batch = arguments.given.get("batch", "")
    examples = one_number("batch", batch) if batch else None
    begun = time.perf_counter()
    by_size = experiments(experiment, sizes, _defaults(overrides))
    first = by_size[sizes.values[0]]
    with interruptible(), process.settings(first):
        check = check_coordinates(
            _maker(by_size, examples),
            sizes.values,
            axis=sizes.axis,
            seeds=tuple(range(first.seed, first.seed + seeds)),
            steps=steps,
            optimizer=_optimizer(first),
            progress=say_progress,
        )
    todo = _todo(experiment, check, sizes)
    name = f"{first.params.get('data')}, {first.params.get('model')}, init={first.params.get('init')}"
    files: list[str] = []
    if out is not None:
        again = shell_line([*overrides, *_typed(arguments)], "python -m initlab coordcheck")
        page = coordinate_page(check, name=name, todo=todo, again=again)
        files = [str(write_page(out, PAGE, page)), str(write_page(out, FIGURE, check.plot().standalone(name)))]
    code = 1 if check.verdict == "fail" else 0
    if as_json:
        print_json("coordcheck", {**check.as_fields(), "key": sizes.key, "files": files, "next": todo[0][0]})
        return code
    print(
        f"{name}: {sizes.key}={','.join(map(str, check.sizes))}, {seeds} seeds, {steps} steps of {check.optimizer} on"
        f" one batch, in {time.perf_counter() - begun:.0f} s"
    )
    print(f"mean|x({steps}) - x(0)| of each activation x by {sizes.axis}, and its slope in log2 against log2:")
    print("\n".join(check.lines()))
    print(check.sentence())
    for note in check.notes:
        print(f"  {note}")
    for file in files:
        print(f"written to {file}")
    print(f"Next: {todo[0][0]}")
    return code


# ------------------------------------------------------------------ pieces
def _defaults(overrides: list[str]) -> dict[str, object]:
    """Adam at a large rate, where no optimiser and no rate was typed."""
    keys = {o.partition("=")[0].lstrip("+~") for o in overrides}
    found: dict[str, object] = {}
    if not keys & {"optimizer", "experiment"}:
        found["optimizer"] = "adam"
    if "optimizer.lr" not in keys:
        found["optimizer.lr"] = LR
    return found


def _maker(by_size: dict[int, Experiment], examples: int | None) -> Callable[[int, int], Subject]:
    """(size, seed) → the network of the configuration, with its optimiser and a batch."""
    opened: dict[int, Splits] = {}

    def make(size: int, seed: int) -> Subject:
        experiment = replace(by_size[size], seed=seed)
        prepared = prepare(experiment, splits=opened.get(seed))
        opened[seed] = prepared.splits
        assert prepared.context.batches is not None
        whole = prepared.context.batches(0)
        answers = max(1, whole.targets.numel() // len(whole.targets))
        count = min(len(whole.targets), examples or max(2, _ANSWERS // answers))
        batch = Batch(inputs=whole.inputs[:count], targets=whole.targets[:count], loss=whole.loss)
        groups = parameter_groups(prepared.model, prepared.sites, prepared.initialised.initializer.lr_scale)
        return Subject(
            model=prepared.model,
            optimizer=experiment.optimizer(groups),
            batch=batch,
            notes=prepared.initialised.notes,
        )

    return make


def _optimizer(experiment: Experiment) -> str:
    """The optimiser in words."""
    return f"{experiment.params.get('optimizer')}, lr {float(experiment.params.get('optimizer.lr') or 0):.4g}"


def _typed(arguments: Arguments) -> list[str]:
    """The command's own options as they were typed, without where the answer goes."""
    return [f"{k}={v}" for k, v in arguments.given.items() if k not in ("out", "json")]


def _todo(experiment: Experiment, check: CoordinateCheck, sizes: Sizes) -> list[tuple[str, str]]:
    """(command, reason) of what to do next."""
    base = base_of(experiment)
    chosen = f"{sizes.axis}s={','.join(map(str, check.sizes))}"
    if check.verdict == "pass":
        line = shell_line([*base, chosen], "python -m initlab transfer")
        return [(line, "See whether the best learning rate carries over")]
    init, model = str(experiment.params.get("init")), str(experiment.params.get("model"))
    if check.verdict == "undecided" or init in ("mup", "completep", "spectral"):
        line = shell_line([*base, chosen, f"seeds={2 * len(check.seeds)}"], "python -m initlab coordcheck")
        return [(line, "Look closer with more seeds")]
    better = ["init=mup"] if sizes.axis == "width" else ["init=completep"]
    if model in ("gpt", "vit"):
        better.append("model.attention_scale=mup")
    if sizes.axis == "depth" and model in ("gpt", "vit"):
        first = check.sizes[0]
        better += ["model.branch_scale=completep", f"model.base_depth={first}", f"init.base_depth={first}"]
    if model == "gpt":
        better.append("model.output_scale=mup")
    line = shell_line([*replace_overrides(base, better), chosen], "python -m initlab coordcheck")
    return [(line, "A parametrisation whose learning rate carries over")]
