"""Keys that older recipes have: taken as what they are called now, and told; or refused.

The content is what stands in the file, before it is checked. `sources` says where: it maps the
place of a value to "FILE, line N" or to the --set that put it there.
"""

from typing import Any

from onecard.files.yaml_lines import Loc, source_of
from onecard.types import UserError
from onecard.watch.checks import learning, mechanics
from onecard.watch.health import QUIET_STEPS
from onecard.watch.history import NOISE, RECENT_STEPS, WINDOW_STEPS

RENAMED = {"warmup": "sft", "grading": "scoring"}

# Keys of `health:` that are constants now. One that says the same is dropped.
NOW_CONSTANT = {
    "recent_steps": RECENT_STEPS,
    "window_steps": WINDOW_STEPS,
    "quiet_steps": QUIET_STEPS,
    "noise": NOISE,
    "no_signal_warn": learning.NO_SIGNAL_WARN,
    "no_signal_alarm": learning.NO_SIGNAL_ALARM,
    "entropy_share": learning.ENTROPY_SHARE,
    "loss_near_zero": learning.NEAR_ZERO,
    "unchanged_steps": learning.UNCHANGED_STEPS,
    "grad_spike": mechanics.SPIKE,
    "grad_norm": mechanics.SMALLEST_SPIKE,
    "grad_spikes_alarm": mechanics.SPIKES_ALARM,
    "pass_at_g_enough": learning.PASS_AT_G_ENOUGH,
    "memory_steps": mechanics.MEMORY_STEPS,
    "memory_climb": mechanics.MEMORY_CLIMB,
    "sampling_drift": mechanics.LARGEST_DRIFT,
    "sampling_drift_rise": mechanics.DRIFT_RISE,
    "sampling_drift_steps": mechanics.DRIFT_STEPS,
}


def rename_sections(content: dict[str, Any], sources: dict[Loc, str]) -> list[str]:
    """Sections under their new names; what to tell of it."""
    told = []
    for old, new in RENAMED.items():
        if old not in content:
            continue
        where = sources.get((old,), old)
        if new in content:
            raise UserError(f"{where}: `{old}:` is called `{new}:` now, and both are there")
        content[new] = content.pop(old)
        for loc in [loc for loc in sources if loc[0] == old]:
            sources[(new, *loc[1:])] = sources.pop(loc)
        told.append(f"{where}: `{old}:` is called `{new}:` now; it is taken as that")
    return told


def rename_override(override: str) -> str:
    """A --set of a section's old name, as one of its new name."""
    key, equals, text = override.partition("=")
    first, dot, rest = key.partition(".")
    return f"{RENAMED.get(first, first)}{dot}{rest}{equals}{text}"


def declare_answer_once(content: dict[str, Any], sources: dict[Loc, str]) -> list[str]:
    """What rewards say of the answer's format, said once in `answer:`; what to tell of it.

    Raises UserError where they disagree among each other, or with `answer.format`.
    """
    said: dict[str, str] = {}  # each format, and where it stands
    entries = content.get("rewards")
    rewards = entries if isinstance(entries, list) else []
    answer = content.get("answer")
    if isinstance(answer, dict) and "format" in answer:
        where = sources.get(("answer", "format"), "the recipe")
        said[str(answer["format"])] = f"{where} (answer.format)"
    found = False
    for place, reward in enumerate(rewards):
        if not isinstance(reward, dict) or "answer_format" not in reward:
            continue
        found = True
        loc: Loc = ("rewards", place, "answer_format")
        where = source_of(loc, sources) or "the recipe"
        said.setdefault(str(reward.pop("answer_format")), f"{where} (rewards.{place})")
        sources.setdefault(("answer", "format"), where)
    if not found:
        return []
    if len(said) > 1:
        both = ", ".join(f"{form} in {where}" for form, where in said.items())
        raise UserError(
            f"the answer's format is declared once, and here there are several: {both}; write"
            " `answer: {format: ...}` at the top of the recipe, and leave `answer_format` out of"
            " the rewards"
        )
    (form,) = said
    content["answer"] = (answer if isinstance(answer, dict) else {}) | {"format": form}
    return [
        f"`answer_format` of a reward is called `answer: {{format: {form}}}` now, once for all; it"
        " is taken as that"
    ]


def drop_constants(content: dict[str, Any], sources: dict[Loc, str]) -> list[str]:
    """Keys of `health:` that are constants now; what to tell of it.

    Raises UserError for one that says something else than the constant.
    """
    health = content.get("health")
    if not isinstance(health, dict):
        return []
    dropped = []
    for key in [key for key in health if key in NOW_CONSTANT]:
        value = health.pop(key)
        if value != NOW_CONSTANT[key]:
            where = sources.get(("health", key), "the recipe")
            raise UserError(
                f"{where}: health.{key} is no setting any more but a constant,"
                f" {NOW_CONSTANT[key]}, below onecard/watch/; remove it, got {value!r}"
            )
        dropped.append(key)
    if not dropped:
        return []
    return [f"health: {', '.join(dropped)} are constants now, with the values that stand there"]
