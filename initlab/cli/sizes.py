"""What `coordcheck` and `transfer` share: the sizes that were asked for, and the configuration of each."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from initlab import config as configuration
from initlab.cli.arguments import Arguments
from initlab.cli.inspect_alternatives import compose_changed
from initlab.errors import ConfigError
from initlab.models.own import OwnNetwork
from initlab.spec import Experiment

if TYPE_CHECKING:
    from omegaconf import DictConfig

#: keys of a model that say its width and its depth, the usual names
WIDTH_KEYS = (
    "width", "hidden_size", "d_model", "n_embd", "embed_dim", "dim", "hidden_dim", "hidden", "channels", "n_units",
    "units",
)  # fmt: skip
DEPTH_KEYS = ("depth", "layers", "num_layers", "n_layers", "n_layer", "num_hidden_layers", "n_blocks", "blocks")
_DEFAULT = {"width": (64, 128, 256, 512), "depth": (2, 4, 8, 16)}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of one network.

    Attributes:
        axis: what they are.
        key: of the configuration.
        values: ascending, two or more.
    """

    axis: Literal["width", "depth"]
    key: str
    values: tuple[int, ...]


def sizes_of(experiment: Experiment, arguments: Arguments) -> Sizes:
    """The sizes that were typed, or the usual ones.

    Raises:
        ConfigError: widths and depths at once, no whole numbers, fewer than two, or a model without such a key.
    """
    given = arguments.given
    if given.get("widths") and given.get("depths"):
        raise ConfigError("depths", given["depths"], "goes without widths=: one of the two is varied")
    axis: Literal["width", "depth"] = "depth" if given.get("depths") else "width"
    typed = given.get(f"{axis}s", "")
    values = whole_numbers(f"{axis}s", typed) if typed else _DEFAULT[axis]
    if len(values) < 2:
        raise ConfigError(f"{axis}s", typed, "must name two sizes or more, such as 64,128,256,512")
    return Sizes(axis=axis, key=_key(experiment, axis, given.get("key", "")), values=values)


def whole_numbers(key: str, text: str) -> tuple[int, ...]:
    """Whole numbers of a list, ascending, each once.

    Example:
        >>> whole_numbers("widths", "[128, 64]")
        (64, 128)
    """
    words = [w for w in re.split(r"[,\s]+", text.strip("[]() ")) if w]
    if not words or not all(re.fullmatch(r"[1-9]\d*", w) for w in words):
        raise ConfigError(key, text, "must be whole numbers above 0, such as 64,128,256,512")
    return tuple(sorted({int(w) for w in words}))


def one_number(key: str, text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r"[1-9]\d*", text.strip()):
        raise ConfigError(key, text, "must be a whole number above 0")
    return int(text)


def whole_number(key: str, text: str) -> int:
    """A whole number, 0 or more."""
    if not re.fullmatch(r"\d+", text.strip()):
        raise ConfigError(key, text, "must be a whole number, 0 or more")
    return int(text)


def experiments(experiment: Experiment, sizes: Sizes, changes: Mapping[str, Any]) -> dict[int, Experiment]:
    """The experiment of each size, with other values of some keys.

    Raises:
        InitlabError: one does not compose.
    """
    base = [o for o in experiment.overrides if not o.startswith("hydra")]
    found: dict[int, Experiment] = {}
    for size in sizes.values:
        try:
            found[size] = compose_changed(base, {**changes, sizes.key: size})
        except ConfigError as error:
            if error.key.startswith(sizes.key):
                raise ConfigError(f"{sizes.axis}s", size, str(error)) from error
            raise
    return found


def say_progress(line: str) -> None:
    """Show on a terminal what is done; an empty line clears it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def base_of(experiment: Experiment) -> Sequence[str]:
    """The overrides that were typed, without Hydra's."""
    return [o for o in experiment.overrides if not o.startswith("hydra")]


# ------------------------------------------------------------------ pieces
def _key(experiment: Experiment, axis: Literal["width", "depth"], typed: str) -> str:
    """The configuration key of the axis."""
    if typed:
        if not typed.startswith("model."):
            raise ConfigError("key", typed, "must be a key of the model, such as model.width")
        return typed
    usual = WIDTH_KEYS if axis == "width" else DEPTH_KEYS
    known = {k.removeprefix("model.") for k in experiment.params if k.startswith("model.")}
    if isinstance(experiment.model, OwnNetwork):
        known |= set(experiment.model.parameters)
    found = next((name for name in usual if name in known), None)
    if found is None:
        model = experiment.params.get("model", "")
        keys = ", ".join(sorted(k for k in known if not k.startswith("_"))) or "none"
        raise ConfigError(
            "model", model, f"has no key for its {axis} with a usual name (its keys: {keys}); name it with "
            f"key=model.NAME, or take another model: mlp, convnet, resnet, lstm, gpt, vit",
        )  # fmt: skip
    return f"model.{found}"


def typed_experiment(config: DictConfig) -> tuple[Experiment, list[str]]:
    """The experiment that was typed, and the overrides it was typed with."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {str(k): str(v) for k, v in hydra.runtime.choices.items() if v is not None}
    overrides = [str(o) for o in hydra.overrides.task]
    return configuration.experiment(config, choices=choices, overrides=overrides), overrides
