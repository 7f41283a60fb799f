"""A task of one's own, as a person brings it: rows, a reward function of a notebook, settings."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, ShortRun, no_sft, run_eval, run_train

from onecard.files.formats import read_jsonl
from onecard.types import Problem

pytestmark = pytest.mark.e2e

# Written as for a notebook: TRL's signature, whole groups, columns of the rows, the step.
REWARDS = """
import numpy
from helpers_of_own_task import digits

def closeness(prompts, completions, completion_ids, answer, level, trainer_state, log_extra,
              log_metric, **kwargs):
    assert prompts[0][-1]["role"] == "user" and len(completion_ids) == len(completions)
    assert all(one in ("easy", "hard") for one in level)
    texts = [completion[0]["content"] for completion in completions]
    log_extra("level", level)
    log_metric("step_seen", float(trainer_state.global_step))
    off = [abs(int(digits(text) or 99) - int(gold)) for text, gold in zip(texts, answer)]
    return numpy.exp(-numpy.array(off) / 5)

async def longest_of_group(prompts, completions, question, **kwargs):
    lengths = {}
    for q, c in zip(question, completions):
        lengths.setdefault(q, []).append(len(c[0]["content"]))
    return [float(len(c[0]["content"]) == max(lengths[q])) for q, c in zip(question, completions)]
"""
HELPERS = "def digits(text): return ''.join(c for c in text[-20:] if c.isdigit())[-2:]\n"


@pytest.fixture(scope="module")
def own_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with columns of its own, and a file of reward functions with a helper."""
    folder = tmp_path_factory.mktemp("own")
    from onecard.data.synthetic import build_problems

    lines = ["frage;loesung;level"]
    for number, row in enumerate(build_problems("train", 200)):
        gold = row["answer"].rpartition("#### ")[2]
        lines.append(f'"{row["question"]}";{gold};{"hard" if number % 2 else "easy"}')
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-16")
    (folder / "mine.py").write_text(REWARDS)
    (folder / "helpers_of_own_task.py").write_text(HELPERS)
    return folder


def settings_of(own_task: Path, short_run: ShortRun) -> tuple[str, ...]:
    mine = own_task / "mine.py"
    return (
        *no_sft(short_run),
        "claim=null",
        f"data.path={own_task / 'rows.csv'}",
        "data.columns={question: frage, answer: loesung}",
        "eval.benchmarks=[test]",
        "eval.score=closeness",
        "lora.target_modules=all-linear",
        "grpo.lr_scheduler_type=constant",
        f"rewards=[{{name: custom, function: '{mine}:closeness'}},"
        f" {{name: custom, function: '{mine}:longest_of_group', weight: 0.1}}]",
    )


