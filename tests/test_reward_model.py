"""A reward that is a model: how it is asked, what its scores become, what is refused."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Call, ShortRun, another_process, begin_offline, no_sft, run_train

from onecard.files.formats import read_jsonl
from onecard.recipe.file import load_recipe
from onecard.types import Problem, Rollout, RunFailed, Score, UserError, Verdict
from rewards.answer.section import Answer
from rewards.judges.reward_model import Asked, RewardModel, prompt_of
from rewards.scoring import BatchScorer
from rewards.section import Scoring
from rewards.steps import steps_of

PROBLEM = Problem("1", "What is 2 + 2?", "4", solution="2 + 2 = 4.")


class Lengths:
    """A model of this test's own: worth is length; of a step, or of the whole."""

    def __init__(self, reward: RewardModel) -> None:
        self.by_step, self.limit = reward.family != "sequence", reward.max_length
        self.asked: list[Asked] = []

    def scores(self, asked: Sequence[Asked]) -> list[tuple[float, ...] | None]:
        self.asked += asked
        found: list[tuple[float, ...] | None] = []
        for one in asked:
            worth = map(float, map(len, one.steps if self.by_step else [one.text]))
            found.append(None if len(one.text) > self.limit else tuple(worth))
        return found


def opened(by_step: bool = False, **keys: Any) -> BatchScorer:
    reward = RewardModel(name="reward_model", model="mine", **keys)
    return BatchScorer(
        [reward], Answer(), Scoring(), by_step=by_step, load_model=Lengths, say=lambda _: None
    )


def rollouts(*texts: str) -> list[Rollout]:
    graded = Score(1.0, Verdict.CORRECT)
    return [Rollout(PROBLEM, text, 3, place=k, graded=graded) for k, text in enumerate(texts)]


def values(scorer: BatchScorer, *texts: str) -> list[float]:
    return [one.total for one in scorer.score(rollouts(*texts))]


@pytest.mark.unit
def test_it_is_asked_without_the_policys_system_prompt() -> None:
    scorer = opened()
    values(scorer, "4")
    (asked,) = scorer.scorers[0].model.asked  # type: ignore[attr-defined]
    assert asked.prompt == [{"role": "user", "content": "What is 2 + 2?"}]
    assert asked.text == "4"


@pytest.mark.unit
def test_scores_are_normalised_by_the_first_batch_of_training() -> None:
    scorer = opened(normalize=True)
    assert values(scorer, "a", "aaa") == [1.0, 3.0]  # the self-test and the pilot are no training
    logged: dict[str, float] = {}
    scorer.moment.log_metric = lambda name, value: logged.update({name: value})
    assert values(scorer, "a", "aaa") == [-1.0, 1.0]
    assert logged == {"reward_model/mean": 2.0, "reward_model/deviation": 1.0}
    assert values(scorer, "aaaaa") == [3.0]  # by the scale of the first batch
    # A resumed run goes on with that scale.
    again = opened(normalize=True)
    again.load_state(scorer.state())
    assert values(again, "aaaaa") == [3.0]


@pytest.mark.unit
def test_steps_are_scored_and_a_completion_is_worth_its_weakest() -> None:
    (one,) = opened(by_step=True, family="token").score(rollouts("a. bbbb. cc."))
    assert one.steps == (3.0, 6.0, 3.0)
    assert one.total == 3.0
    (empty,) = opened(by_step=True, family="token").score(rollouts(""))
    assert (empty.steps, empty.total) == ((), 0.0)


@pytest.mark.unit
def test_a_completion_that_is_too_long_is_a_fault() -> None:
    with pytest.raises(RunFailed, match="more than max_length 3 tokens"):
        values(opened(max_length=3), "abc", "abcd")


@pytest.mark.unit
def test_before_training_it_says_how_often_the_right_answer_is_preferred() -> None:
    scorer = opened()
    (told,) = scorer.scorers[0].look_at([PROBLEM])
    assert told == "reward_model: mine prefers the right answer to a wrong one in 1 of 1 rows"
    (told,) = scorer.scorers[0].look_at([Problem("1", "Write.", "", kind="none")])
    assert "nobody knows how it judges" in told


