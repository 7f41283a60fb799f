"""The report of a run folder made by hand: numbers from its files, and nothing that a model wrote
is ever markup.
"""

import json
from io import StringIO
from pathlib import Path

import pytest
from conftest import item, write_evaluation
from rich.console import Console

from eval.record import read_result
from eval.scores import compare
from onecard.console.display import Display
from onecard.console.text import fenced
from onecard.files.formats import write_json, write_jsonl
from onecard.recipe.file import load_recipe
from onecard.report.curves import CURVES, curves_of, draw, thinned
from onecard.report.problems import draw_problems
from onecard.report.report import write_report
from onecard.report.summary import summary
from onecard.run.folder import open_run

pytestmark = pytest.mark.unit
ATTACK = "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 problems: 4 right before, 14 right after, one of the first four broken."""
    run = open_run(tmp_path, "hand-made", load_recipe("recipes/tiny.yaml").resolved())
    write_evaluation(run.evaluation("tiny", "before"), [item(n, n < 4, "short") for n in range(20)])
    write_evaluation(
        run.evaluation("tiny", "after"),
        [item(n, 0 < n < 15, ATTACK, question=ATTACK) for n in range(20)],
    )
    before, after = (read_result(run.evaluation("tiny", when))[1] for when in ("before", "after"))
    results = {
        "benchmarks": {"tiny": compare(before, after)},
        "seconds": {"GRPO": 1.5, "total": 2.0},
        "card": {
            "name": "RTX 3060",
            "total_gib": 11.75,
            "measured_gib": {"training": 5.5},
            "planned_gib": {"training": 6.25},
        },
        "peak_memory_gib": 1.25,
    }
    write_json(run.folder / "results.json", results)
    times = {
        "time/generation": 0.5,
        "time/reward": 0.25,
        "time/training": 1.25,
        "time/tokens_per_second": 1000.0,
    }
    step = {"rewards/best": 1.25, "completions/mean_length": 20.0, **times}
    write_jsonl(run.metrics, [{"step": s, "reward": s / 10, **step} for s in (1, 2, 3)])
    write_report(run.folder)
    return run.folder


