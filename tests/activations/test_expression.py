"""Formulas: what they mean, and that hostile ones are refused before anything is computed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from scipy import special

from initlab.activations import expr, parse_activation
from initlab.errors import ConfigError
from tests.activations.formulas import Formula

GOOD: dict[str, Formula] = {
    "x": lambda x: x,
    "x*tanh(softplus(x))": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "-x + 2*x**3/3 - 0.5": lambda x: -x + 2 * x**3 / 3 - 0.5,
    "where(x > 0, x, 0.1*x)": lambda x: np.where(x > 0, x, 0.1 * x),
    "where(x <= -1, -1, min(x, 1))": lambda x: np.where(x <= -1, -1, np.minimum(x, 1)),
    "max(x, 0)**2": lambda x: np.maximum(x, 0) ** 2,
    "clip(x, -2, 2)": lambda x: np.clip(x, -2, 2),
    "exp(-x**2/2)/sqrt(2*pi)": lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
    "x*sigmoid(1.702*x)": lambda x: x * special.expit(1.702 * x),
    "2*pi*sin(x)": lambda x: 2 * math.pi * np.sin(x),
    "erf(x) + +cos(x)": lambda x: special.erf(x) + np.cos(x),
    "(x**2 + 1)**-0.5": lambda x: 1 / np.sqrt(x**2 + 1),
    "abs(x) - square(x) + relu(x) + elu(x)": lambda x: np.abs(x) - x**2 + np.maximum(x, 0) + np.where(
        x > 0, x, np.expm1(np.minimum(x, 0))
    ),
    "log1p(abs(x)) + log(x**2 + 1) + asinh(x) - arctan(x)": lambda x: np.log1p(np.abs(x)) + np.log(x**2 + 1)
    + np.arcsinh(x) - np.arctan(x),
    "gelu(x) + silu(x) + softsign(x) + sinh(x/4) + expm1(x) + sign(x)*x": lambda x: x * special.ndtr(x)
    + x * special.expit(x) + x / (1 + np.abs(x)) + np.sinh(x / 4) + np.expm1(x) + np.abs(x),
    "tan(tanh(x))": lambda x: np.tan(np.tanh(x)),
}  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_meaning(text: str, dtype: torch.dtype) -> None:
    activation = expr(f=text)
    x = torch.linspace(-4, 4, 103, dtype=dtype).reshape(1, 103)
    out = activation.make(103)(x)
    assert out.dtype == dtype and out.shape == x.shape
    expected = GOOD[text](x.double().numpy())
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=3e-6)


HOSTILE = {
    "__import__('os').system('true')": "may not contain",
    "().__class__.__bases__[0]": "may not contain",
    "x.__class__": "attributes",
    "x.real": "attributes",
    "(lambda: x)()": "may not contain ':'",
    "open(x)": "does not know open",
    "eval(x)": "does not know eval",
    "__builtins__": "does not know __builtins__",
    "'x'*10": "may not contain",
    "[x for x in x]": "may not contain",
    "(y for y in x)": "generatorexp",
    "f'{x}'": "may not contain",
    "x[0]": "may not contain",
    "x if x > 0 else 0": "ifexp",
    "x > 0": "a comparison",
    "not x": "not",
    "x and x": "boolop",
    "x, x": "tuple",
    "(x := 3)": "may not contain ':'",
    "await x": "await",
    "yield": "no formula",
    "x @ x": "may not contain '@'",
    "x % 2": "may not contain '%'",
    "x // 2": "binop",
    "x << 3": "binop",
    "~x": "may not contain '~'",
    "x ** x": "only numbers as exponents",
    "2 ** x": "only numbers as exponents",
    "x ** (1 + 1)": "only numbers as exponents",
    "9**9**9**9*x": "only numbers as exponents",
    "x ** 1000": "exponents of at most 8",
    "x ** -9": "exponents of at most 8",
    "(((x**8)**8)**8)**8": "not finite",
    "1e999*x": "numbers of at most",
    "10000000*x": "numbers of at most",
    "1j*x": "numbers only",
    "True*x": "numbers only",
    "None*x": "numbers only",
    "... + x": "numbers only",
    "tanh(x, 1)": "must give tanh 1 argument",
    "tanh()+x": "must give tanh 1 argument",
    "tanh(input=x)": "must give tanh 1 argument",
    "tanh(*x)": "starred",
    "where(x, x, x)": "one comparison",
    "where(0 < x < 1, x, 0)": "one comparison",
    "where(x == 1, x, 0)": "one comparison",
    "tanh(x)(x)": "may not call",
    "sofplus(x)": "did you mean softplus",
    "y": "does not know y",
    "3": "must depend on x",
    "": "no formula",
    "x x": "no formula",
    "x;x": "may not contain ';'",
    "x\nimport os": "may not contain",
    "x #": "may not contain",
    "x\x00": "may not contain",
    "χ": "may not contain",
    "log(x)": "its value is not finite at x = 0",
    "sqrt(x)": "is not finite at x = ",
    "1/x": "its value is not finite at x = 0",
    "abs(x)**0.5": "its derivative is not finite at x = 0",
    "sqrt(abs(x))": "its derivative is not finite at x = 0",
    "x/(1-tanh(x*1000000))": "not finite",
    "+".join(["x"] * 60): "nested more than 24 deep",
    "-" * 100 + "x": "nested more than 24 deep",
    "tanh(" * 40 + "x" + ")" * 40: "nested more than 24 deep",
    "(" * 10_000 + "x" + ")" * 10_000: "at most 400 characters",
    "(" * 190 + "x" + ")" * 190: None,
    "(" * 150 + "x" + ")" * 160: "no formula",
    "9" * 390 + "*x": "numbers of at most",
}


@pytest.mark.parametrize("text", HOSTILE, ids=[repr(t[:30]) for t in HOSTILE])
def test_what_is_refused(text: str) -> None:
    expected = HOSTILE[text]
    begun = time.perf_counter()
    if expected is None:  # brackets alone are nothing
        expr(f=text)
        return
    with pytest.raises(ConfigError) as caught:
        expr(f=text)
    assert caught.value.key == "activation.f" and caught.value.exit_code == 2
    assert expected in str(caught.value)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize("text", [t for t in HOSTILE if HOSTILE[t] and not t.isidentifier() and t not in ("tanh()+x",)])
def test_refused_by_name_too(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_activation(text)


def test_no_trace_of_evaluation() -> None:
    """The source has neither eval nor exec nor compile, and reads attributes of torch by a fixed table only."""
    import ast
    import inspect

    from initlab.activations import expression, naming

    for module in (expression, naming):
        called = [
            node.func.id for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]  # fmt: skip
        assert not {"eval", "exec", "compile", "__import__"} & set(called)


def test_a_formula_is_named_by_its_text() -> None:
    assert expr(f=" x * sin(x) ").name == "x * sin(x)"
