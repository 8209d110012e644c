"""Calling the factories that the configuration names, with arguments checked against their type annotations.

The annotations are the schema: `depth: PositiveInt` refuses 0 and "three", `mode: Literal["fan_in", "fan_out"]` names
its options in the error. A third party's factory gets the same for free by annotating its parameters.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from initlab.errors import ConfigError, InitlabError, one_of

T = TypeVar("T")

#: modules a configuration may name in `_target_`; a stranger's YAML must not be able to call os.system
ALLOWED_TARGETS = ("initlab.", "torch.", "torchvision.")


def section(kind: type[T], tree: Mapping[str, Any], group: str) -> T:
    """A frozen dataclass from a section without `_target_`, each key checked against its field's annotation."""
    return _call(kind, dict(tree.get(group) or {}), group)


def build(
    tree: Mapping[str, Any], group: str, *, extras: Mapping[str, Any] | None = None, choices: Iterable[str] = ()
) -> Any:
    """What the group's `_target_` makes of the group's other keys.

    Args:
        tree: the whole resolved configuration.
        group: which part of it.
        extras: objects built before, passed where the factory has a parameter of that name.
        choices: files of the group, for the error where none was chosen.

    Raises:
        ConfigError: naming the dotted key, the value and what is accepted.
    """
    node = tree.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        raise ConfigError(group, None, f"no file was chosen; {one_of(choices)}")
    arguments = dict(cast("dict[str, Any]", node))
    target = str(arguments.pop("_target_"))
    return _call(_locate(target, f"{group}._target_"), arguments, group, extras)


def _locate(target: str, key: str) -> Callable[..., Any]:
    if not target.startswith(ALLOWED_TARGETS) and not _is_declared_plugin(target):
        raise ConfigError(
            key, target, f"must begin with one of {', '.join(ALLOWED_TARGETS)}or a package on hydra.searchpath"
        )
    module, _, attribute = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(key, target, f"cannot be imported ({error})") from error
    if not callable(found):
        raise ConfigError(key, target, "is not callable")
    return cast("Callable[..., Any]", found)


def _is_declared_plugin(target: str) -> bool:
    """Whether the target's package was put on `hydra.searchpath=[pkg://...]` by the user, which is consent."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return False
    declared = [str(path) for path in HydraConfig.get().searchpath]
    return any(target.partition(".")[0] == path.removeprefix("pkg://").partition(".")[0] for path in declared)


def _call(
    factory: Callable[..., T], arguments: dict[str, Any], group: str, extras: Mapping[str, Any] | None = None
) -> T:
    """Call `factory` with arguments checked against its annotations; errors name `group.key`."""
    signature = inspect.signature(factory)
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    hints = _hints(factory)
    checked: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in signature.parameters and not takes_any:
            known = [k for k in signature.parameters if k not in (extras or {})]
            raise ConfigError(f"{group}.{key}", value, f"unknown key; {one_of(known, key)}")
        checked[key] = _validated(f"{group}.{key}", value, hints.get(key))
    accepted = {k: v for k, v in (extras or {}).items() if k in signature.parameters or takes_any}
    missing = [
        k for k, p in signature.parameters.items()
        if p.default is inspect.Parameter.empty and k not in checked and k not in accepted
        and p.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    if missing:
        raise ConfigError(f"{group}.{missing[0]}", None, f"must be given: add {group}.{missing[0]}=...")
    try:
        return factory(**checked, **accepted)
    except ConfigError as error:
        raise (error if error.key.split(".")[0] == group else error.under(group)) from error
    except InitlabError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(group, None, f"{getattr(factory, '__name__', factory)}: {error}") from error


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    source = factory.__init__ if isinstance(factory, type) and not hasattr(factory, "__dataclass_fields__") else factory
    try:
        return typing.get_type_hints(source, include_extras=True)
    except (NameError, TypeError):
        # a foreign factory whose annotations cannot be evaluated is called unchecked; it raises its own errors
        return {}


def _validated(key: str, value: Any, hint: Any) -> Any:
    if hint is None:
        return value
    # True is an int to Python; as a depth or a rate it is a slip
    if isinstance(value, bool) and bool not in _leaves(hint):
        raise ConfigError(key, value, f"must be {_words(hint)}")
    try:
        config = ConfigDict(arbitrary_types_allowed=True)
        return TypeAdapter(hint, config=config).validate_python(value)
    except ValidationError as error:
        raise ConfigError(key, value, _sentence(error, value)) from error
    except Exception as error:  # a hint that pydantic cannot turn into a schema; its own package vouches for it
        if type(error).__module__.startswith("pydantic"):
            return value
        raise


def _leaves(hint: Any) -> set[Any]:
    args = typing.get_args(hint)
    return {hint} if not args else set[Any]().union(*(_leaves(a) for a in args))


def _words(hint: Any) -> str:
    kinds = {float: "a number", int: "an integer", str: "text"}
    names = [kinds[leaf] for leaf in kinds if leaf in _leaves(hint)]
    return " or ".join(names) or "another kind of value"


def _sentence(error: ValidationError, value: object) -> str:
    """One sentence of what is accepted, from all the branches of a union that pydantic tried."""
    parts: list[str] = []
    for item in error.errors():
        text = str(item["msg"]).removeprefix("Value error, ").replace("Field required", "is missing")
        text = text.replace("Input should be ", "").replace(", unable to parse string as a number", "")
        where = ".".join(str(p) for p in item["loc"] if isinstance(p, int))
        text = f"item {where}: {text}" if where else text
        if text not in parts:
            parts.append(text)
    hint = ""
    literals = [
        str(item.get("ctx", {}).get("expected", "")) for item in error.errors() if item["type"] == "literal_error"
    ]
    if isinstance(value, str) and literals:
        near = one_of([w.strip(" '") for w in literals[0].replace(" or ", ",").split(",")], value)
        hint = near[near.index(" (did") :] if " (did" in near else ""
    return f"must be {' or '.join(parts)}{hint}"
