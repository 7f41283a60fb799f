"""The one grader: reads the answer that a completion declares, and compares it with the gold."""

from rewards.answer.grader import grade, graded, is_right
from rewards.answer.section import Answer, AnswerFormat, AnswerKind

__all__ = ["Answer", "AnswerFormat", "AnswerKind", "grade", "graded", "is_right"]
