"""What a recipe will do, in numbers, before anything is imported or downloaded."""

import yaml

from eval.benchmarks import BENCHMARKS
from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import ModelShape, load_shape
from onecard.plan.fit import changed, cheapest_knob, fit
from onecard.plan.laptop_memory import plan_laptop
from onecard.plan.memory import CARDS, plan_memory, vllm_share
from onecard.plan.pace import SPEEDS, estimate_seconds
from onecard.recipe.schema import Recipe
from onecard.stages.table import STAGES
from onecard.types import UserError


def plan_text(recipe: Recipe) -> str:
    """The resolved recipe, then steps, completions, tokens, and what will be evaluated."""
    lines = [yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True)]
    for name in recipe.stages:
        lines += STAGES[name].plan_lines(recipe, recipe.data)
    paid = [f"{reward.label} x {reward.weight:g}" for reward in recipe.rewards]
    lines.append(f"rewards    {', '.join(paid) or 'none'}")
    lines += evaluation_lines(recipe)
    if recipe.model.name != "tiny":  # which takes less than any card has
        shape = load_shape(recipe.model.name)
        if shape and not recipe.model.fast_inference:
            lines.append(laptop_line(recipe, shape))
        lines += card_lines(recipe, shape) if shape else [f"memory     no plan: {no_shape(recipe)}"]
    lines.append(
        f"kept       a checkpoint every {recipe.save.every_steps} steps, the adapter, report.md,"
        " report.html, results.json"
    )
    return "\n".join(lines)


def evaluation_lines(recipe: Recipe) -> list[str]:
    """Which benchmarks are asked when, and of how many problems."""
    lines = []
    for name in recipe.eval.benchmarks:
        known = BENCHMARKS.get(name)
        counts = [count for count in (recipe.eval.limit, known and known.problems) if count]
        about = known.about if known else "problems of that file"
        lines.append(
            f"evaluated  {name}, before and after, greedy: {min(counts, default='all')} {about}"
        )
    if recipe.eval.every_steps:
        lines.append(
            f"           {recipe.source.dev_benchmark}, every {recipe.eval.every_steps} steps:"
            f" {recipe.eval.dev_problems} problems"
        )
    return lines


def laptop_line(recipe: Recipe, shape: ModelShape) -> str:
    """The memory of a run on a CPU: the peak of each phase, and what it is without bf16."""
    phases, wide = (plan_laptop(recipe, shape, precision) for precision in ("bf16", "fp32"))
    listed = ", ".join(f"{name} {size / GIB:.1f}" for name, size in phases.items())
    return (
        f"on a CPU   {max(phases.values()) / GIB:.1f} GiB ({listed});"
        f" {max(wide.values()) / GIB:.1f} on a processor without bf16"
    )


def card_lines(recipe: Recipe, shape: ModelShape) -> list[str]:
    """Memory by phase and part, and what it means on cards of several sizes: does it fit, how
    long.
    """
    memory = plan_memory(recipe, shape)
    lines = []
    for phase, parts in (("generation", memory.generation), ("training", memory.training)):
        listed = ", ".join(
            f"{name} {size / GIB:.2f}"
            for name, size in sorted(parts.items(), key=lambda part: -part[1])
        )
        lines.append(f"{phase:<11}{memory.phases[phase] / GIB:5.1f} GiB, of it {listed}")
    held = ", ".join(f"{name} {size / GIB:.2f}" for name, size in memory.always.items())
    lines.append(f"{'':<11}and in both {held}")
    if recipe.model.fast_inference:
        shares = ", ".join(f"{vllm_share(0.98 * card * GIB):.0%} ({card} GB)" for card in CARDS)
        lines.append(
            f"{'':<11}generating, vLLM reserves more than it needs, and frees it for training; of"
            f" the free memory {shares}"
        )
    for card in CARDS:
        lines.append(
            f"{f'{card} GB card':<11}{memory.verdict(card):<14}{pace(recipe, shape, card)}"
        )
    if knob := cheapest_knob(recipe, shape):
        saved = (memory.peak - plan_memory(changed(recipe, knob), shape).peak) / GIB
        lines.append(
            f"{'':<11}cheapest to save: {' '.join(f'--set {change}' for change in knob)}"
            f" ({saved:.1f} GiB less)"
        )
    lines.append(
        f"{'':<11}arithmetic, not measured; times within a factor of two or so, replaced by the"
        " measured pace from step 1 on"
    )
    return lines


def pace(recipe: Recipe, shape: ModelShape, card: int) -> str:
    """How long GRPO may take on a card; "" where there is none."""
    seconds = estimate_seconds(recipe, shape, card)
    if not seconds:
        return ""
    hours = f"{duration(sum(seconds.values()))} of GRPO on an {SPEEDS[card].name}"
    share = f"{seconds['generation'] / sum(seconds.values()):.0%} of it generation"
    return f"about {hours}, {share}"


def duration(seconds: float) -> str:
    """Hours, or minutes where it is less than one hour."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(seconds / 60, 1):.0f} min"


def no_shape(recipe: Recipe) -> str:
    name = recipe.model.name
    return (
        f"the config.json of {name} is not on this disk; `hf download {name} config.json` fetches"
        " it alone"
    )


def fit_text(recipe: Recipe, card: str) -> str:
    """What to change so that a recipe fits a card of, say, 8GB. Raises UserError where nothing
    does.
    """
    digits = card.upper().removesuffix("GB").strip()
    if not digits.isdigit() or not int(digits):
        raise UserError(f"--fit {card}: wanted a card's memory, such as 8GB")
    shape = load_shape(recipe.model.name)
    if recipe.model.name == "tiny":
        raise UserError("--fit: the tiny model needs no card")
    if shape is None:
        raise UserError(f"--fit: {no_shape(recipe)}")
    changes = fit(recipe, shape, int(digits))
    peak = plan_memory(changed(recipe, changes), shape).peak / GIB
    if not changes:
        fits = (
            f"{recipe.name} fits a card of {digits} GB as it is: {peak:.1f} GiB at its peak, by"
            " arithmetic"
        )
        return "\n".join([fits, *in_16_bit(recipe, shape, int(digits))])
    return "\n".join(
        [
            (
                f"{recipe.name} fits a card of {digits} GB, {peak:.1f} GiB at its peak by"
                " arithmetic, with"
            ),
            *(f"  --set {c}" for c in changes),
        ]
    )


def in_16_bit(recipe: Recipe, shape: ModelShape, card_gb: float) -> list[str]:
    """A line that offers 16-bit weights, where a 4-bit recipe and the card have room for them."""
    if not recipe.model.load_in_4bit:
        return []
    plan = plan_memory(changed(recipe, ["model.load_in_4bit=false"]), shape)
    if plan.verdict(card_gb) != "fits":
        return []
    return [
        f"16-bit weights fit too, {plan.peak / GIB:.1f} GiB: nothing is rounded to 4 bits then, or"
        " unpacked at every product",
        "  --set model.load_in_4bit=false",
    ]
