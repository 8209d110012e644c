"""Writes a configuration as YAML that OmegaConf reads back unchanged, with libyaml where available.

OmegaConf's own writer is plain Python and takes ten milliseconds a run, and as much again for the tree that it needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from initlab.core.text import storable

#: text that OmegaConf would read as a number or a boolean, and which is quoted therefore
_NO_TEXT = re.compile(
    r"[-+]?(\d[\d_]*)?\.?[\d_]*([eE][-+]?\d+)?|[-+]?0[xob][\da-fA-F_]+|[-+]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?"
    r"|[-+]?\.?(inf|nan)|y|yes|n|no|true|false|on|off|null|~",
    re.IGNORECASE,
)


_Base = yaml.SafeDumper if TYPE_CHECKING or not yaml.__with_libyaml__ else yaml.CSafeDumper


class _Writer(_Base):
    def ignore_aliases(self, data: Any) -> bool:
        """Write a shared list twice, without aliases, for readability."""
        del data
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    text = storable(text)
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _NO_TEXT.fullmatch(text) else None)


_Writer.add_representer(str, _text)


def to_yaml(tree: Mapping[str, Any]) -> str:
    """`tree`, of mappings, lists, numbers, text and None, in its own order."""
    return yaml.dump(tree, Dumper=_Writer, default_flow_style=False, allow_unicode=True, sort_keys=False)