@pytest.fixture(scope="module")
def lengthened(
    own_task: Path, short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A run of two steps that was over and made four steps long; what the second command said."""
    cwd = tmp_path_factory.mktemp("lengthened")
    settings = settings_of(own_task, short_run)
    first = run_train(cwd, "tiny", *settings, "grpo.max_steps=2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "right answers are read as answer.kind: number" in first.stdout
    longer = run_train(cwd, "tiny", *settings, "grpo.max_steps=4", extra=("--resume",))
    assert longer.returncode == 0, longer.stdout + longer.stderr
    return cwd / "runs/tiny", longer.stdout


def test_a_run_that_is_made_longer_is_the_run_that_was_planned_so_long(
    lengthened: tuple[Path, str], own_task: Path, short_run: ShortRun, tmp_path: Path
) -> None:
    folder, told = lengthened
    assert "grpo.max_steps was 2; the learning rate goes on as it was: it is constant" in told
    settings = settings_of(own_task, short_run)
    planned = run_train(tmp_path, "tiny", *settings, "grpo.max_steps=4")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    from safetensors.torch import load_file

    one, other = (
        load_file(run / "adapter/adapter_model.safetensors")
        for run in (folder, tmp_path / "runs/tiny")
    )
    assert one.keys() == other.keys()
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_the_score_of_a_named_reward_stands_beside_the_accuracy(
    lengthened: tuple[Path, str],
) -> None:
    folder, told = lengthened
    found = json.loads((folder / "results.json").read_text())["benchmarks"]["test"]
    items = read_jsonl(folder / "eval/test-after/items.jsonl")
    mean = sum(item["score"] for item in items) / len(items)
    assert found["after"]["score"] == pytest.approx(mean)
    change = found["after"]["score"] - found["before"]["score"]
    assert found["score_difference"]["mean"] == pytest.approx(change)
    assert found["score_difference"]["ci_low"] <= change <= found["score_difference"]["ci_high"]
    assert any(line.strip().startswith("closeness") for line in told.splitlines())
    assert "reward closeness" in (folder / "report.html").read_text()


def test_functions_see_the_step_and_log_in_training(lengthened: tuple[Path, str]) -> None:
    lines = [line for line in read_jsonl(lengthened[0] / "metrics.jsonl") if "reward" in line]
    assert [line["step_seen"] for line in lines] == [0.0, 1.0, 2.0, 3.0]


def test_all_linear_layers_are_trained(lengthened: tuple[Path, str]) -> None:
    from safetensors.torch import load_file

    weights = load_file(lengthened[0] / "adapter/adapter_model.safetensors")
    adapted = {name.split(".")[-3] for name in weights if "lora_B" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_the_evaluation_command_gives_the_same_score(lengthened: tuple[Path, str]) -> None:
    folder = lengthened[0]
    done = run_eval(folder.parent.parent, str(folder), "--limit", "8", "--load-in-4bit")
    assert done.returncode == 0, done.stdout + done.stderr
    again = read_jsonl(folder / "eval/test-first8/items.jsonl")
    before = read_jsonl(folder / "eval/test-after/items.jsonl")
    assert [item["score"] for item in again] == [item["score"] for item in before]


@pytest.mark.fault("lora.target_modules that the model lacks", "exit 2 with what it has, no folder")
def test_layers_that_the_model_lacks_are_told_with_those_it_has(
    short_run: ShortRun, tmp_path: Path
) -> None:
    done = run_train(tmp_path, "tiny", *no_sft(short_run), "lora.target_modules=[q_proj, foo_proj]")
    assert done.returncode == 2, done.stdout + done.stderr
    told = "this model has no linear layer foo_proj; it has: q_proj, k_proj, v_proj, o_proj, gate"
    assert told in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def block(document: str, begin: str) -> str:
    """The first indented block of a document that begins so."""
    lines = document[document.index(f"    {begin}") :].splitlines()
    taken = []
    for line in lines:
        if line.strip() and not line.startswith("    "):
            break
        taken.append(line[4:])
    return "\n".join(taken) + "\n"


def test_the_smallest_example_of_the_documents_runs(short_run: ShortRun, tmp_path: Path) -> None:
    """As it stands there, but for the model, which this machine cannot fetch, and the steps."""
    document = (ROOT / "docs/your-task.md").read_text()
    rows = block(document, "question,answer")
    rows += "".join(f'"Ann has {n} apples and buys 6. How many?",{n + 6}\n' for n in range(48))
    (tmp_path / "rows.csv").write_text(rows)
    (tmp_path / "my_rewards.py").write_text(block(document, "def closeness("))
    (tmp_path / "mine.yaml").write_text(block(document, "name: mine"))
    quick = ("grpo.max_steps=2", "pilot=0", "grpo.max_completion_length=32")
    settings = (f"model.name={short_run[0] / 'base-model'}", "data.max_prompt_length=100", *quick)
    lengths = ("eval.max_completion_length=32", "model.max_seq_length=160")
    done = run_train(tmp_path, Path("mine.yaml"), *settings, *lengths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(line.strip().startswith("closeness") for line in done.stdout.splitlines())
    found = json.loads((tmp_path / "runs/mine/results.json").read_text())["benchmarks"]["test"]
    assert 3 <= found["n"] <= 20


TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    "{% endif %}"
)


def test_values_for_the_chat_template_hold_everywhere(short_run: ShortRun, tmp_path: Path) -> None:
    """Training, the length filter and the pilot, evaluation, chat and the Modelfile ask alike."""
    from transformers import AutoTokenizer
    from trl.data_utils import maybe_apply_chat_template

    from onecard.data.prompts import prompt_for, render
    from onecard.export.modelfile import derive_template
    from onecard.model.chat_template import ChatSettings
    from onecard.model.engines.transformers import load_tokenizer
    from onecard.model.weights import Weights

    base = tmp_path / "base"
    shutil.copytree(short_run[0] / "base-model", base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    settings = ChatSettings(str(tmp_path / "chat.jinja"), {"enable_thinking": False})
    settings.apply(tokenizer)
    prompt = prompt_for(Problem("1", "What is 1 + 1?", "2"), "Think.")
    wanted = "<|system|>Think.<|user|>What is 1 + 1?<|assistant|><think></think>"
    assert render(tokenizer, prompt) == wanted
    assert maybe_apply_chat_template({"prompt": prompt}, tokenizer)["prompt"] == wanted
    adapter = tmp_path / "adapter"  # as a run saves its tokenizer beside the adapter
    tokenizer.save_pretrained(adapter)
    for weights in (
        Weights(str(base), adapter),
        Weights(str(base), adapter, chat=settings),
        Weights(str(base), chat=settings),
    ):
        assert render(load_tokenizer(weights), prompt) == wanted
    go = derive_template(lambda messages: render(tokenizer, messages))
    assert go.render([dict(message) for message in prompt if isinstance(message, dict)]) == wanted


@pytest.mark.fault("a value that the model's chat template does not read", "exit 2, no folder")
def test_a_value_that_the_chat_template_does_not_read_is_told(
    short_run: ShortRun, tmp_path: Path
) -> None:
    done = run_train(
        tmp_path, "tiny", *no_sft(short_run), "model.chat_template_kwargs={enable_thinkin: false}"
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "this model's chat template does not read 'enable_thinkin'" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_function_may_return_a_tensor(tmp_path: Path) -> None:
    from onecard.types import Rollout, Score
    from rewards.answer import graded
    from rewards.answer.section import Answer
    from rewards.base import Context
    from rewards.custom import Custom

    (tmp_path / "mine.py").write_text(
        "import torch\n\n"
        "def pay(completions, **kwargs):\n"
        "    return torch.arange(len(completions), dtype=torch.bfloat16)\n"
    )
    reward = Custom(name="custom", function=f"{tmp_path}/mine.py:pay")
    rollouts = [graded(Rollout(Problem("1", "q", "1"), "x", 1), "auto") for _ in range(3)]
    scores = reward.open(Context(Answer(), 60.0)).score(rollouts)
    assert scores == [Score(0.0), Score(1.0), Score(2.0)]
