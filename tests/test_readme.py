"""What the documents say, held against the files that it comes from."""

import re

import pytest
from conftest import ROOT, known_faults, read_reliability

from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import stored_shape
from onecard.plan.memory import plan_memory
from onecard.recipe.file import load_recipe
from onecard.run.resume import HARMLESS, may_change

pytestmark = pytest.mark.unit
DOCUMENTS = [
    file
    for file in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "runs" for part in file.relative_to(ROOT).parts)
]


def rows(file: str) -> list[list[str]]:
    """The cells of every line of a document that belongs to a table."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]


def test_the_accuracies_of_the_documents_are_those_of_the_bench() -> None:
    full = {tuple(row[:2]): row[2:] for row in rows("docs/measured.md")}
    short = {tuple(row[:2]): row[2:] for row in rows("README.md")}
    for row in rows("docs/demo-seeds.md")[2:]:
        run, benchmark, n, before, after, difference, p, _, *others = row
        steps_before, steps_after, tokens_before, tokens_after, *_ = others
        accuracy = [f"{before} %", f"{after} %", difference, told(p)]
        steps, tokens = f"{steps_before} -> {steps_after} %", f"{tokens_before} -> {tokens_after}"
        assert full[run, benchmark] == [n, *accuracy, steps, tokens]
        if benchmark == "tiny":
            assert short[run, benchmark] == accuracy
            assert f"Accuracy on {n} test problems" in text_of("README.md")
    for run, benchmark, _, before, after, difference, p, *_ in rows("docs/demo-controls.md")[2:]:
        if benchmark == "tiny":
            accuracy = [f"{before} %", f"{after} %", difference]
            assert full[run, benchmark] == accuracy
            assert short[run, benchmark] == [*accuracy, told(p)]


def told(p: str) -> str:
    """A p-value of the bench as the documents write it."""
    return "< 0.001" if float(p.strip("< ")) <= 0.001 else p


def text_of(file: str) -> str:
    """A document's text, whatever its line ends."""
    return " ".join((ROOT / file).read_text(encoding="utf-8").split())


def test_the_memory_in_the_documents_is_what_was_counted_and_planned() -> None:
    (sizes,) = (
        [float(size) for size in row[2:]]
        for row in rows("docs/memory.md")
        if row[0] == "gsm8k-qwen3-4b"
    )
    _, step, scoring, step_unsloth, scoring_unsloth = sizes
    assert (
        f"a step takes {step:.1f} GiB of activations instead of {step_unsloth:.1f}. Scoring takes"
        f" {scoring:.1f} GiB instead of {scoring_unsloth:.1f}."
    ) in text_of("README.md")
    published = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    for name, planned in (
        ("1.5b", "gsm8k-qwen2.5-1.5b: {:.1f} GiB"),
        ("3b", ": {:.1f} and "),
        ("7b", " and {:.1f} GiB"),
    ):
        recipe = load_recipe(ROOT / f"recipes/gsm8k-qwen2.5-{name}.yaml")
        shape = stored_shape(recipe.model.name)
        assert shape
        assert planned.format(plan_memory(recipe, shape).peak / GIB) in published


def test_the_readme_lists_every_recipe_for_a_card_by_its_card() -> None:
    listed = {
        name: row[0]
        for row in rows("README.md")
        if re.fullmatch(r"\d+ GB", row[0])
        for name in row[1].split(", ")
    }
    recipes = {file.stem: load_recipe(file).card_gb for file in (ROOT / "recipes").glob("*.yaml")}
    assert listed == {
        name: f"{card} GB" for name, card in recipes.items() if card and name != "gpu-smoke"
    }


def test_what_the_documents_name_is_there() -> None:
    targets = set(
        re.findall(r"^([a-z][\w-]*(?: [a-z][\w-]*)*):", (ROOT / "Makefile").read_text(), re.M)
    )
    targets = {name for line in targets for name in line.split()}
    for file in DOCUMENTS:
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z][a-z-]*)", text)) <= targets, file
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (file.parent / link).exists(), (file, link)


def test_what_may_change_on_resume_is_what_the_document_lists() -> None:
    text = (ROOT / "docs/resume.md").read_text(encoding="utf-8")
    listed = text[text.index("`--resume-anyway` accepts") : text.index("For every other change")]
    named = set(re.findall(r"`([a-z_.]+)`", listed))
    assert named == {".".join(key) for key in HARMLESS}
    length = may_change(load_recipe(ROOT / "recipes/tiny.yaml").all_rounds)
    assert length is not None
    assert "--resume --set " + ".".join(length) in text


@pytest.mark.unit
def test_every_fault_that_is_tested_is_on_the_page_and_held() -> None:
    page = read_reliability(ROOT / "docs/reliability.md")
    assert set(page) == known_faults()
    assert all(cases == held for cases, held in page.values())
