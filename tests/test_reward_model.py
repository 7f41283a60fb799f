"""A reward that is a model: how it is asked, what its scores become, what is refused."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import (
    ROOT,
    Call,
    ShortRun,
    another_process,
    begin_offline,
    no_sft,
    run_train,
    variables,
)
from pydantic import ValidationError

from onecard.files.formats import read_jsonl
from onecard.recipe.file import load_recipe
from onecard.types import Problem, Rollout, RunFailed, Score, UserError, Verdict
from rewards.answer.section import Answer
from rewards.judges.online import Example, LearningRewardModel, Online
from rewards.judges.ranks import is_held_out
from rewards.judges.reward_model import Asked, RewardModel, prompt_of
from rewards.scoring import BatchScorer, Scored
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
    # The length of a text says nothing of its answer.
    assert told == "reward_model: mine prefers the right answer to a wrong one in 0 of 1 rows"
    (told,) = scorer.scorers[0].look_at([Problem("1", "Write.", "", kind="none")])
    assert "nobody knows how it judges" in told


class Learning(Lengths):
    """Worth by length, of which `learn` makes more; it notes what it was shown."""

    def __init__(self, reward: RewardModel) -> None:
        super().__init__(reward)
        self.worth = 0.0
        self.learned: list[tuple[list[str], list[bool]]] = []

    def scores(self, asked: Sequence[Asked]) -> list[tuple[float, ...] | None]:
        return [(self.worth * len(one.text),) for one in asked]

    def learn(self, asked: Sequence[Asked], right: Sequence[bool]) -> float:
        self.learned.append(([one.text for one in asked], list(right)))
        self.worth += 0.25
        return 0.5

    def state(self) -> dict[str, Any]:
        return {"worth": self.worth}

    def load_state(self, state: dict[str, Any]) -> None:
        self.worth = state["worth"]

    def weights(self) -> dict[str, Any]:
        return self.state()

    def put_weights(self, weights: dict[str, Any]) -> None:
        self.load_state(weights)


LOGGED: dict[str, float] = {}


def learning(told: list[str], buffer: int = 80) -> BatchScorer:
    online = Online(every_steps=2, updates=3, batch_size=4, held_out=0.5, buffer=buffer)
    reward = LearningRewardModel(name="reward_model", model="mine", online=online)
    scorer = BatchScorer([reward], Answer(), Scoring(), load_model=Learning, say=told.append)
    scorer.moment.log_metric = LOGGED.__setitem__
    return scorer


def score(scorer: BatchScorer, rollouts: list[Rollout], step: int) -> list[Scored]:
    scorer.moment.trainer_state = SimpleNamespace(global_step=step, max_steps=99)
    return scorer.score(rollouts)


def batch(first: int, right_is_longer: bool = True) -> list[Rollout]:
    """A right and a wrong completion of each of ten problems."""
    found = []
    for number in range(first, first + 10):
        problem = Problem(str(number), f"question {number}", "4")
        for right in (True, False):
            text = "long text" if right == right_is_longer else "short"
            answer = "4" if right else "5"
            found.append(Rollout(problem, f"{text} <answer>{answer}</answer>", 3, group=number))
    return found


@pytest.mark.unit
def test_an_online_model_learns_every_few_steps_and_never_from_held_out_problems() -> None:
    LOGGED.clear()
    scorer = learning([], buffer=40)
    paid = []
    for step in range(5):
        for part in range(3):  # a step may be scored in several batches
            paid.append(score(scorer, batch(30 * step + 10 * part), step)[0].total)
    assert set(paid[:6]) == {0.0}  # it learns before the third step and the fifth
    assert len(set(paid[6:12])) == 1
    assert 0 < paid[6] < paid[12] == paid[14]
    online: Any = scorer.scorers[0]
    learned = online.model.learned
    assert len(learned) == 6
    assert all(len(texts) == 4 for texts, _ in learned)
    for texts, right in learned:
        assert [text.startswith("long text") for text in texts] == right
    assert len(online.examples) == 40  # the newest
    assert LOGGED["reward_model/ranking"] == 1.0
    assert LOGGED["reward_model/loss"] == 0.5
    assert LOGGED["reward_model/drift"] > 0
    held_out = [example for example in online.examples if online.is_held_out(example)]
    assert 8 <= len(held_out) <= 32


@pytest.mark.unit
def test_an_online_model_is_frozen_where_it_stops_generalising() -> None:
    told: list[str] = []
    scorer = learning(told)
    for step in range(5):
        score(scorer, batch(10 * step), step)
    online: Any = scorer.scorers[0]
    best = online.model.worth
    for step in range(5, 14):  # and now short is right: it ranks everything the wrong way round
        score(scorer, batch(10 * step, right_is_longer=False), step)
    assert len(told) == 1
    assert "it is what it was then, frozen, and does not learn any more" in told[0]
    assert online.model.worth == best > 0
    updates = len(online.model.learned)
    for step in range(14, 18):
        score(scorer, batch(10 * step), step)
    assert len(online.model.learned) == updates


@pytest.mark.unit
def test_an_online_model_goes_on_where_it_was_interrupted() -> None:
    whole, part = learning([]), learning([])
    for step in range(3):
        score(whole, batch(10 * step), step)
        score(part, batch(10 * step), step)
    rest = learning([])
    rest.load_state(part.state())
    for step in range(3, 8):
        score(whole, batch(10 * step), step)
        score(rest, batch(10 * step), step)
    one: Any = whole.scorers[0]
    other: Any = rest.scorers[0]
    assert one.model.learned[-6:] == other.model.learned[-6:]
    assert whole.state() == rest.state()


@pytest.mark.unit
def test_a_model_that_goes_on_learning_holds_out_what_its_stage_held_out() -> None:
    """Both by the run's seed."""
    online = Online(held_out=0.3)
    reward = LearningRewardModel(name="reward_model", model="mine", online=online)
    scorer: Any = BatchScorer([reward], Answer(), Scoring(), load_model=Learning, seed=7).scorers[0]
    for number in range(200):
        example = Example(str(number), Asked("", []), right=True)
        assert scorer.is_held_out(example) == is_held_out(str(number), 0.3, 7)


