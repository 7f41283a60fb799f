"""R1-style shaping of the working: steps, connectives, checking.

By default each is paid only beside a right answer.
"""

import re
from typing import Literal

from onecard.types import Rollout, Score
from rewards.answer.grader import is_right
from rewards.base import Rule
from rewards.rules.format import reasoning

STEP = re.compile(
    r"\bstep \d+\b"
    r"|^[ \t]{0,8}(?:\d{1,3}[.)]|[-*•])[ \t]"
    r"|\b(?:first|second|third|fourth|fifth|next|then|after that|finally|lastly)\b",
    re.IGNORECASE | re.MULTILINE,
)
EQUATION = re.compile(r"\d {0,2}= {0,2}[-$]?\d")
CONNECTIVE = re.compile(
    r"\b(?:so|thus|hence|therefore|because|since|then|if|implies|consequently|"
    r"which means|as a result)\b",
    re.I,
)
CHECK = re.compile(
    r"\b(?:check|checking|verify|verifying|double[- ]check|confirm|make sure|wait|"
    r"let me re\w+|to be sure|indeed)\b",
    re.I,
)


class Shaping(Rule):
    """A rule for how the working looks.

    `only_if_correct: false` pays it beside a wrong answer too, where it can be gamed.
    """

    only_if_correct: bool = True

    def score(self, rollout: Rollout) -> Score:
        if self.only_if_correct and not is_right(rollout):
            return Score(0.0)
        return Score(self.shape(reasoning(rollout)))

    def shape(self, working: str) -> float:
        raise NotImplementedError


class ReasoningSteps(Shaping):
    """Pays for 3 to 10 steps in full, for fewer in proportion, and for more slightly less (0.8).

    A step is "Step 2", a numbered or bulleted line, an ordinal word ("next", "finally") or an
    equation. Gamed by empty steps; guarded by paying only beside a right answer, and by the cap.
    """

    name: Literal["reasoning_steps"]

    def shape(self, working: str) -> float:
        steps = max(len(STEP.findall(working)), len(EQUATION.findall(working)))
        return 0.8 if steps > 10 else min(1.0, steps / 3)


class LogicalFlow(Shaping):
    """Pays a third for each different connective ("so", "because", "therefore"), up to three.

    Whole words only. Gamed by sprinkling them; guarded by counting each word once and by paying
    only beside a right answer.
    """

    name: Literal["logical_flow"]

    def shape(self, working: str) -> float:
        return min(1.0, len({word.lower() for word in CONNECTIVE.findall(working)}) / 3)


class SelfVerification(Shaping):
    """Pays 1 when the working says that it checks itself ("let me check", "verify", "wait").

    Gamed by saying so without doing it; guarded by its small weight and by paying only beside a
    right answer.
    """

    name: Literal["self_verification"]

    def shape(self, working: str) -> float:
        return float(CHECK.search(working) is not None)


class LanguageConsistency(Shaping):
    """Pays the share of the working's letters that are in the target script: R1's reward, by
    script.

    Of its first 20,000 characters. It cannot tell English from French. Gamed by writing little;
    guarded by paying only beside a right answer.
    """

    name: Literal["language_consistency"]
    script: Literal["latin", "cyrillic", "greek", "arabic", "han"] = "latin"

    def shape(self, working: str) -> float:
        letters = [letter for letter in working[:20_000] if letter.isalpha()]
        return (
            sum(RANGES[self.script].match(letter) is not None for letter in letters) / len(letters)
            if letters
            else 0.0
        )


RANGES = {
    "latin": re.compile("[A-Za-z\u00aa-\u024f\u1e00-\u1eff]"),
    "cyrillic": re.compile("[\u0400-\u052f]"),
    "greek": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "arabic": re.compile("[\u0600-\u06ff\u0750-\u077f]"),
    "han": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
}
