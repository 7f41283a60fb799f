"""What tokens are credited with: by completion, by step, or by whether it is accepted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ShortRun, another_process, begin_offline

from onecard.recipe.file import load_recipe
from onecard.stages.advantages import accepted, step_advantages, token_advantages, tokens_up_to
from onecard.types import Problem, Rollout, RunFailed, Score, UserError, Verdict
from onecard.watch.batch import has_signal, pick, readable, signal_share
from rewards.answer.section import Answer
from rewards.base import Reward, Rule
from rewards.rules.correct import CorrectAnswer
from rewards.rules.equations import TrueEquations, holds
from rewards.rules.format import TagCount
from rewards.scoring import BatchScorer, Scored
from rewards.section import Scoring
from rewards.steps import step_ends, steps_of

TINY = ROOT / "recipes/tiny.yaml"
PROBLEM = Problem("1", "What is 2 + 3 - 4?", "1")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("  \n ", []),
        ("one", ["one"]),
        ("2 + 3 = 5. 5 - 4 = 1.", ["2 + 3 = 5. ", "5 - 4 = 1."]),
        # A number is no end of a sentence; lines go before sentences.
        ("It costs 3.50 in all. So 7.", ["It costs 3.50 in all. ", "So 7."]),
        ("First. Then.\nSo 7.", ["First. Then.\n", "So 7."]),
        ("\n\na\n\n\n  b\n", ["\n\na\n\n\n  ", "b\n"]),
    ],
)
def test_a_step_is_a_line_and_in_one_line_a_sentence(text: str, steps: list[str]) -> None:
    assert steps_of(text) == steps
    if steps:
        assert "".join(steps) == text
        assert step_ends(text)[-1] == len(text)


@pytest.mark.unit
def test_a_token_is_credited_with_its_step_and_those_after_it() -> None:
    """DeepSeekMath, section 4.1.3, by hand: 1, 0, 1, 1, 0 have mean 0.6 and deviation 0.5477."""
    paid = [[1.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.5]]
    one, other, alike = step_advantages(paid, [0, 0, 1], divide=True)
    up, down = 0.4 / 0.54782, -0.6 / 0.54782
    assert one == pytest.approx([up + down, down], abs=1e-4)
    assert other == pytest.approx([up + up + down, up + down, down], abs=1e-4)
    assert alike == [0.0, 0.0]  # a group that is paid alike teaches nothing
    undivided = step_advantages(paid, [0, 0, 1], divide=False)
    assert undivided[0] == pytest.approx([-0.2, -0.6])


@pytest.mark.unit
def test_the_tokens_of_a_step_are_found_in_the_text() -> None:
    text = "2 + 3 = 5. So one."
    pieces = ["2 +", " 3", " = 5", ".", " So", " one", "."]

    def length_of(count: int) -> int:
        return len("".join(pieces[:count]))

    ends = step_ends(text)
    assert ends == [11, 18]
    # The space before "So" belongs to the first step, and the token " So" ends after it.
    up_to = tokens_up_to(ends, len(pieces) + 1, length_of)  # and the end token
    assert up_to == [5, 8]
    assert token_advantages([2.0, -1.0], up_to, width=10) == [2.0] * 5 + [-1.0] * 3 + [0.0] * 2


@pytest.mark.unit
@pytest.mark.parametrize(
    ("left", "right", "true"),
    [
        ("2 + 3", "5", True),
        ("-6 - 5", "-11", True),
        ("3 * (4 + 5)", "27", True),
        ("1 / 3", "0.3333", False),
        ("0.1 + 0.2", "0.3", True),  # exactly, and not as floating point has it
        ("2 + 3", "6", False),
        ("5", "5", None),
        ("-5", "-5", None),
        ("1 / 0", "1", None),
        ("2 ** 3", "8", None),
        ("2 + ", "2", None),
    ],
)
def test_an_equation_holds_or_does_not(left: str, right: str, true: bool | None) -> None:
    assert holds(left, right) is true


def rollout(text: str, group: int = 0, right: bool = True) -> Rollout:
    graded = Score(float(right), Verdict.CORRECT if right else Verdict.WRONG)
    return Rollout(PROBLEM, text, 5, group=group, graded=graded)


@pytest.mark.unit
def test_each_step_is_paid_for_its_arithmetic() -> None:
    rule = TrueEquations(name="true_equations")
    score = rule.score(rollout("2 + 3 = 5. 5 - 4 = 2. So <answer>2</answer>"))
    assert score.per_step == (1.0, -1.0, 0.0)
    assert score.value == 0.0
    assert rule.score(rollout("")) == Score(0.0, per_step=())
    assert rule.score(rollout("1,000 + 1 = 1,001")).per_step == (1.0,)


class Fixed(Rule):
    """Pays what a test says."""

    name: str = "fixed"
    per_step: tuple[float, ...] | None = None

    def score(self, rollout: Rollout) -> Score:
        return Score(1.0, per_step=self.per_step)


def scored_by(*rewards: Reward, text: str = "a. b. c.") -> list[Scored]:
    scorer = BatchScorer(rewards, Answer(), Scoring(), by_step=True)
    try:
        return scorer.score([rollout(text)])
    finally:
        scorer.close()


@pytest.mark.unit
def test_a_reward_for_the_whole_completion_pays_at_its_end() -> None:
    steps = Fixed(name="steps", weight=2.0, per_step=(1.0, 0.0, 0.5))
    (one,) = scored_by(steps, Fixed(name="whole", weight=0.5))
    assert one.steps == (2.0, 0.0, 1.5)
    assert one.compared == ((2.0, 0.0, 1.5),)
    assert one.total == 2.5


@pytest.mark.unit
def test_a_shut_gate_pays_no_step() -> None:
    class Shut(Fixed):
        def score(self, rollout: Rollout) -> Score:
            return Score(0.0)

    steps = Fixed(name="steps", per_step=(1.0, 1.0, 1.0))
    (one,) = scored_by(steps, Shut(name="shut", gate=True))
    assert one.steps == (0.0, 0.0, 0.0)


@pytest.mark.unit
def test_a_reward_with_other_steps_than_the_completion_is_a_fault() -> None:
    with pytest.raises(RunFailed, match="1 values for 3 steps, or one that is not finite"):
        scored_by(Fixed(name="steps", per_step=(1.0,)))


def made(text: str, *steps: float, group: int = 0, right: bool = True) -> Scored:
    total = sum(steps)
    return Scored(rollout(text, group, right), (Score(total),), total, (steps,), steps)


@pytest.mark.unit
def test_a_group_has_a_signal_where_any_two_steps_differ() -> None:
    alike = [made("a. b.", 1.0, 1.0), made("a.", 1.0)]  # totals of 2 and 1
    assert signal_share(alike) == 0.0
    # Within one completion, though both are paid 1 in all.
    assert signal_share([made("a. b.", 1.0, 0.0), made("a. b.", 1.0, 0.0)]) == 1.0


@pytest.mark.unit
def test_accepted_is_what_the_grader_says_and_without_golds_what_is_paid() -> None:
    right, wrong = made("a", 0.0), made("b", 2.0, right=False)
    assert accepted([right, wrong]) == [1.0, 0.0]
    nobody_knows = [
        Scored(Rollout(Problem("1", "q", "", kind="none"), "x", 1), (), total, ((total,),))
        for total in (0.5, 0.0)
    ]
    assert accepted(nobody_knows) == [1.0, 0.0]
    cut = replace(right, rollout=replace(right.rollout, truncated=True))
    assert accepted([cut]) == [0.0]  # its end is not known


@pytest.mark.unit
def test_where_accepted_completions_are_learned_from_a_group_that_is_all_right_teaches() -> None:
    """And one that is all wrong does not, however differently it is paid."""
    problem = Problem("1", "q", "4")

    def group(*texts: str) -> list[Scored]:
        rewards = [CorrectAnswer(name="correct_answer"), TagCount(name="tag_count")]
        scorer = BatchScorer(rewards, Answer(), Scoring(), accepts=True)
        return scorer.score([Rollout(problem, text, 3) for text in texts])

    right, wrong = "<answer>4</answer>", "<answer>5</answer>"
    assert has_signal(group(right, right))
    assert has_signal(group(right, wrong))
    assert not has_signal(group(wrong, f"<think>\nno\n</think>\n{wrong}"))


@pytest.mark.unit
def test_the_credit_of_steps_is_shown() -> None:
    scored = [made("2 + 2 = 4. So | 4.", 1.0, 0.5)]
    text = readable(pick(scored, ["r"], [0.3], 4, [(0.7, -0.1)]))
    assert "| `2 + 2 = 4.` | 1 | +0.70 |" in text
    assert "| `So \\| 4.` | 0.5 | -0.10 |" in text


@pytest.mark.unit
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("grpo.multi_objective_aggregation=normalize_then_sum", "credit steps normalises what the"),
        ("grpo.loss_type=vespo", "the loss vespo takes one advantage for a completion"),
    ],
)
def test_what_does_not_go_with_steps_is_refused(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(TINY, ["grpo.credit=steps", setting])


def gradients(folder: Path, model: str) -> dict[str, float]:
    """A step's gradient as training has it, beside that of a plain loss over the same tokens."""
    from bench.trainer import build_trainer  # isort: skip  (unsloth, before all others)
    import torch
    from transformers import TrainerCallback

    from bench.training import open_training
    from onecard.watch.clock import StepClock

    recipe = load_recipe(
        TINY,
        [
            f"model.name={model}",
            "sft=null",
            "model.load_in_4bit=false",
            "grpo.credit=steps",
            "grpo.max_steps=1",
            "grpo.learning_rate=1e-12",  # the weights stay where the plain loss is taken
            "grpo.per_device_train_batch_size=32",
            "grpo.gradient_accumulation_steps=1",
            "grpo.beta=0.0",
            "rewards=[{name: correct_answer}, {name: true_equations, weight: 0.5}]",
        ],
    )
    training = open_training(recipe, folder, model, recipe.source.load("train"))
    trainer = build_trainer(training, StepClock(None))
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    seen: dict[str, Any] = {}
    plain = trainer._compute_loss

    def compute_loss(model: Any, inputs: dict[str, Any]) -> Any:
        seen["inputs"] = inputs
        return plain(model, inputs)

    class Take(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            seen["gradient"] = torch.cat([p.grad.flatten().clone() for p in trained])

    trainer._compute_loss = compute_loss
    trainer.callback_handler.callbacks.insert(0, Take())
    trainer.train()
    inputs = seen["inputs"]
    advantages, mask = inputs["advantages"], inputs["completion_mask"]
    assert advantages.shape == inputs["completion_ids"].shape
    prompts = inputs["prompt_mask"].sum(1)
    trainer.model.zero_grad()
    total = torch.zeros(())
    for row in range(len(mask)):  # one at a time, without any padding
        length, begin = int(mask[row].sum()), int(prompts[row])
        prompt = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
        ids = torch.cat([prompt, inputs["completion_ids"][row][:length]])[None]
        logits = trainer.model(input_ids=ids).logits[0, begin - 1 : -1].float()
        logps = logits.log_softmax(-1).gather(1, ids[0, begin:, None])[:, 0]
        total = total - (torch.exp(logps - logps.detach()) * advantages[row][:length]).sum()
    (total / mask.sum()).backward()
    reference = torch.cat([p.grad.flatten() for p in trained])
    gradient = seen["gradient"]
    several = [
        len(set(row[: int(m.sum())].tolist())) for row, m in zip(advantages, mask, strict=True)
    ]
    return {
        "prompt lengths": len(set(prompts.tolist())),
        "most values in a row": max(several),
        "cosine": float(torch.nn.functional.cosine_similarity(gradient, reference, dim=0)),
        "ratio": float(gradient.norm() / reference.norm()),
    }


@pytest.mark.e2e
def test_a_steps_gradient_is_that_of_a_plain_loss(short_run: ShortRun, tmp_path: Path) -> None:
    with another_process(begin_offline) as call:
        found = call(gradients, tmp_path, str(short_run[0] / "base-model"))
    assert found["prompt lengths"] > 1
    assert found["most values in a row"] > 1
    assert found["cosine"] == pytest.approx(1.0, abs=1e-2)  # in bf16 on some processors
    assert found["ratio"] == pytest.approx(1.0, abs=2e-2)


def packed_by_both() -> list[bool]:
    """Of each way to know the width: whether ours is where Unsloth's loss looks."""
    import onecard.model.load  # noqa: F401  isort: skip  (unsloth, before all others)
    import torch
    from unsloth_zoo import rl_replacements as theirs

    from onecard.stages.trl.packing import pack_advantages

    prompts, lengths, columns, wide = [5, 2, 4], [3, 6, 1], 6, 7
    prompt_ids = torch.tensor([[0] * (wide - n) + [1] * n for n in prompts])  # 0 is padding
    completion_ids = torch.tensor([[2] * n + [0] * (columns - n) for n in lengths])
    advantages = torch.arange(1.0, 19.0).view(3, columns)
    ids = torch.cat([prompt_ids, completion_ids], dim=1)
    left = theirs.calculate_pad_tokens_in_prompt(ids, columns, 0)
    found = []
    for widest in (int(left.max()), 6):  # of this micro-batch; of others of its step
        inputs = {"advantages": advantages, "prompt_mask": (prompt_ids != 0).long()}
        if widest != int(left.max()):
            inputs["ref_per_token_logps"] = torch.zeros(3, columns + widest)
        last = theirs.left_pack_padding(ids, 0)[:, -(columns + widest) :]
        mask = theirs.create_completion_attention_mask(last, left, widest, 0)
        wanted = theirs.align_logprobs_with_mask(advantages, mask.long())
        packed = pack_advantages(inputs)["advantages"]
        found.append(packed.shape == mask.shape and bool((packed == wanted)[mask].all()))
        found.append(packed[mask].tolist() == advantages[completion_ids != 0].tolist())
    return found


@pytest.mark.e2e
def test_credit_stands_where_the_loss_for_a_card_looks_for_it() -> None:
    with another_process(begin_offline) as call:
        assert call(packed_by_both) == [True] * 4
