"""What a sweep maximises: a number of VAL by its name, or several added and weighed; no torch."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lvm_lab.errors import UserError

# Numbers of VAL, of each of which more is better, and the gate whose file measures it (None: known without 5CAT).
GATE_OF: dict[str, str | None] = {
    "halves": None,
    "margin": "offsets",
    "unseen_mrr": "retrieval",
    "mrr": "retrieval",
    "r1": "retrieval",
    "rollout": "rollout",
    "cos": None,
}
WITHOUT_FIVE_CAT = ("cos",)
# A longer one is no objective that a person could say in words.
LONGEST = 200
OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
ALLOWED = (ast.BinOp, ast.UnaryOp, ast.Load, *OPERATORS)


@dataclass(frozen=True)
class SweepSettings:
    """What Hydra's sweepers get of a run. None of it enters the fingerprint.

    objective: a name of GATE_OF, or an expression of such names with + - * / ( ) and numbers; null: nothing.
    """

    objective: str | None = None

    def __post_init__(self) -> None:
        if self.objective is not None:
            names(self.objective)


def names(objective: str) -> set[str]:
    """The numbers that an objective is made of. Raises UserError for all but numbers of VAL in plain arithmetic."""
    used = {node.id for node in ast.walk(_parse(objective)) if isinstance(node, ast.Name)}
    if not used:
        raise UserError(f"sweep.objective={objective} names no number of VAL; {_choose()}.")
    return used


def check(objective: str, gates: list[str], judged: bool) -> None:
    """UserError for an objective that no run of a preset could have. gates: by file; judged: False for 5cat=off."""
    for name in sorted(names(objective)):
        if not judged and name not in WITHOUT_FIVE_CAT:
            raise UserError(
                f"sweep.objective={objective} needs 5CAT, which this preset leaves out; choose another 5cat, or "
                f"sweep.objective={WITHOUT_FIVE_CAT[0]}."
            )
        gate = GATE_OF[name]
        if gate is not None and gate not in gates:
            raise UserError(
                f"sweep.objective={objective} needs the gate {gate}, which 5cat.gates leaves out; add it there, or "
                "choose another objective."
            )


def value(objective: str, numbers: Mapping[str, float | None]) -> float | None:
    """What an objective comes to; None where a number is missing or the result is not finite."""
    if any(numbers.get(name) is None for name in names(objective)):
        return None
    try:
        result = float(_compute(_parse(objective), numbers))
    except (ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def _parse(objective: str) -> ast.expr:
    """The expression's tree, every node of which is allowed."""
    try:
        tree = ast.parse(objective.strip(), mode="eval").body if len(objective) <= LONGEST else None
    except (SyntaxError, ValueError):
        tree = None
    if tree is None:
        raise UserError(f"sweep.objective={objective[:LONGEST]} is no expression; {_choose()}.")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            _check_name(objective, node.id)
        elif isinstance(node, ast.Constant):
            if type(node.value) not in (int, float):
                raise UserError(f"sweep.objective={objective} holds {node.value!r}; {_choose()}.")
        elif not isinstance(node, ALLOWED):
            raise UserError(f"sweep.objective={objective} is more than + - * / of numbers; {_choose()}.")
    return tree


def _check_name(objective: str, name: str) -> None:
    if name in GATE_OF:
        return
    if re.search(r"test|ood", name, re.IGNORECASE):
        raise UserError(
            f"sweep.objective={objective} looks at test or OOD vectors, which choose nothing, so that their numbers "
            f"stay honest; {_choose()}."
        )
    raise UserError(f"sweep.objective={objective}: {name} is no number of VAL; {_choose()}.")


def _choose() -> str:
    return f"choose {', '.join(GATE_OF)}, or an expression of them such as 'margin + 0.5 * unseen_mrr'"


def _compute(node: ast.AST, numbers: Mapping[str, float | None]) -> float:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_compute(node.left, numbers), _compute(node.right, numbers))
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](_compute(node.operand, numbers))
    if isinstance(node, ast.Name):
        return float(numbers[node.id])  # type: ignore[arg-type]
    assert isinstance(node, ast.Constant)
    return float(node.value)  # type: ignore[arg-type]
