"""From what completions are paid to what their tokens are credited with. Pure.

`outcome`: a number for each completion, as TRL computes it. `accepted`: 1 for a completion that
ended and is right, and 0 for all others, which is online rejection sampling. `steps`: process
supervision, a number for each token (DeepSeekMath, section 4.1.3): what the steps are paid is
normalised over all steps of the group, and a token's advantage is the sum over its own step and
those after it.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import fmean, stdev
from typing import Literal

from rewards.scoring import Scored, is_accepted

Credit = Literal["outcome", "accepted", "steps"]
TINY = 1e-4  # as TRL adds it to a deviation


def accepted(scored: Sequence[Scored]) -> list[float]:
    """(B,) 1 where a completion is accepted."""
    return [float(is_accepted(one.rollout, one.total)) for one in scored]


def step_advantages(
    paid: Sequence[Sequence[float]], groups: Sequence[int], divide: bool
) -> list[list[float]]:
    """The advantage of each step of each completion.

    `paid`: what each step of each completion is paid. `groups`: which completions have one prompt.
    `divide`: by the deviation too, and not the mean alone. Where all steps of a group are paid
    alike, all its advantages are 0.
    """
    of_group: dict[int, list[float]] = {}
    for pays, group in zip(paid, groups, strict=True):
        of_group.setdefault(group, []).extend(pays)
    found = []
    for pays, group in zip(paid, groups, strict=True):
        whole = of_group[group]
        alike = max(whole, default=0.0) - min(whole, default=0.0) <= TINY * TINY
        middle = fmean(whole) if whole else 0.0
        scale = stdev(whole) + TINY if divide and len(whole) > 1 else 1.0
        relative = [0.0 if alike else (pay - middle) / scale for pay in pays]
        found.append(list(accumulate(reversed(relative)))[::-1])
    return found


def tokens_up_to(ends: Sequence[int], tokens: int, length_of: Callable[[int], int]) -> list[int]:
    """For each step, how many tokens there are up to its end; the last takes all that are left.

    `ends` are places in the text, and `length_of(k)` is the length of the text of the first k
    tokens: it never falls.
    """
    found = []
    least = 0
    for end in ends[:-1]:
        low, high = least, tokens
        while low < high:  # the fewest tokens that say the text up to there
            middle = (low + high) // 2
            if length_of(middle) >= end:
                high = middle
            else:
                low = middle + 1
        found.append(low)
        least = low
    return [*found, tokens] if ends else []


def token_advantages(advantages: Sequence[float], up_to: Sequence[int], width: int) -> list[float]:
    """(T,) a step's advantage for each of its tokens; 0 after the end of the completion."""
    found = [0.0] * width
    begin = 0
    for advantage, end in zip(advantages, up_to, strict=True):
        for place in range(begin, min(end, width)):
            found[place] = advantage
        begin = end
    return found