@pytest.mark.unit
def test_nothing_that_was_written_is_worth_what_a_score_of_0_is() -> None:
    reward = RewardModel(name="reward_model", model="mine", family="token", normalize=True)
    scorer: Any = BatchScorer([reward], Answer(), Scoring(), load_model=Lengths).scorers[0]
    scorer.scale = (5.0, 2.0)
    assert scorer.outcome(()).value == -2.5
    assert scorer.outcome((5.0, 3.0)).value == -1.0


@pytest.mark.unit
def test_a_model_that_a_run_found_no_better_than_chance_pays_nobody(tmp_path: Path) -> None:
    from onecard.model.scoring import check_ranking

    model = tmp_path / "reward-model"
    check_ranking(model)
    for low in (0.5, 0.51):
        ranking = {"accuracy": 0.6, "ci_low": low, "ci_high": 0.7}
        (tmp_path / "reward-model.json").write_text(json.dumps({"ranking": ranking}))
        if low == 0.5:
            with pytest.raises(UserError, match="no better than chance"):
                check_ranking(model)
    check_ranking(model)
    check_ranking(tmp_path / "other")


@pytest.mark.unit
def test_without_right_answers_nothing_learns_from_them() -> None:
    online = "rewards=[{name: reward_model, model: mine, online: {}}]"
    samples = "samples: {problems: 8, num_generations: 4, max_completion_length: 8}"
    step = "max_steps: 1, learning_rate: 1e-4"
    stages = (
        online,
        f"rft={{{samples}, {step}, batch_size: 4}}",
        f"dpo={{{samples}, {step}, per_device_train_batch_size: 2}}",
        f"reward_model={{{samples}, {step}, per_device_train_batch_size: 2}}",
    )
    for setting in stages:
        with pytest.raises(UserError, match=r"answer.kind is none"):
            load_recipe(
                "recipes/tiny.yaml", ["answer.kind=none", "eval.score=correct_answer", setting]
            )
    with pytest.raises(ValidationError, match="less than 1"):
        Online(held_out=1.0)


