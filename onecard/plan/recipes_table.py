"""The tables of recipes in recipes/README.md, from the recipes themselves.

`make recipes-table` writes them; a test compares.
"""

from pathlib import Path

from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import load_shape
from onecard.plan.memory import plan_memory
from onecard.plan.pace import SPEEDS, estimate_seconds
from onecard.recipe.file import load_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
BEGIN, END = (
    "<!-- made by `make recipes-table` -->",
    "<!-- end of what `make recipes-table` makes -->",
)
BEGIN_DOSES = "<!-- made by `make recipes-table`, too -->"
DOSE_CARDS = (12, 24)  # GB


def table() -> str:
    """One row a recipe, those for a laptop first, then by card and model."""
    recipes = {file: load_recipe(file) for file in FOLDER.glob("*.yaml")}
    lines = [
        (
            "| recipe | needs | what it shows | planned peak | steps | planned time | published |"
            " measured |"
        ),
        "|" + "---|" * 8,
    ]
    for file, recipe in sorted(
        recipes.items(),
        key=lambda entry: (entry[1].card_gb or 0, entry[0].name != "tiny.yaml", entry[0].name),
    ):
        shape = load_shape(recipe.model.name) if recipe.card_gb else None
        peak = hours = ""
        if shape and recipe.card_gb:
            peak = f"{plan_memory(recipe, shape).peak / GIB:.1f} GiB"
            hours = (
                f"{sum(estimate_seconds(recipe, shape, recipe.card_gb).values()) / 3600:.1f} h on"
                f" an {SPEEDS[recipe.card_gb].name}"
            )
        needs = f"one {recipe.card_gb} GB card" if recipe.card_gb else "a laptop"
        cells = [
            f"[{recipe.name}]({file.name})",
            needs,
            recipe.claim or "",
            peak,
            str(recipe.all_rounds[-1].max_steps),
            hours,
            recipe.anchor or "",
            recipe.measured,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def dose_table() -> str:
    """How much the recipes for a card train, and how long that is planned to take."""
    hours = "".join(f" {card} GB card |" for card in DOSE_CARDS)
    lines = [
        f"| recipe | learning rate | prompts x completions a step | completions in all |{hours}",
        "|" + "---|" * (4 + len(DOSE_CARDS)),
    ]
    for file in sorted(FOLDER.glob("*.yaml")):
        recipe = load_recipe(file)
        shape = load_shape(recipe.model.name) if recipe.card_gb else None
        if shape is None or recipe.model.made_here:
            continue
        grpo, memory = recipe.grpo, plan_memory(recipe, shape)
        assert grpo is not None, f"{recipe.name}: a recipe for a card without GRPO has no dose"
        cells = [
            recipe.name,
            f"{grpo.learning_rate:.0e}".replace("e-0", "e-"),
            f"{grpo.prompts_per_step} x {grpo.num_generations}",
            f"{grpo.max_steps * grpo.completions_per_step:,}",
        ]
        for card in DOSE_CARDS:
            seconds = sum(estimate_seconds(recipe, shape, card).values())
            verdict = memory.verdict(card)
            cells.append(f"{seconds / 3600:.1f} h" if verdict == "fits" else verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The README's text with the tables as the recipes are now."""
    for begin, made in ((BEGIN, table()), (BEGIN_DOSES, dose_table())):
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        text = f"{before}{begin}\n{made}\n{END}{after}"
    return text


def main() -> None:
    file = FOLDER / "README.md"
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
