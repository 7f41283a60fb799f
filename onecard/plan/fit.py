"""What to change so that a recipe fits a card, as --set takes it. By arithmetic, not measured."""

from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import ModelShape, load_shape
from onecard.plan.memory import OPTIMIZER_BYTES, plan_memory
from onecard.recipe.file import apply_override
from onecard.recipe.schema import Recipe
from onecard.types import UserError


def knobs(recipe: Recipe) -> list[list[str]]:
    """Changes that save memory, as --set takes them, the cheapest first.

    First those that learn the same, then those that learn less.
    """
    found = []
    if not recipe.gradient_checkpointing:
        found.append([f"{recipe.stages[-1]}.gradient_checkpointing=true"])
    if recipe.grpo and recipe.grpo.optim not in OPTIMIZER_BYTES:
        found.append(["grpo.optim=adamw_8bit"])
    if not recipe.model.load_in_4bit:
        found.append(["model.load_in_4bit=true"])
    found += smaller_passes(recipe)
    if recipe.lora.rank > 8:
        found.append(
            [f"lora.rank={recipe.lora.rank // 2}", f"lora.alpha={max(1, recipe.lora.alpha // 2)}"]
        )
    grpo = recipe.grpo
    if grpo and grpo.max_completion_length > 256:
        found.append([f"grpo.max_completion_length={grpo.max_completion_length // 2}"])
    if grpo and grpo.num_generations > 4 and grpo.num_generations % 2 == 0:
        found.append([f"grpo.num_generations={grpo.num_generations // 2}"])
    return found


def smaller_passes(recipe: Recipe) -> list[list[str]]:
    """The same texts, completions or pairs a step, in twice as many passes."""
    found = []
    for name, supervised in (("sft", recipe.sft), ("rft", recipe.rft)):
        if supervised and supervised.rows % 2 == 0:
            twice = supervised.gradient_accumulation_steps * 2
            found.append([f"{name}.gradient_accumulation_steps={twice}"])
    for name, section in (("grpo", recipe.grpo), ("dpo", recipe.dpo), ("distill", recipe.distill)):
        if section is None or section.per_device_train_batch_size % 2:
            continue
        half = section.per_device_train_batch_size // 2
        twice = section.gradient_accumulation_steps * 2
        found.append(
            [
                f"{name}.per_device_train_batch_size={half}",
                f"{name}.gradient_accumulation_steps={twice}",
            ]
        )
    return found


def cheapest_knob(recipe: Recipe, shape: ModelShape) -> list[str]:
    """The first change of knobs() that lowers the peak by 3 % or more; [] where none does."""
    peak = plan_memory(recipe, shape).peak
    return next(
        (
            knob
            for knob in knobs(recipe)
            if plan_memory(changed(recipe, knob), shape).peak <= 0.97 * peak
        ),
        [],
    )


def how_to_save(recipe: Recipe) -> str:
    """One sentence: what to type where memory does not hold the recipe."""
    shape = load_shape(recipe.model.name)
    knob = cheapest_knob(recipe, shape) if shape else []
    remedy = (
        " ".join(f"--set {change}" for change in knob)
        or "a smaller grpo.per_device_train_batch_size"
    )
    return f"To save memory: {remedy}, under a new --name"


def fit(recipe: Recipe, shape: ModelShape, card_gb: float) -> list[str]:
    """The changes, as --set takes them, that make a recipe fit a card; [] if it does.

    Raises UserError where none do.
    """
    changes: dict[str, str] = {}
    while plan_memory(recipe, shape).verdict(card_gb) != "fits":
        knob = cheapest_knob(recipe, shape)
        if not knob:
            peak = plan_memory(recipe, shape).peak / GIB
            raise UserError(
                f"--fit {card_gb:g}GB: {recipe.model.name} does not fit; with everything turned"
                f" down it still takes {peak:.1f} GiB. Take a smaller model"
            )
        recipe = changed(recipe, knob)
        changes |= dict(change.split("=", 1) for change in knob)
    return [f"{key}={value}" for key, value in changes.items()]


def changed(recipe: Recipe, changes: list[str]) -> Recipe:
    """The recipe with "section.key=value" changes; checked again as a whole."""
    content = recipe.model_dump(mode="json")
    for change in changes:
        apply_override(content, change)
    return Recipe.model_validate(content)
