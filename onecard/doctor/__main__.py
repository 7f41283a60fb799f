"""Is this machine able to train, and what exactly is missing?

    python -m onecard.doctor [RECIPE]

Exit code 1 if it is not.
"""

import argparse
import sys
from collections.abc import Iterator

from onecard.console.command import run_command
from onecard.doctor.finding import Finding
from onecard.doctor.gpu import check_cards, check_compiler, check_holders, check_torch_build
from onecard.doctor.packages import check_packages, check_python
from onecard.doctor.places import check_places, check_token
from onecard.doctor.sandbox import check_sandbox_here
from onecard.machine.gpu import find_cards
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe


def examine(recipe: Recipe | None) -> Iterator[Finding]:
    """All findings, in the order in which a person would look."""
    cards = find_cards()
    yield check_python()
    yield from check_cards(cards, recipe)
    yield from check_packages(
        bool(cards), with_vllm=bool(cards) and recipe is not None and recipe.model.fast_inference
    )
    if cards:
        yield from check_torch_build(cards)
        yield from check_compiler()
        yield from check_holders()
    yield from check_places()
    yield check_token()
    yield check_sandbox_here()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m onecard.doctor", description=__doc__)
    parser.add_argument("recipe", nargs="?", help="also say whether this recipe can train here")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the recipe; may be repeated",
    )
    args = parser.parse_args(arguments)
    return run_command(lambda: tell(load_recipe(args.recipe, args.set) if args.recipe else None))


def tell(recipe: Recipe | None) -> int:
    findings = list(examine(recipe))
    for finding in findings:
        mark = {True: "ok", False: "NO", None: "--"}[finding.ok]
        print(f"{mark}  {finding.about:<14} {finding.text}")
        if finding.remedy and not finding.ok:
            print(f"{'':<19}{finding.remedy}")
    failed = [finding.about for finding in findings if finding.ok is False]
    what = recipe.name if recipe else "training"
    print(f"\n{what} cannot start: {', '.join(failed)}" if failed else f"\n{what} can start")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