@pytest.mark.unit
def test_the_plan_counts_its_memory() -> None:
    from onecard.machine.model_shapes import load_shape
    from onecard.plan.memory import plan_memory

    name = "Qwen/Qwen2.5-0.5B-Instruct"
    shape = load_shape(name)
    assert shape is not None
    recipe = "recipes/gsm8k-qwen2.5-0.5b.yaml"
    entry = f"{{name: reward_model, model: {name}}}"
    rewards = f"rewards=[{{name: correct_answer}}, {entry}]"
    plain = plan_memory(load_recipe(recipe), shape)
    beside = plan_memory(load_recipe(recipe, [rewards]), shape)
    assert beside.peak - plain.peak == pytest.approx(shape.parameters * 2, rel=0.01)
    on_cpu = rewards.replace("}]", ", device: cpu}]")
    assert plan_memory(load_recipe(recipe, [on_cpu]), shape).peak == plain.peak


def make_models(base: str, folder: Path) -> None:
    """Models of the tiny shape with a head of their own, which is random."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    made = {
        "sequence": (AutoModelForSequenceClassification, 1),
        "labels": (AutoModelForSequenceClassification, 2),
        "token": (AutoModelForTokenClassification, 2),
    }
    for name, (auto, labels) in made.items():
        auto.from_pretrained(base, num_labels=labels).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def asked_of(model: str, family: Any, batch_size: int, texts: Sequence[str]) -> list[Any]:
    from onecard.model.scoring import load_scoring_model

    reward = RewardModel(
        name="reward_model", model=model, family=family, batch_size=batch_size, max_length=100
    )
    loaded = load_scoring_model(reward)
    return loaded.scores([Asked(prompt_of(PROBLEM), steps_of(text)) for text in texts])


@pytest.fixture(scope="module")
def models(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring")
    with another_process(begin_offline) as call:
        call(make_models, str(short_run[0] / "base-model"), folder)
    return folder


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Call]:
    with another_process(begin_offline) as call:
        yield call


TEXTS = ("4", "2 + 2 = 4. So it is 4.", "a b c d e. f. g.", "word " * 200)


@pytest.mark.e2e
@pytest.mark.parametrize("family", ["sequence", "token"])
def test_a_score_does_not_depend_on_what_else_is_in_the_batch(
    models: Path, elsewhere: Call, family: str
) -> None:
    name = str(models / family)
    together = elsewhere(asked_of, name, family, 8, TEXTS)
    alone = elsewhere(asked_of, name, family, 1, TEXTS)
    assert together[-1] is None  # too long
    counts = [1, 2, 3] if family == "token" else [1, 1, 1]
    assert [len(scores) for scores in together[:3]] == counts
    for one, other in zip(together[:3], alone[:3], strict=True):
        assert one == pytest.approx(other, abs=0.02)  # in bf16 on some processors
    assert len({scores[0] for scores in together[:3]}) > 1


@pytest.mark.e2e
def test_a_model_without_a_head_is_refused(
    models: Path, short_run: ShortRun, elsewhere: Call
) -> None:
    with pytest.raises(UserError, match="gives no score, so it is no reward model"):
        elsewhere(asked_of, str(short_run[0] / "base-model"), "sequence", 8, TEXTS)
    with pytest.raises(UserError, match="has 2 labels, and a reward model has one"):
        elsewhere(asked_of, str(models / "labels"), "sequence", 8, TEXTS)


@pytest.mark.e2e
def test_a_run_is_paid_by_it(models: Path, short_run: ShortRun, tmp_path: Path) -> None:
    """Beside a rule, with its steps credited; a run that goes on has its scale."""
    entry = f"{{name: reward_model, model: {models / 'token'}, family: token, normalize: true}}"
    settings = (
        *no_sft(short_run),
        f"rewards=[{{name: correct_answer}}, {entry}]",
        "grpo.credit=steps",
        "grpo.per_device_train_batch_size=32",
        "grpo.lr_scheduler_type=constant",
        "save.every_steps=1",
    )
    whole = run_train(tmp_path, "tiny", *settings, "grpo.max_steps=3", name="whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "rewards: reward_model: " in whole.stdout
    steps = read_jsonl(tmp_path / "runs/whole/metrics.jsonl")
    scales = [line["reward_model/deviation"] for line in steps if "reward" in line]
    assert len(scales) == 3
    assert min(scales) > 0
    part = run_train(tmp_path, "tiny", *settings, "grpo.max_steps=2", name="part")
    assert part.returncode == 0, part.stdout + part.stderr
    rest = run_train(
        tmp_path, "tiny", *settings, "grpo.max_steps=3", name="part", extra=("--resume",)
    )
    assert rest.returncode == 0, rest.stdout + rest.stderr
    file = "adapter/adapter_model.safetensors"
    adapters = [(tmp_path / "runs" / name / file).read_bytes() for name in ("whole", "part")]
    assert adapters[0] == adapters[1]
