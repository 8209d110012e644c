"""A configuration as YAML text that OmegaConf reads back as it was, written by libyaml where it is there.

OmegaConf's own writer is plain Python and takes ten milliseconds a run, and as much again for the tree that it wants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

#: text that OmegaConf would read as a number or a truth value, and which therefore is quoted
_NO_TEXT = re.compile(
    r"[-+]?(\d[\d_]*)?\.?[\d_]*([eE][-+]?\d+)?|[-+]?0[xob][\da-fA-F_]+|[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?"
    r"|[-+]?\.?(inf|nan)|y|yes|n|no|true|false|on|off|null|~",
    re.IGNORECASE,
)


_Base = yaml.SafeDumper if TYPE_CHECKING or not yaml.__with_libyaml__ else yaml.CSafeDumper


class _Writer(_Base):
    def ignore_aliases(self, data: Any) -> bool:
        """The same list twice is written twice: a person reads it."""
        del data
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _NO_TEXT.fullmatch(text) else None)


_Writer.add_representer(str, _text)


def to_yaml(tree: Mapping[str, Any]) -> str:
    """`tree`, of mappings, lists, numbers, text and None, in its own order."""
    return yaml.dump(tree, Dumper=_Writer, default_flow_style=False, allow_unicode=True, sort_keys=False)
