"""Rules between settings as formulas: our own small arithmetic on a parsed expression, so that no code is ever run."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

#: What a formula may call.
FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "exp": math.exp,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "abs": abs,
    "min": min,
    "max": max,
}
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_LONGEST = 500


class FormulaError(ValueError):
    """A formula that cannot be read or worked out; its text is half a sentence."""


class Formula:
    """A parsed formula: numbers, names, + - * / // % **, brackets and FUNCTIONS.

    Names may have one dot ("training.batch_size"). FormulaError when it holds anything else. All arithmetic is in
    floating point, so that no power can grow without end.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        if not self.text or len(self.text) > _LONGEST:
            raise FormulaError("it is empty" if not self.text else f"it is longer than {_LONGEST} letters")
        try:
            self._tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise FormulaError("it is no formula; write it like 'base * sqrt(training.batch_size)'") from None
        self.names: list[str] = []
        try:
            self._check(self._tree)
        except RecursionError:
            raise FormulaError("it is nested too deeply") from None

    def _check(self, node: ast.AST) -> None:
        """Collect the names; FormulaError at anything that is not arithmetic."""
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self._check(node.left)
            self._check(node.right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            self._check(node.operand)
        elif isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
                raise FormulaError(f"'{ast.unparse(node.func)}' cannot be called; there are {', '.join(FUNCTIONS)}")
            for argument in node.args:
                self._check(argument)
        elif (name := _name(node)) is not None:
            if name not in self.names:
                self.names.append(name)
        elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
            raise FormulaError(f"'{ast.unparse(node)}' is not arithmetic")

    def value(self, values: Mapping[str, Any]) -> float:
        """The number with the names' values; FormulaError where one is missing, no number, or the result is none."""
        try:
            found = self._value(self._tree, values)
        except FormulaError:
            raise
        except ZeroDivisionError:
            raise FormulaError("it divides by 0") from None
        except (ValueError, OverflowError, TypeError, RecursionError):
            raise FormulaError("it has no value with these settings") from None
        if isinstance(found, complex) or not math.isfinite(found):
            raise FormulaError("it has no value with these settings")
        return float(found)

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> float:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](self._value(node.left, values), self._value(node.right, values))
        if isinstance(node, ast.UnaryOp):
            inner = self._value(node.operand, values)
            return -inner if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return FUNCTIONS[node.func.id](*(self._value(argument, values) for argument in node.args))
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        return _number(str(_name(node)), values)


def _name(node: ast.AST) -> str | None:
    """The name that a node stands for, with one dot at most."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def _number(name: str, values: Mapping[str, Any]) -> float:
    if name not in values:
        raise FormulaError(f"there is no '{name}'")
    value = values[name]
    if not isinstance(value, int | float):
        raise FormulaError(f"'{name}' is {value!r} and no number")
    return float(value)
