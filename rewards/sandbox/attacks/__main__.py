"""Each attack, and what came of it, on this machine: python -m rewards.sandbox.attacks"""

import sys

from onecard.types import UserError
from rewards.sandbox.attacks.every import attack
from rewards.sandbox.client import ForkServer


def main() -> int:
    try:
        sandbox = ForkServer()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        outcomes = list(attack(sandbox))
    finally:
        sandbox.close()
    for name, held, what in outcomes:
        print(f"{'held' if held else 'LEAK'}\t{name}\t{what[:100]}")
    return 0 if all(held for _, held, _ in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
