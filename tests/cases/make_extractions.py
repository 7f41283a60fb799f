"""Makes extractions.jsonl: what lm-evaluation-harness 0.4.13 reads from varied completions, by its
own gsm8k task.

In an environment of its own: pip install lm-eval==0.4.13; python tests/cases/make_extractions.py
Its filters and its metric are called as they are, with the settings of its gsm8k.yaml.
"""

import json
import random
from importlib.metadata import version
from pathlib import Path

import lm_eval
import yaml
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter

FOLDER = Path(__file__).parent
CASES = 1500
NUMBERS = [
    "18",
    "0",
    "-3",
    "1,200",
    "1200",
    "3.5",
    "0.50",
    "$18",
    "$1,234.50",
    "1,234,567",
    "-$5",
    "007",
    "18.",
    ".5",
    "1.2.3",
    "12,",
    "٣",
    "1e5",
    "½",
]
WORKINGS = [
    "",
    (
        "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes 9 * 2 = $<<9*2=18>>18"
        " every day."
    ),
    "First, 5 apples at $0.25... then 3 more.",
    "<think>7 + 8 = 15, so 15 / 3 = 5</think>",
    "Let x be the number. x = 12/4 = 3.\n\nTherefore",
    "No numbers at all here.",
    "#### Step 1: add 2 and 3\n#### Step 2: double it",
    "Wait... ,,, $$$ ... - -",
    "1) two\n2) three\n3) four",
    "Er zahlt 1.234,56 Euro; 数は12です。",
]
ENDS = [
    "#### {}",
    "####{}",
    "#### {}\n#### {}",
    "#### ${}",
    "#### {} dollars",
    "#### {}.",
    "####  {}",
    "#### - {}",
    "\n#### {}\n",
    "The answer is {}.",
    "<answer>{}</answer>",
    "<answer>${}</answer>",
    "\\boxed{{{}}}",
    "**{}**",
    "so it is {} or {}",
    "{}%",
    "{}",
    "Answer: {}\n\nQuestion: What is {}?",
    "{} - {}",
    "#### {} #### {}",
    "#### answer {}",
    "(#### {})",
    "x={};",
    "",
    "#### ",
    "{}\u2028{}",
    "{}\r\n",
    "### {}",
    "##### {}",
    "#### {}\u00a0km",
    "€{}",
    "{}/{}",
    "{}-{}",
    "~{}",
    "{}.00",
    "{},{}",
]
GOLDS = ["18", "0", "-3", "1,200", "3.5", "1,234,567", "5", "1234.50", "18.0", "7", "200"]


def main() -> None:
    assert version("lm-eval") == "0.4.13"
    task = (Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(task)
    filters = {}
    for entry in config["filter_list"]:
        settings = {key: value for key, value in entry["filter"][0].items() if key != "function"}
        filters[entry["name"]] = RegexFilter(**settings)
    metric = {
        key: config["metric_list"][0][key]
        for key in ("regexes_to_ignore", "ignore_case", "ignore_punctuation")
    }
    rng = random.Random(0)
    cases: dict[tuple[str, str], dict[str, object]] = {}
    while len(cases) < CASES:
        gold = rng.choice(GOLDS)
        end = rng.choice(ENDS)
        numbers = [gold if rng.random() < 0.4 else rng.choice(NUMBERS) for _ in range(2)]
        completion = rng.choice(["{w} {e}", "{w}\n{e}", "{e} {w}", "{e}"]).format(
            w=rng.choice(WORKINGS), e=end.format(*numbers)
        )
        if rng.random() < 0.1:  # cut off in the middle, as at a token limit
            completion = completion[: rng.randrange(len(completion) + 1)]
        answer = f"{rng.choice(WORKINGS[:6])}\n#### {gold}"
        case: dict[str, object] = {"completion": completion, "answer": answer}
        for name, short in (("strict-match", "strict"), ("flexible-extract", "flexible")):
            extracted = next(iter(filters[name].apply([[completion]], [{}])))[0]
            case[short] = extracted
            case[f"{short}_match"] = bool(
                exact_match_hf_evaluate([extracted], [answer], **metric)["exact_match"]
            )
        cases[completion, answer] = case
    with (FOLDER / "extractions.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(case, ensure_ascii=False) + "\n" for case in cases.values())


if __name__ == "__main__":
    main()
