"""What the run folder says, as the reports and the terminal's table show it."""

import json
from pathlib import Path
from typing import Any

import yaml

from eval.record import read_result
from onecard.files.formats import read_jsonl
from onecard.report.problems import read_problems, summarize
from onecard.report.steps import split_steps
from onecard.run.folder import REWARD_MODEL
from onecard.types import EvalItem

EXAMPLES = 3  # of each kind
# What became of an answer: whether it was right before, and after.
KINDS = {
    (False, True): "fixed",
    (True, False): "broken",
    (True, True): "still right",
    (False, False): "still wrong",
}


def read_facts(folder: Path) -> dict[str, Any]:
    """All that a finished run has, by the name that the templates use."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    answers, prompts, kinds = [], {}, {}
    for name in results["benchmarks"]:
        answers += read_answers(folder, name)
        settings = read_result(folder / "eval" / f"{name}-after")[0]
        prompts[name] = settings["first_prompt"]
        kinds[name] = settings.get("answer_kind") or "number"
    return read_facts_so_far(folder) | {
        "results": results,
        "answers": answers,
        "split": split_steps(read_jsonl(folder / "metrics.jsonl")),
        "card": card_text(results["card"]),
        "prompts": prompts,
        "kinds": kinds,
    }


def read_facts_so_far(folder: Path) -> dict[str, Any]:
    """What a run has that may be under way; None in place of what is not there yet."""
    recipe_text = (folder / "recipe.resolved.yaml").read_text(encoding="utf-8")
    alarms, asked = folder / "health.jsonl", read_problems(folder)
    return {
        "folder": folder,
        "run_name": folder.resolve().name,
        "recipe": yaml.safe_load(recipe_text),
        "recipe_text": recipe_text,
        "pilot": read_json(folder / "pilot.json"),
        "rankers": read_rankers(folder),
        "environment": read_json(folder / "environment.json"),
        "alarms": read_jsonl(alarms, unfinished=True) if alarms.exists() else None,
        "asked": asked,
        "problems": summarize(asked),
        "completions": read_json(folder / "completions.json"),
    }


def read_rankers(folder: Path) -> dict[str, Any]:
    """How well each reward model ranks that the run has trained, by its folder's name, in order."""
    files = sorted(folder.glob(f"{REWARD_MODEL}*.json"), key=lambda file: (len(file.stem), file))
    return {file.stem: read_json(file) for file in files}


def read_json(file: Path) -> Any:
    """What a file holds; None without it."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def card_text(card: dict[str, Any] | None) -> str | None:
    """What each phase of a step took of the card at most, beside what was planned.

    None without a card.
    """
    if card is None:
        return None
    planned = card["planned_gib"] or {}
    phases = []
    for phase, gib in card["measured_gib"].items():
        beside = "no plan, the model's shape is not known"
        if phase in planned:
            beside = f"{planned[phase]:.2f} planned"
        phases.append(f"{phase} {gib:.2f} GiB, {beside}")
    told = "; ".join(phases) or "no step was trained"
    return f"Peak memory of the {card['name']} ({card['total_gib']:.2f} GiB), measured: {told}"


def read_answers(folder: Path, benchmark: str) -> list[dict[str, Any]]:
    """Every problem of a benchmark with both completions, and what became of it."""
    before = read_result(folder / "eval" / f"{benchmark}-before")[1].items
    after = read_result(folder / "eval" / f"{benchmark}-after")[1].items
    return [
        {
            "benchmark": benchmark,
            "id": one.id,
            "question": one.question,
            "gold": one.gold,
            "kind": KINDS[one.correct, other.correct],
            "before": shown(one),
            "after": shown(other),
        }
        for one, other in zip(before, after, strict=True)
    ]


def shown(item: EvalItem) -> dict[str, Any]:
    return {
        "text": item.completion,
        "verdict": item.verdict.replace("_", " "),
        "read": item.extracted,
        "tokens": item.tokens,
        "cut": item.truncated,
        "flexible": item.flexible,
    }


def examples(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first few that were fixed, and the first few that were broken."""
    found = []
    for kind in ("fixed", "broken"):
        found += [answer for answer in answers if answer["kind"] == kind][:EXAMPLES]
    return found
