"""Is the arithmetic of each step right? A reward for the steps of a completion."""

import ast
import re
from fractions import Fraction
from typing import Literal

from onecard.types import Rollout, Score
from rewards.base import Rule
from rewards.steps import steps_of

NUMBER = r"-?\d+(?:\.\d+)?"
# At most 200 characters of arithmetic, "=", and a number that is not the beginning of more.
EQUATION = re.compile(rf"([-+*/().\d ]{{1,200}})=\s*({NUMBER})(?!\s*[-+*/=\d])")


class TrueEquations(Rule):
    """Pays each step 1 where its equations hold; costs 1 where one does not; else it pays nothing.

    An equation is arithmetic with + - * / and its result: 3 * (4 + 5) = 27. The completion as a
    whole is worth the mean of its steps. Gamed by steps that are true and of no use; guarded by
    nothing: put it beside correct_answer. It is made for `grpo.credit: steps`.
    """

    name: Literal["true_equations"]

    def score(self, rollout: Rollout) -> Score:
        per_step = tuple(worth(step) for step in steps_of(rollout.text))
        return Score(sum(per_step) / len(per_step) if per_step else 0.0, per_step=per_step)


def worth(step: str) -> float:
    """1, -1 or 0."""
    held = [holds(left, right) for left, right in EQUATION.findall(step.replace(",", ""))]
    known = [one for one in held if one is not None]
    if not known:
        return 0.0
    return 1.0 if all(known) else -1.0


def holds(left: str, right: str) -> bool | None:
    """Whether an equation is true; None where its left side is a number alone, or no arithmetic."""
    left = left.lstrip(". )")  # the end of what stands before it
    if not any(sign in left[1:] for sign in "+-*/"):
        return None
    try:
        tree = ast.parse(left.strip(), mode="eval").body
        return value_of(tree) == Fraction(right)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None


def value_of(node: ast.AST) -> Fraction:
    """The value of plain arithmetic. Raises ValueError for anything else."""
    match node:
        case ast.Constant(value=int() | float()):
            return Fraction(str(node.value))
        case ast.UnaryOp(op=ast.USub()):
            return -value_of(node.operand)
        case ast.BinOp(op=ast.Add()):
            return value_of(node.left) + value_of(node.right)
        case ast.BinOp(op=ast.Sub()):
            return value_of(node.left) - value_of(node.right)
        case ast.BinOp(op=ast.Mult()):
            return value_of(node.left) * value_of(node.right)
        case ast.BinOp(op=ast.Div()):
            return value_of(node.left) / value_of(node.right)
    raise ValueError("no plain arithmetic")