@pytest.mark.unit
@pytest.mark.parametrize("keys", [{"family": "token"}, {"load_in_4bit": True}])
def test_a_model_that_learns_is_not_in_4_bit(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is one of the family `sequence`, and not in 4 bit"):
        LearningRewardModel(name="reward_model", model="mine", online=Online(), **keys)


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
    # One that learns is in 32 bit, with gradients and two moments.
    learns = plan_memory(load_recipe(recipe, [rewards.replace("}]", ", online: {}}]")]), shape)
    assert learns.peak - plain.peak == pytest.approx(shape.parameters * 16, rel=0.01)
    stage = (
        "reward_model={samples: {problems: 8, num_generations: 4, max_completion_length: 8},"
        " max_steps: 1, learning_rate: 1e-4, per_device_train_batch_size: 2}"
    )
    trained = plan_memory(load_recipe(recipe, [stage]), shape)
    ranker = trained.training["reward model in training"]
    assert ranker == pytest.approx(shape.parameters * 16, rel=0.01)


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


def asked_in_4_bit(model: str, texts: Sequence[str]) -> tuple[list[Any], set[str], set[str]]:
    """The scores; the kinds of the model's packed layers, and of its head."""
    from onecard.model.scoring import load_scoring_model

    reward = RewardModel(name="reward_model", model=model, load_in_4bit=True, max_length=100)
    loaded: Any = load_scoring_model(reward)
    scores = loaded.scores([Asked(prompt_of(PROBLEM), steps_of(text)) for text in texts])
    kinds = {type(part).__name__ for part in loaded.model.model.modules()}
    return scores, kinds, {type(loaded.model.score).__name__}


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
def test_a_model_in_4_bit_scores_nearly_alike_and_keeps_its_head(
    models: Path, elsewhere: Call
) -> None:
    name = str(models / "sequence")
    whole = elsewhere(asked_of, name, "sequence", 8, TEXTS[:3])
    packed, kinds, head = elsewhere(asked_in_4_bit, name, TEXTS[:3])
    assert "Linear4bit" in kinds
    assert head == {"Linear"}
    widest = max(scores[0] for scores in whole) - min(scores[0] for scores in whole)
    for one, other in zip(packed, whole, strict=True):
        assert one[0] == pytest.approx(other[0], abs=max(0.05, widest))


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


@pytest.fixture(scope="module")
def learns(
    models: Path, short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[str, ...]]:
    """A run of two rounds with an online model, and its settings. It learns before the third step
    of the first round, and before the second step of the second."""
    cwd = tmp_path_factory.mktemp("online")
    online = "{every_steps: 2, updates: 3, batch_size: 8, held_out: 0.3}"
    entry = f"{{name: reward_model, model: {models / 'sequence'}, online: {online}, weight: 0.2}}"
    settings = (
        *no_sft(short_run),
        f"rewards=[{{name: correct_answer}}, {entry}]",
        "grpo.max_steps=3",
        "grpo.iterate=2",
        "grpo.per_device_train_batch_size=32",
        "grpo.dynamic_sampling={max_rounds: 1, choose: by_pass_rate}",
        "save.every_steps=2",
    )
    whole = run_train(cwd, "tiny", *settings, name="whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    steps = read_jsonl(cwd / "runs/whole/metrics.jsonl")
    learned = [line["step"] for line in steps if "reward_model/loss" in line]
    assert learned == [3, 5]
    return cwd, settings


UPDATE = """
from onecard.model.scoring.learning import LearningSequenceModel
plain, calls = LearningSequenceModel.learn, []
def learn(self, *arguments):
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, *arguments)
LearningSequenceModel.learn = learn
"""
BETWEEN = """
from onecard.stages.training import Training
def put_away(self, one):
    os.kill(os.getpid(), signal.SIGKILL)
Training.put_away = put_away
"""


@pytest.mark.e2e
@pytest.mark.fault(
    "kill -9 in an online reward model's update, also in a second round; and between the rounds",
    "the same adapter and the same reward model to the bit",
)
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (UPDATE.format(call=2), "after step 2 of GRPO 1 of 2"),
        (UPDATE.format(call=5), "after GRPO 1 of 2"),
        pytest.param(BETWEEN, "after step 3 of GRPO 1 of 2", marks=pytest.mark.slow),
    ],
)
def test_an_online_model_learns_and_can_be_killed(
    learns: tuple[Path, tuple[str, ...]], harm: str, said: str, request: pytest.FixtureRequest
) -> None:
    cwd, settings = learns
    name = f"killed-{request.node.callspec.indices['harm']}"
    begin = "import os, signal, sys\nimport onecard.model.load, train\n"
    harm = f"{begin}{harm}\nsys.argv[0] = 'train.py'\nsys.exit(train.main())\n"
    options = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-c", harm, str(ROOT / "recipes/tiny.yaml"), *options]
    killed = subprocess.run(
        [*command, "--name", name],
        cwd=cwd,
        env=variables() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    done = run_train(cwd, "tiny", *settings, name=name, extra=("--resume",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
    state = "checkpoints/grpo-2/checkpoint-3/state.safetensors"
    for file in ("grpo-1-adapter/adapter_model.safetensors", state):
        one, other = (cwd / "runs" / run / file for run in ("whole", name))
        assert one.read_bytes() == other.read_bytes(), file
