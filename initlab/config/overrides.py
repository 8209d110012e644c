"""Quotes formulas in overrides, and refuses text that Hydra's parser cannot handle."""

from __future__ import annotations

import re
from collections.abc import Iterable

from initlab.config.instantiate import LONGEST
from initlab.errors import ConfigError

_CALL = re.compile(r"([A-Za-z_]\w*)\(.*\)", re.DOTALL)
#: its values have signs that Hydra's grammar does not allow unquoted
_TARGET = "trainer.until"
#: functions of Hydra's override grammar
HYDRA_FUNCTIONS = ("bool", "choice", "float", "glob", "int", "interval", "range", "shuffle", "sort", "str", "tag")
#: maximum nesting of brackets in an override
_DEEPEST = 50


def quote_formulas(overrides: Iterable[str]) -> list[str]:
    """Add quotes around formulas, schemes and targets that have none.

    A shell takes the quotes of ``activation.f="x*tanh(softplus(x))"``, ``init.recurrent="he(gain=2)"`` and
    ``trainer.until="train/loss<=0.28"`` away, and Hydra's grammar allows unquoted parentheses only for its own
    functions, and no ``<``.
    """
    found: list[str] = []
    for override in overrides:
        _check_readable(override)
        key, _, value = override.partition("=")
        formula = key.lstrip("+") == "activation.f" and value and value[0] not in "'\""
        if key.lstrip("+").startswith("init.") and _CALL.match(value):
            override = f"{key}={','.join(map(_quoted_call, split_at_top_level(value)))}"  # noqa: PLW2901
        if key.lstrip("+") == _TARGET:
            override = f"{key}={','.join(map(_quoted_target, split_at_top_level(value)))}"  # noqa: PLW2901
        if formula:
            escaped = value.replace('"', '\\"')
            override = f'{key}="{escaped}"'  # noqa: PLW2901
        found.append(override)
    return found


def _check_readable(override: str) -> None:
    """Raises ConfigError for text on which Hydra's parser would hang or overflow the stack."""
    key = override.partition("=")[0][:60]
    if len(override) > LONGEST * 2:
        raise ConfigError(key, None, f"is too long: {LONGEST * 2} characters are the most on a command line")
    depth = deepest = 0
    for character in override:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise ConfigError(key, None, f"is nested deeper than {_DEEPEST} brackets")


def _quoted_call(value: str) -> str:
    """``he(gain=2)`` in quotes; a function of Hydra's grammar, and everything else, as it is."""
    called = _CALL.fullmatch(value)
    return f'"{value}"' if called is not None and called[1] not in HYDRA_FUNCTIONS else value


def _quoted_target(value: str) -> str:
    """``train/loss<=0.28`` in quotes; null, text that has quotes, and a function of Hydra's grammar as they are."""
    plain = value.strip()
    return value if plain in ("", "null") or plain[0] in "'\"" or _CALL.match(plain) else f'"{plain}"'


def split_at_top_level(text: str) -> list[str]:
    """Split `text` at the commas outside parentheses and quotes."""
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in "([{") - (character in ")]}") if not quote else 0
        if character == "," and depth == 0 and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def quote_list(value: str) -> str:
    """Names separated by commas, with or without brackets, as a list of Hydra's grammar, whatever the names hold."""
    value = value.strip()
    listed = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    items = [item.strip().strip("'\"") for item in split_at_top_level(listed)]
    return f"[{','.join(quote_word(item) for item in items if item not in ('', 'null'))}]"


def quote_word(text: str) -> str:
    """`text` as one word of Hydra's grammar, whatever it holds: a shell has taken the user's quotes away."""
    return "null" if text in ("", "null") else "'" + text.replace("'", "\\'") + "'"
