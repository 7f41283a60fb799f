"""Which licences Unsloth's files name, beside what their packages' metadata says: writes
docs/licenses.md. python -m bench.licenses
"""

from collections import Counter
from importlib.metadata import PackagePath, distribution
from pathlib import Path

from onecard.files.atomic import write_atomic

ROOT = Path(__file__).parent.parent
PACKAGES = ("unsloth", "unsloth_zoo")
HEAD = 2_000  # characters of a file in which its licence stands
NAMES = {"AGPL": "AGPL-3.0", "Affero": "AGPL-3.0", "Lesser": "LGPL-3.0", "Apache": "Apache-2.0"}
MEANING = """
What that means, as we read it. It is no legal advice.

- **You train, and keep or publish the adapter.** Nothing changes. A trained adapter holds none of
  Unsloth's code.
- **You hand the image on**, or a machine with it. The image holds AGPL-3.0 and LGPL-3.0 code. Hand
  on those licences too, and offer the source of these packages. They are in the image as source.
- **You let others train over a network**, on this image with Unsloth's code changed. The AGPL asks
  you to offer them that changed source. Onecard does not change Unsloth's files. On a card, Unsloth
  itself writes a trainer at run time that has parts of its files in it.
- **Onecard's own code** is Apache-2.0. It imports Unsloth in one file, onecard/model/load.py, and
  copies nothing of it.
"""


def licence_of(file: PackagePath) -> str:
    """The licence that a file's first lines name; the strictest, where they name several."""
    text = Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")[:HEAD]
    return next((name for sought, name in NAMES.items() if sought in text), "none named")


def main() -> None:
    rows = []
    for package in PACKAGES:
        found = distribution(package)
        says = found.metadata["License-Expression"]
        counts: dict[str, Counter[str]] = {}
        for file in found.files or []:
            if file.suffix == ".py" and Path(str(file.locate())).is_file():
                counts.setdefault(file.parts[0], Counter())[licence_of(file)] += 1
        for folder, licences in sorted(counts.items()):
            listed = ", ".join(f"{count:,} {name}" for name, count in licences.most_common())
            rows.append(f"| {package} {found.version}: {folder}/ | {says} | {listed} |")
    text = "\n".join(
        [
            "# Licences of what is inside",
            "",
            "Onecard is Apache-2.0. Unsloth's packages name more than one licence. Made by",
            "`python -m bench.licenses`, which reads the first lines of their Python files:",
            "",
            "| package and folder | its metadata says | its files say |",
            "|---|---|---|",
            *rows,
            MEANING,
        ]
    )
    write_atomic(ROOT / "docs/licenses.md", text)
    print(text)


if __name__ == "__main__":
    main()