def test_numbers_stand_in_both_reports(folder: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "20.0 %" in text
        assert "70.0 %" in text
        assert "+50.0 points" in text
        assert "0.006" in text  # exact McNemar of 11 fixed and 1 broken: 2 * (1 + 12) / 2**12
        assert "1.25 GiB" in text
        assert (
            "2 s per step, mean of 3: generation 0.5, reward 0.25, training 1.25; 1,000 tokens/s"
            " while generating" in text
        )
        assert (
            "Peak memory of the RTX 3060 (11.75 GiB), measured: training 5.50 GiB, 6.25 planned"
            in text
        )


def test_alarms_stand_in_both_reports_and_only_as_text(folder: Path) -> None:
    alarm = {
        "name": "kl",
        "level": "alarm",
        "step": 7,
        "metric": "kl",
        "value": 30.0,
        "limit": 20.0,
        "advice": ATTACK,
    }
    told = alarm | {
        "text": f"alarm: kl, step 7: {ATTACK}",
        "stopped": True,
        "completions": [ATTACK],
    }
    names = ("report.html", "report.md")
    assert all(
        "Health" not in (folder / name).read_text(encoding="utf-8") for name in names
    )  # nobody watched this run
    for alarms in ([], [told]):
        write_jsonl(folder / "health.jsonl", alarms)
        write_report(folder)
        for name in names:
            text = (folder / name).read_text(encoding="utf-8")
            assert "Health" in text
            assert ("No alarm." in text) is not bool(alarms)
            assert ("Training ended here" in text) is bool(alarms)
    page, plain = ((folder / name).read_text(encoding="utf-8") for name in names)
    assert page.count("&lt;script&gt;alert(1)") == 2
    assert page.count("<script") == 2
    assert "<img" not in page
    health = plain.partition("## Health")[2].partition("## Time")[0]
    assert health.count(f"    {ATTACK}") == 1
    assert all(line.startswith("    ") for line in health.splitlines() if "<" in line)


def test_the_pilot_and_the_best_on_dev_stand_in_both_reports(folder: Path) -> None:
    pilot = {
        "prompts": 32,
        "num_generations": 8,
        "pass_rate": 0.421875,
        "pass_at_g": 1,
        "signal_share": 0.96875,
        "truncated": 0.25,
        "tokens": {"p10": 11.0, "p50": 12.0, "p90": 37.0, "max": 48},
        "generation_seconds_per_step": 0.54,
        "advice": [ATTACK],
    }
    write_json(folder / "pilot.json", pilot)
    results = json.loads((folder / "results.json").read_text())
    best = {
        "step": 40,
        "accuracy": 0.8125,
        "before": 0.5,
        "adapter": "checkpoints/grpo/checkpoint-40/adapter",
    }
    write_json(folder / "results.json", results | {"best_on_dev": best})
    write_report(folder)
    for name in ("report.html", "report.md"):
        text = " ".join((folder / name).read_text(encoding="utf-8").split())
        for told in (
            "32 training problems were answered 8 times each",
            "42 % of the completions",
            "97 % of the groups had",
            "about 0.5 s.",
        ):
            assert told in text
        assert "81.2 % at step 40 (50.0 % before training)" in text
        assert "checkpoints/grpo/checkpoint-40/adapter" in text
    assert "<img" not in (folder / "report.html").read_text(encoding="utf-8")


def test_a_curve_without_values_is_left_out(folder: Path) -> None:
    assert sorted(file.stem for file in (folder / "curves").iterdir()) == ["length", "reward"]
    assert 'id="curve-kl"' not in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.fault("a model that writes HTML and scripts", "report.html shows them as text")
def test_what_a_model_wrote_is_text(folder: Path) -> None:
    """tests/test_browser.py asks a real browser the same."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    assert "\\u003c/script\\u003e\\u003cscript\\u003ealert(1)" in page


def test_what_a_model_wrote_stays_in_its_block_of_the_markdown_report() -> None:
    assert fenced("x\r\r# HEADING\u2028<img>") == "    x\n    \n    # HEADING\n    <img>"


def test_accuracy_is_drawn_without_a_correct_answer_reward() -> None:
    metrics = [{"step": step, "eval/tiny-dev/accuracy": 0.5} for step in (0, 5)]
    assert draw(metrics, CURVES["accuracy"]).startswith("<svg")


def test_what_became_of_the_problems(folder: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "11 fixed" in text
        assert "1 broken" in text


LEVELS = [("loss_near_zero", "note"), ("kl", "warn"), ("no_signal", "alarm"), ("kl", "alarm")]


def test_summary_fits_a_narrow_terminal(folder: Path) -> None:
    console = Console(file=StringIO(), width=80)
    console.print(summary(folder))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    line = next(line for line in text.splitlines() if line.startswith(" tiny "))
    assert line.split() == [
        "tiny",
        "20",
        "20.0%",
        "70.0%",
        "+50.0",
        "+25.0",
        "to",
        "+75.0",
        "0.006",
    ]
    assert "tensorboard --logdir" in text
    assert "generation 0.5, reward 0.25, training" in text
    assert "training 5.50 GiB, 6.25 planned" in " ".join(text.split())
    assert "health " not in text  # nobody watched this run
    write_jsonl(folder / "health.jsonl", [{"name": name, "level": level} for name, level in LEVELS])
    console.print(summary(folder))
    assert "health      kl, no_signal\n" in console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_card_or_times_the_report_says_nothing_of_them(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    write_json(folder / "results.json", results | {"card": None})
    write_jsonl(folder / "metrics.jsonl", [{"step": 1, "reward": 0.5}])
    write_report(folder)
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text(encoding="utf-8")
        times = text[text.index("Time and memory") :]
        assert " s per step" not in times
        assert "None" not in times[: times.index("Peak memory of the process")]


def test_plain_lines_on_a_pipe_and_a_bar_on_a_terminal() -> None:
    for terminal in (False, True):
        console = Console(file=StringIO(), width=100, force_terminal=terminal)
        with Display(console).phase("GRPO", total=3) as tick:
            for step in (1, 2, 3):
                tick(step, reward=0.5)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("\x1b[" in text) is terminal
        assert "reward 0.5" in text
        assert "3/3" in text


def test_problems_that_were_never_solved_stand_in_both_reports(folder: Path) -> None:
    """a is solved and lost again, b is solved late, c and d never; d was asked once."""
    steps = [[["a", 1, 4], ["c", 0, 4]], [["b", 0, 4], ["c", 0, 4]], [["a", 0, 4], ["b", 4, 4]]]
    steps.append([["d", 0, 4]])
    lines = [{"step": step, "groups": groups} for step, groups in enumerate(steps, start=1)]
    write_jsonl(folder / "groups.jsonl", lines)
    write_report(folder)
    page, plain = (
        (folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md")
    )
    for text in (page, plain):
        told = " ".join(text.split())
        assert "In 7 groups 4 problems were asked. 2 of them were solved at least once" in told
        assert "of these, 1 had no right completion the last time" in told
    assert "c (2 times)." in plain
    assert "<td>c</td><td>2</td><td>2</td>" in page
    assert 'id="curve-problems"' in page
    assert (folder / "curves/problems.svg").is_file()


def test_what_each_step_of_a_completion_earned_stands_in_the_page(folder: Path) -> None:
    steps = [{"text": "2 + 2 = 4. ", "paid": 1.0, "advantage": 0.75}]
    steps.append({"text": ATTACK, "paid": 0.0, "advantage": -0.25})
    one = {"question": "2 + 2?", "completion": ATTACK, "verdict": "no_answer", "steps": steps}
    told = one | {"paid": "true_equations 0.5", "advantage": 0.25}
    write_json(folder / "completions.json", {"step": 3, "completions": [told]})
    write_report(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Some completions of step 3" in page
    assert "<td>2 + 2 = 4.</td><td>1</td><td>+0.75</td>" in page
    assert "<td>0</td><td>-0.25</td>" in page
    assert "no answer" in page
    assert ATTACK not in page


def test_any_text_may_name_a_benchmark_or_a_level() -> None:
    """Also one with dollar signs, between which matplotlib reads formulas."""
    name = "sets $A \\subset B$ and $x^{$"
    metrics = [
        {"step": step, f"eval/{name}/accuracy": 0.5, f"problems/{name}": 0.5, "problems/b": 0.1}
        for step in (1, 2)
    ]
    assert "<svg" in curves_of("grpo", metrics)["accuracy"][1]
    assert "<svg" in draw_problems({}, metrics)["difficulty"][1]


def test_a_long_run_s_chart_is_no_larger_than_a_screen_can_show() -> None:
    points = [(step, float(step)) for step in range(1, 10_001)]
    drawn = thinned(points)
    assert 500 <= len(drawn) <= 1001
    assert (drawn[0], drawn[-1]) == (points[0], points[-1])
    assert thinned(points[:800]) == points[:800]
    metrics = [{"step": step, "reward": value, "rewards/best": value} for step, value in points]
    assert len(draw(metrics, CURVES["reward"])) < 150_000
