"""Activation functions from a formula in x: ``x*tanh(softplus(x))``.

The text is parsed by `ast.parse` and never evaluated as Python: a tree of numbers, x, arithmetic, comparisons inside
`where` and the functions below is turned into calls of torch, and everything else is refused. Length, depth, numbers
and exponents are bounded, so that no formula can take memory or time out of proportion to the tensor.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from initlab.activations.modules import pointwise
from initlab.activations.slope import derivative
from initlab.core.factories import factory
from initlab.errors import ConfigError, one_of
from initlab.spec import Activation

KEY = "activation.f"
MAX_LENGTH = 400
MAX_DEPTH = 24
MAX_EXPONENT = 8.0
MAX_NUMBER = 1e6
_CHARACTERS = re.compile(r"[0-9A-Za-z_ .,+\-*/()<>=]*")

#: function → (number of arguments, what torch computes); all arguments arrive as tensors
_FUNCTIONS: Mapping[str, tuple[int, Callable[..., Tensor]]] = MappingProxyType(
    {
        "abs": (1, torch.abs),
        "arctan": (1, torch.arctan),
        "asinh": (1, torch.asinh),
        "cos": (1, torch.cos),
        "elu": (1, F.elu),
        "erf": (1, torch.erf),
        "exp": (1, torch.exp),
        "expm1": (1, torch.expm1),
        "gelu": (1, F.gelu),
        "log": (1, torch.log),
        "log1p": (1, torch.log1p),
        "max": (2, torch.maximum),
        "min": (2, torch.minimum),
        "relu": (1, F.relu),
        "sigmoid": (1, torch.sigmoid),
        "sign": (1, torch.sign),
        "silu": (1, F.silu),
        "sin": (1, torch.sin),
        "sinh": (1, torch.sinh),
        "softplus": (1, F.softplus),
        "softsign": (1, F.softsign),
        "sqrt": (1, torch.sqrt),
        "square": (1, torch.square),
        "tan": (1, torch.tan),
        "tanh": (1, torch.tanh),
        "where": (3, torch.where),
        "clip": (3, torch.clamp),
    }
)
_CONSTANTS: Mapping[str, float] = MappingProxyType({"pi": math.pi, "e": math.e})
_BINARY: Mapping[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        ast.Add: torch.add,
        ast.Sub: torch.sub,
        ast.Mult: torch.mul,
        ast.Div: torch.div,
    }
)
_COMPARE: Mapping[type[ast.cmpop], Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        ast.Lt: torch.lt,
        ast.LtE: torch.le,
        ast.Gt: torch.gt,
        ast.GtE: torch.ge,
    }
)

_Node = Callable[[Tensor], Tensor]


@factory
def expr(*, f: str) -> Activation:
    """φ(x) = f, any formula of x; φ' by autograd, kinks found by quadrature. Not from a paper: from you.

    To try an idea without writing Python. Gradients are those of the formula as it is written: x/(1+exp(-x)) overflows
    where x*sigmoid(x) does not.

    Args:
        f: the formula. Numbers, x, pi, e, + - * / **, and: abs arctan asinh clip cos elu erf exp expm1 gelu log log1p
            max min relu sigmoid sign silu sin sinh softplus softsign sqrt square tan tanh, where(x > 0, a, b).
            Exponents are numbers of at most 8.

    Raises:
        ConfigError: under ``activation.f``, saying what is not understood, or where the formula is not finite.
    """
    fn = parse(f)
    _refuse_nonfinite(fn, f)
    return pointwise(f.strip(), fn)


def parse(text: str) -> Callable[[Tensor], Tensor]:
    """Parses a formula in x into a function.

    Raises:
        ConfigError: under ``activation.f``.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ConfigError(KEY, text[:20] + "...", f"must have at most {MAX_LENGTH} characters, this has {len(text)}")
    found = _CHARACTERS.match(text)
    if found is None or found.end() < len(text):
        at = found.end() if found is not None else 0
        raise ConfigError(KEY, _shorten(text), f"may not contain {text[at]!r}; {_grammar()}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on literals of which most are refused below
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise ConfigError(KEY, _shorten(text), f"is no formula ({reason}); {_grammar()}") from error
    fn = _Reader(text).value(tree, 0)
    if not any(isinstance(node, ast.Name) and node.id == "x" for node in ast.walk(tree)):
        raise ConfigError(KEY, _shorten(text), "must depend on x")
    return fn


class _Reader:
    """Turns the nodes of one formula into functions of x; `text` is for error messages."""

    def __init__(self, text: str) -> None:
        self.text = text

    def value(self, node: ast.expr, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise self._error(f"is nested more than {MAX_DEPTH} deep")
        match node:
            case ast.Constant():
                return _constant(self._number(node))
            case ast.Name(id="x"):
                return lambda x: x
            case ast.Name(id=name) if name in _CONSTANTS:
                return _constant(_CONSTANTS[name])
            case ast.Name(id=name):
                raise self._error(f"does not know {name}; {one_of(['x', *_CONSTANTS, *_FUNCTIONS], name)}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.value(operand, depth + 1)
                return lambda x: -inner(x)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.value(operand, depth + 1)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(left, right, depth)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                first, second, act = self.value(left, depth + 1), self.value(right, depth + 1), _BINARY[type(op)]
                return lambda x: act(first(x), second(x))
            case ast.Call():
                return self._call(node, depth)
            case _:
                raise self._error(f"may not contain {_kind(node)}; {_grammar()}")

    def _power(self, left: ast.expr, right: ast.expr, depth: int) -> _Node:
        sign, literal = 1.0, right
        if isinstance(literal, ast.UnaryOp) and isinstance(literal.op, ast.USub):
            sign, literal = -1.0, literal.operand
        if not isinstance(literal, ast.Constant):
            raise self._error("takes only numbers as exponents")
        exponent = sign * self._number(literal)
        if abs(exponent) > MAX_EXPONENT:
            raise self._error(f"takes exponents of at most {MAX_EXPONENT:g}, not {exponent:g}")
        base = self.value(left, depth + 1)
        return lambda x: torch.pow(base(x), exponent)

    def _call(self, node: ast.Call, depth: int) -> _Node:
        if not isinstance(node.func, ast.Name):
            raise self._error(f"may not call {_kind(node.func)}; {_grammar()}")
        name = node.func.id
        if name not in _FUNCTIONS:
            raise self._error(f"does not know {name}; {one_of(_FUNCTIONS, name)}")
        count, act = _FUNCTIONS[name]
        if node.keywords or len(node.args) != count:
            raise self._error(f"must give {name} {count} argument{'s' if count > 1 else ''} without names")
        if name == "where":
            arguments = [self._condition(node.args[0], depth + 1)]
            arguments += [self.value(a, depth + 1) for a in node.args[1:]]
        else:
            arguments = [self.value(a, depth + 1) for a in node.args]
        return lambda x: act(*(argument(x) for argument in arguments))

    def _condition(self, node: ast.expr, depth: int) -> _Node:
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
            raise self._error("must give where one comparison (<, <=, >, >=) first")
        left, right = self.value(node.left, depth + 1), self.value(node.comparators[0], depth + 1)
        act = _COMPARE[type(node.ops[0])]
        return lambda x: act(left(x), right(x))

    def _number(self, node: ast.Constant) -> float:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(f"may contain numbers only, not {_shorten(repr(value))}")
        if not abs(value) <= MAX_NUMBER:
            raise self._error(f"takes numbers of at most {MAX_NUMBER:g}")
        return float(value)

    def _error(self, expected: str) -> ConfigError:
        return ConfigError(KEY, _shorten(self.text), expected)


def _constant(value: float) -> _Node:
    # filled where x is: a number copied to a GPU would make every forward pass wait
    return lambda x: torch.full((), value, dtype=x.dtype, device=x.device)


def _refuse_nonfinite(fn: Callable[[Tensor], Tensor], text: str) -> None:
    """Raises where the function is not finite at usual pre-activations, which would end the training."""
    x = torch.arange(-320, 321, dtype=torch.float64) / 40  # 0 and the whole numbers are among them, exactly
    for what, values in (("its value", fn(x)), ("its derivative", derivative(fn, x))):
        bad = ~torch.isfinite(values.expand_as(x))
        if bool(bad.any()):
            at = float(x[bad][x[bad].abs().argmin()])
            raise ConfigError(KEY, _shorten(text), f"{what} is not finite at x = {at:g}")


def _kind(node: ast.AST) -> str:
    words = {ast.Attribute: "attributes", ast.Lambda: "lambda", ast.Subscript: "brackets", ast.Compare: "a comparison"}
    return words.get(cast("type", type(node)), f"{type(node).__name__.lower()} expressions")


def _grammar() -> str:
    return f"write numbers, x, + - * / ** and {', '.join(sorted(_FUNCTIONS))}"


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
