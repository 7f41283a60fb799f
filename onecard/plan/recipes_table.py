"""The table of recipes in recipes/README.md, from the recipes themselves.

`make recipes-table` writes it; a test compares.
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
            str(recipe.grpo.max_steps),
            hours,
            recipe.anchor or "",
            recipe.measured,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The README's text with the table as the recipes are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> None:
    file = FOLDER / "README.md"
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
