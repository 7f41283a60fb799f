"""report.html in a real browser: the table of answers filters, searches, opens, and shows what a
model wrote as text alone.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import item, write_evaluation

from eval.record import read_result
from eval.scores import compare
from onecard.files.formats import write_json, write_jsonl
from onecard.recipe.file import load_recipe
from onecard.report.report import write_report
from onecard.run.folder import open_run

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine"),
]
ATTACK = (
    "</pre></script><script>document.title = 'owned'</script><img src=x onerror=\"document.title ="
    " 'owned'\">"
)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--virtual-time-budget=3000",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 problems: 10 right before; after, 0 is broken, 1 to 9 and 10 to 69 are right, and 110 to
    119 are cut.
    """
    recipe = load_recipe("recipes/tiny.yaml")
    run = open_run(tmp_path_factory.mktemp("browser"), "hand-made", recipe.resolved())
    write_evaluation(
        run.evaluation("tiny", "before"),
        [item(n, n < 10, f"before {n} {ATTACK}") for n in range(120)],
    )
    write_evaluation(
        run.evaluation("tiny", "after"),
        [item(n, 0 < n < 70, f"after {n} {ATTACK}", truncated=n >= 110) for n in range(120)],
    )
    results = [read_result(run.evaluation("tiny", when))[1] for when in ("before", "after")]
    facts = {
        "benchmarks": {"tiny": compare(*results)},
        "seconds": {"total": 1.0},
        "card": None,
        "peak_memory_gib": 1.0,
    }
    write_json(run.folder / "results.json", facts)
    write_jsonl(run.metrics, [{"step": 1, "reward": 0.5}])
    write_report(run.folder)
    return run.folder / "report.html"


def opened(page: Path, address: str = "", then: str = "") -> str:
    """The document as the browser has it after `then`, a script that does what a person's hand
    would.
    """
    if then:
        text = page.read_text(encoding="utf-8")
        page = page.with_name("acted.html")
        page.write_text(
            text.replace("</body>", f"<script>{then}</script></body>"), encoding="utf-8"
        )
    with tempfile.TemporaryDirectory() as profile:
        command = [
            str(BROWSER),
            *OPTIONS,
            f"--user-data-dir={profile}",
            "--dump-dom",
            f"file://{page}{address}",
        ]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout


def rows(document: str) -> int:
    return document.count('<details class="answer"')


def test_all_answers_are_there_a_page_at_a_time(page: Path) -> None:
    document = opened(page)
    assert "120 of 120" in document
    assert rows(document) == 50
    assert rows(opened(page, then="document.getElementById('more').click()")) == 100


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("fixed", 60),
        ("broken", 1),
        ("still right", 9),
        ("still wrong", 50),
        ("cut at the token limit", 10),
        ("no answer", 0),
    ],
)
def test_filters_by_the_address(page: Path, kind: str, count: int) -> None:
    document = opened(page, f"#benchmark=tiny&kind={kind.replace(' ', '+')}")
    assert f"{count} of 120" in document
    assert rows(document) == min(count, 50)


def test_an_address_that_asks_for_nothing_there_is_shows_all(page: Path) -> None:
    assert "120 of 120" in opened(page, "#benchmark=svamp&kind=all+wrong")


def test_choosing_and_typing_filter_too(page: Path) -> None:
    choose = (
        "const f = document.getElementById('filters'); f.kind.value = 'fixed'; f.search.value ="
        " 'AFTER 69'; "
    )
    document = opened(
        page, then=choose + "f.search.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert "1 of 120" in document
    assert rows(document) == 1
    assert "question 69" in document


def test_an_opened_answer_shows_both_completions_and_no_markup_of_theirs(page: Path) -> None:
    document = opened(
        page, "#kind=broken", then="document.querySelector('details.answer').open = true"
    )
    assert "before 0 &lt;/pre&gt;&lt;/script&gt;&lt;script&gt;" in document
    assert "after 0 &lt;/pre&gt;" in document
    assert "before: correct" in document
    assert "after: wrong" in document
    assert "<img" not in document
    assert f"<title>{page.parent.name}: before and after GRPO</title>" in document


def test_the_confusion_is_shown(page: Path) -> None:
    document = opened(page)
    assert "60 fixed" in document
    assert "1 broken" in document


def test_a_long_name_of_a_problem_does_not_cover_its_question(page: Path) -> None:
    measure = (
        "const [, id, question] = document.querySelectorAll('details.answer summary span');"
        " id.textContent = 'some_task-of-a-gym-train-1234';"
        " const [one, other] = [id, question].map((part) => part.getBoundingClientRect());"
        " document.title = one.right <= other.left ? 'apart' : 'covered'"
    )
    assert "<title>apart</title>" in opened(page, then=measure)
