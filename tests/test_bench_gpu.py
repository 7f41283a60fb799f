"""The screens of bench/gpu.py and bench/gpu_check.py, made from numbers. What they measure needs a
card.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from bench.card_page import text
from bench.card_runs import Bench
from bench.gpu import fixed_length, for_bench, middle, notes, stock_uses_vllm, table
from bench.gpu_check import passed, read_outcomes, screen
from onecard.files.formats import write_json, write_jsonl
from onecard.machine.gpu import Card, find_cards
from onecard.recipe.file import load_recipe
from onecard.stages.grpo import section_of
from onecard.types import UserError

pytestmark = pytest.mark.unit
SMOKE = ROOT / "recipes/gpu-smoke.yaml"


def step(generation: float, training: float) -> dict[str, float]:
    return {"time/generation": generation, "time/reward": 0.0, "time/training": training}


def measured(factor: float, peak: float) -> dict[str, Any]:
    """Two slow steps that do not count, then steps of 1.5, 2 and 4 seconds, times `factor`."""
    steps = [
        step(50, 50),
        step(20, 20),
        step(0.5 * factor, factor),
        step(1.5 * factor, 0.5 * factor),
        step(1.0 * factor, 3 * factor),
    ]
    return {"steps": steps, "generates_with": "vLLM", "peak_gib": peak, "drift": None}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_medians_leave_the_first_steps_out() -> None:
    assert middle(measured(1.0, 4.0)) == {
        "generation": 1.0,
        "reward": 0.0,
        "training": 1.0,
        "step": 2.0,
        "least": 1.5,
        "most": 4.0,
    }


def test_the_table_puts_each_beside_onecard() -> None:
    found = {
        "onecard": measured(1.0, 4.0),
        "notebook": measured(3.0, 5.0),
        "stock": {"error": "OSError: a | b (x.py, line 1)"},
    }
    head, _, *rows = table(found, tokens_per_step=1000)
    assert cells(rows[0])[:7] == [
        "Onecard",
        "vLLM",
        "2.000 (1.500 to 4.000)",
        "1.000",
        "0.000",
        "1.000",
        "500",
    ]
    assert dict(zip(cells(head), cells(rows[1]), strict=True)) | {"": "Unsloth notebook"} == {
        "": "Unsloth notebook",
        "generates with": "vLLM",
        "s/step (range)": "6.000 (4.500 to 12.000)",
        "generation": "3.000",
        "reward": "0.000",
        "training": "3.000",
        "tokens/s": "167",
        "while generating": "333",
        "peak GiB": "5.00",
        "s/step, to Onecard's": "3.00",
        "peak, to Onecard's": "1.25",
    }
    assert "did not run: `OSError: a \\| b (x.py, line 1)`" in rows[2]
    assert rows[2].replace("\\|", "").count("|") == head.count("|")


def test_without_onecard_there_is_nothing_to_be_put_beside() -> None:
    rows = table(
        {"onecard": {"error": "killed"}, "notebook": measured(1.0, 4.0)}, tokens_per_step=1000
    )[2:]
    assert cells(rows[1])[-3:] == ["4.00", "", ""]


def test_stock_trl_uses_vllm_where_the_weights_that_it_hands_over_are_whole() -> None:
    assert not stock_uses_vllm(load_recipe(SMOKE))
    assert stock_uses_vllm(load_recipe(SMOKE, ["model.load_in_4bit=false"]))
    assert not stock_uses_vllm(
        load_recipe(ROOT / "recipes/tiny.yaml", ["model.load_in_4bit=false"])
    )


def test_the_notes_say_what_generated_and_what_a_cpu_is_worth() -> None:
    recipe, found = load_recipe(SMOKE), {"onecard": measured(1.0, 4.0) | {"drift": 0.0123}}
    on_a_card = "\n".join(notes(recipe, found, [Card("RTX 3060", 12 * 2**30, (8, 6))]))
    assert "On RTX 3060, 12 GiB." in on_a_card
    assert "Stock TRL generates with transformers here" in on_a_card
    assert "0.0123 nats" in on_a_card
    assert "2 prompts x 8 completions of exactly 128 tokens" in on_a_card
    on_a_cpu = "\n".join(notes(load_recipe(ROOT / "recipes/tiny.yaml"), found, []))
    assert "these numbers say nothing about a card" in on_a_cpu
    assert "Stock TRL generates" not in on_a_cpu


def test_lengths_are_fixed_in_the_words_of_what_generates() -> None:
    recipe = for_bench(load_recipe(SMOKE))
    assert section_of(recipe).extra == {"generation_kwargs": {"min_tokens": 128}}
    assert fixed_length(recipe, vllm=False) == {"min_new_tokens": 128}
    with pytest.raises(UserError, match="the first 2 do not count; make it 5"):
        for_bench(load_recipe(SMOKE, ["grpo.max_steps=2"]))


JUNIT = """<testsuites><testsuite><testcase name="test_one_thing"/><testcase name="test_another">
<failure message="no"/></testcase>
<testcase name="test_a_third"><skipped/></testcase></testsuite></testsuites>"""


def test_the_check_s_screen_says_what_passed_and_what_it_took(tmp_path: Path) -> None:
    (tmp_path / "outcomes.xml").write_text(JUNIT)
    outcomes = read_outcomes(tmp_path / "outcomes.xml")
    assert outcomes == {"test_one_thing": "pass", "test_another": "FAIL", "test_a_third": "skipped"}
    card = {
        "name": "RTX 3060",
        "total_gib": 11.75,
        "measured_gib": {"training": 5.5},
        "planned_gib": {"training": 6.25},
    }
    write_json(tmp_path / "results.json", {"card": card, "seconds": {"GRPO": 31.4}})
    write_jsonl(
        tmp_path / "metrics.jsonl",
        [{"step": 1, **step(1.0, 3.0), "time/tokens_per_second": 2048.0}],
    )
    lines = screen(0, outcomes, tmp_path).splitlines()
    assert "pass     one thing" in lines
    assert "FAIL     another" in lines
    assert any(
        line.startswith(
            "memory   Peak memory of the RTX 3060 (11.75 GiB), measured: training 5.50 GiB, 6.25"
            " planned"
        )
        for line in lines
    )
    assert (
        "pace     4 s per step, mean of 1: generation 1, reward 0, training 3; 2,048 tokens/s while"
        " generating" in lines
    )
    assert lines[-1] == "FAIL"
    assert screen(0, {"test_one_thing": "pass"}, tmp_path).splitlines()[-1] == "PASS"


def test_what_is_not_seen_to_pass_has_not_passed(tmp_path: Path) -> None:
    assert not passed(0, read_outcomes(tmp_path / "never-written.xml"))
    assert not passed(1, {"test_one_thing": "pass"})
    assert not passed(0, {"test_one_thing": "pass", "test_a_third": "skipped"})
    assert "left no results.json" in screen(0, {}, tmp_path)


@pytest.mark.skipif(bool(find_cards()), reason="there is a card here")
def test_without_a_card_the_check_says_so_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu_check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("no NVIDIA card is visible here")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def smoke(**changes: Any) -> dict[str, Any]:
    split = {"generation": 1.0, "reward": 0.0, "training": 0.5, "tokens_per_second": 2000.0}
    card = {"measured_gib": {"training": 2.0}, "planned_gib": {"training": 1.5}}
    run = {"steps": 10, "seconds_per_step": split, "rewards": [0.5] * 10, "card": card}
    return {"smoke": run | {"seconds": {"GRPO": 20.0}}, **changes}


MACHINE = {
    "card": "a card, 8 GiB",
    "date": "2026-12-01",
    "vllm": False,
    "versions": {"torch": "2.11.0"},
}


def test_a_card_s_page_has_each_part_with_what_was_measured_of_it() -> None:
    found = {
        "machine": MACHINE,
        "smoke": smoke(before_like_after=0.25, agreement_after=0.9, wall_seconds=90.0),
        "memory": {"gsm8k-qwen2.5-3b": {**smoke()["smoke"], "steps": 0, "seconds_per_step": None}},
        "learn": {"learn": smoke()["smoke"], "cut_after": 150, "wall_seconds": 150.0},
        "kill": {"same_before": True, "same_after": False, "failed": "OSError: gone"},
    }
    page = text(found)
    assert "2026-12-01, on a card, 8 GiB; transformers generated. torch 2.11.0." in page
    assert "10 steps of 1.50 s: generation 1.00, reward 0.00, training 0.50, 2,000 tokens/s" in page
    assert "Peak while training: 2.00 GiB, planned 1.50 (0.75 of it)." in page
    assert "transformers and PEFT, base and adapter: 90%." in page
    assert "gsm8k-qwen2.5-3b:\n\n- 0 steps; none was timed." in page
    assert "Cut off after 150 s. What is here was measured until then." in page
    assert "up to the checkpoint: yes." in page
    assert "killed and resumed: no." in page
    assert "It failed: `OSError: gone`" in page
    beside = page.split("## ")[3]
    assert beside == "Side by side\n\nNot run.\n\n"


def test_a_part_that_is_cut_off_or_fails_keeps_what_it_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tmp_path, None, None, {"machine": MACHINE})
    with bench.measuring("smoke", 1):
        bench.add(before_like_after=0.5)
        bench.call("-c", "import time; print('begun', flush=True); time.sleep(100)")
    assert bench.found["smoke"].items() >= {"before_like_after": 0.5, "cut_after": 1}.items()
    assert bench.found["smoke"]["wall_seconds"] < 30
    assert (tmp_path / "smoke.log").read_text() == "begun\n"
    with bench.measuring("kill", 60):
        bench.call("-c", "raise SystemExit(3)")
    assert "exit status 3" in bench.found["kill"]["failed"]
    with bench.measuring("kill", 60):
        bench.call("-c", "pass")
    assert set(bench.found["kill"]) == {"wall_seconds"}  # nothing of the earlier try
    assert json.loads((tmp_path / "card.json").read_text()) == bench.found
    assert (tmp_path / "card.md").read_text() == text(bench.found)
