"""A reward model that is trained again before each round of GRPO; such a run can be killed."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ShortRun, no_sft, run_train
from test_ranking import SAMPLES, STAGE, TRAINED
from test_reward_model import Lengths, rollouts
from test_stages import TINY, told

from onecard.files.formats import read_jsonl
from onecard.model.rollouts import add_drawn, read_drawn
from onecard.recipe.file import load_recipe
from onecard.run.folder import Run
from onecard.run.round import Round
from onecard.stages import reward_model, table
from onecard.stages.labelled import Labelled, pairs_to_rank
from onecard.stages.ranking import measured
from onecard.types import Completion, Problem, RunFailed
from onecard.watch.checks.models import reward_model_hacked
from onecard.watch.section import Health
from rewards.answer.section import Answer
from rewards.judges.ranks import Judged
from rewards.judges.reward_model import RewardModel
from rewards.scoring import BatchScorer
from rewards.section import Scoring

RENEWED = STAGE.replace("max_steps: 40", "max_steps: 15, iterate: 2")
FEWER = SAMPLES.replace("problems: 128", "problems: 24")
# A run in which a completion is right if it works in equations: the tiny model's reward model
# learns to see that. Which of its own sums are right it cannot tell (LOG.md). HARM says what is
# killed: at(holder, name, times), when that function of the holder has returned so many times.
CODE = """
import os, signal, sys
import onecard.model.load, train
import onecard.model.rollouts as rollouts
from onecard.stages.samples import Sample
from onecard.stages.trl.callback import GrpoSteps
from onecard.stages.trl.plain import PlainSteps
Sample.is_right = lambda self, least_reward: "=" in self.text
def at(holder, name, times):
    plain, seen = getattr(holder, name), []
    def harmful(*arguments, **keys):
        found = plain(*arguments, **keys)
        seen.append(found)
        if len(seen) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(holder, name, harmful)
HARM
sys.argv[0] = "train.py"
sys.exit(train.main())
"""


@pytest.mark.unit
def test_its_rounds_stand_between_those_of_the_stage_after_it() -> None:
    recipe = load_recipe(TINY, [RENEWED, TRAINED, "grpo.iterate=2"])
    labels = [one.label for one in recipe.all_rounds]
    assert labels == ["sft", "reward_model-1", "grpo-1", "reward_model-2", "grpo-2"]
    assert [one.is_last for one in recipe.all_rounds] == [False] * 4 + [True]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([RENEWED, TRAINED], "before each round of the stage after it; write grpo.iterate: 2"),
        ([RENEWED, "grpo=null", "rewards=[{name: correct_answer}]"], "write grpo after it"),
        (
            [RENEWED, "grpo.iterate=2", TRAINED, "eval.score=reward_model"],
            "another model after training than before",
        ),
        (
            [RENEWED.replace(f"samples: {SAMPLES}", "pairs: a.jsonl"), TRAINED],
            "iterate 2 rounds would train on the same file of pairs again",
        ),
        (
            [RENEWED, "grpo.iterate=2", TRAINED.replace("trained,", "trained, online: {},")],
            "goes on learning by itself",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], message: str) -> None:
    assert message in told(*settings)


@pytest.mark.unit
def test_a_renewed_model_is_loaded_anew_and_has_a_scale_of_its_own() -> None:
    opened: list[Lengths] = []

    def load(reward: RewardModel) -> Lengths:
        opened.append(Lengths(reward))
        return opened[-1]

    def normalised(*texts: str) -> list[float]:
        return [one.total for one in scorer.score(rollouts(*texts))]

    reward = RewardModel(name="reward_model", model="trained", normalize=True)
    scorer = BatchScorer([reward], Answer(), Scoring(), load_model=load)
    (said,) = scorer.scorers[0].look_at([])
    assert "it is trained in this run, and pays nothing before that" in said
    assert normalised("a") == [0.0]  # though an interrupted run has left one
    scorer.renew(1)
    logged: dict[str, float] = {}
    scorer.moment.log_metric = lambda name, value: logged.update({name: value})
    assert normalised("a", "aaa") == [-1.0, 1.0]
    assert "reward_model/number" not in logged
    scorer.renew(2)
    assert normalised("aaaaa", "aaaaaaa") == [-1.0, 1.0]
    assert (len(opened), logged["reward_model/number"]) == (2, 2.0)
    again = BatchScorer([reward], Answer(), Scoring(), load_model=load)
    again.load_state(scorer.state())
    assert again.state() == scorer.state()
    assert [one.total for one in again.score(rollouts("aaaaa"))] == [-1.0]


@pytest.mark.unit
def test_what_another_model_scored_is_no_rise() -> None:
    def line(score: float, number: float | None) -> dict[str, Any]:
        # Its noise is less than the rise; no more answers are right.
        known = {"reward_model/mean": score, "answers/correct": 0.5}
        return known if number is None else known | {"reward_model/number": number}

    def flat(level: float, number: float | None) -> list[dict[str, Any]]:
        return [line(level + 0.01 * (step % 2), number) for step in range(60)]

    assert reward_model_hacked([*flat(0.0, None), *flat(5.0, None)], Health()) is not None
    assert reward_model_hacked([*flat(0.0, None), *flat(5.0, 2.0)], Health()) is None
    risen = [line(0.1 * step, 2.0) for step in range(60)]
    assert reward_model_hacked([*flat(9.0, None), *risen], Health()) is not None


@pytest.mark.unit
def test_what_was_drawn_before_a_kill_is_read_again_but_for_a_line_cut_in_two(
    tmp_path: Path,
) -> None:
    file = tmp_path / "drawn.jsonl"
    assert read_drawn(file) == {}
    first = {3: Completion("a\u2028b 多", 2, False, (5, 6)), 1: Completion("", 0, True, ())}
    add_drawn(file, first)
    whole = file.read_bytes()
    add_drawn(file, {2: Completion("多", 1, False, (7,))})
    for cut in range(1, len(file.read_bytes()) - len(whole)):
        file.write_bytes(whole + b'[2, "\\u591a", 1, false, [7]]'[:-cut])
        assert read_drawn(file) == first
        assert file.read_bytes() == whole  # so that the next line begins a line


def labelled(rounds: int, problems: int) -> dict[int, list[Labelled]]:
    """Of each round, a right and a wrong completion of some problems."""
    return {
        number: [
            Labelled(Problem(str(place), "q", "1"), f"{number}: {right}", right)
            for place in range(problems)
            for right in (True, False)
        ]
        for number in range(1, rounds + 1)
    }


@pytest.mark.unit
def test_a_tenth_of_what_it_learns_from_is_of_earlier_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_round = labelled(rounds=2, problems=60)
    monkeypatch.setattr(reward_model, "labels", lambda training, one, section: of_round[one.number])
    section = reward_model.section_of(load_recipe(TINY, [RENEWED, TRAINED, "grpo.iterate=2"]))
    training: Any = SimpleNamespace(seed=0, seed_of=lambda one: one.number)
    third = Round("reward_model", 3, 3, 15, of_last_stage=False)
    found = reward_model.replayed(training, third, section, new=90)
    assert 10 <= len(found) <= 13
    assert {one.text.split(":")[0] for one in found} == {"1", "2"}
    assert pairs_to_rank(found)  # whole problems
    held_out = {each.problem.id for each in reward_model.parted(training, section, of_round[1])[1]}
    assert held_out
    assert not held_out & {one.problem.id for one in found}


@pytest.mark.unit
def test_a_later_round_goes_on_from_the_newest_model_that_there_is(tmp_path: Path) -> None:
    training: Any = SimpleNamespace(run=Run(tmp_path, None))
    third = Round("reward_model", 3, 3, 15, of_last_stage=False)
    assert reward_model.former_model(training, third) is None
    (tmp_path / "reward-model-1").mkdir()
    assert reward_model.former_model(training, third) == tmp_path / "reward-model-1"
    (tmp_path / "reward-model-2").mkdir()
    (tmp_path / "reward-model-3").mkdir()
    assert reward_model.former_model(training, third) == tmp_path / "reward-model-2"


@pytest.mark.unit
def test_a_later_round_that_tells_nothing_apart_leaves_the_model_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the policy is mostly right, few problems are left to judge a new model by."""
    told: list[str] = []
    section = load_recipe(TINY, [RENEWED, TRAINED, "grpo.iterate=2"])
    training: Any = SimpleNamespace(
        run=Run(tmp_path, None),
        sections=section,
        seed=0,
        seed_of=lambda one: one.number,
        display=SimpleNamespace(say=told.append),
        scorer=SimpleNamespace(renew=lambda number: None),
    )
    second = Round("reward_model", 2, 2, 15, of_last_stage=False)
    (tmp_path / "reward-model-1").mkdir()
    monkeypatch.setattr(reward_model, "labels", lambda *_: [])
    reward_model.run(training, second)
    assert "too few of its completions can be told apart" in told[-1]
    # A kill has left a model that was judged already.
    of_round = labelled(rounds=2, problems=60)
    monkeypatch.setattr(reward_model, "labels", lambda training, one, section: of_round[one.number])
    (tmp_path / "reward-model-2").mkdir()
    judged = measured([Judged("a", True, 5, 1.0), Judged("a", False, 5, 0.0)])
    (tmp_path / "reward-model-2.json").write_text(json.dumps(judged))
    reward_model.run(training, second)
    assert "that may be chance" in told[-1]
    assert "reward-model-1 goes on" in told[-1]
    assert not (tmp_path / "reward-model-2").exists()
    # A first model has none before it.
    (tmp_path / "reward-model-1.json").write_text(json.dumps(judged))
    with pytest.raises(RunFailed, match="no better than chance"):
        reward_model.run(training, replace(second, number=1))


@pytest.mark.unit
def test_where_health_ends_a_round_neither_stage_has_further_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    def stage(training: Any, one: Round) -> None:
        done.append(one.label)
        training.ended_early = one.label == "grpo-1"

    stages = {name: SimpleNamespace(run=stage) for name in table.STAGES}
    monkeypatch.setattr(table, "STAGES", stages)
    training: Any = SimpleNamespace(ended_early=False)
    training.run = SimpleNamespace(phase=lambda name: nullcontext())
    recipe = load_recipe(TINY, [RENEWED, TRAINED, "grpo.iterate=2"])
    table.train_rounds(training, recipe.all_rounds)
    assert done == ["sft", "reward_model-1", "grpo-1"]


def run(cwd: Path, name: str, settings: Sequence[str], harm: str, resume: bool = False) -> Any:
    code = ("-c", CODE.replace("HARM", harm))
    extra = ("--resume",) if resume else ()
    return run_train(cwd, "tiny", *settings, name=name, python=code, extra=extra)


@pytest.mark.e2e
@pytest.mark.fault(
    "kill -9 while a reward model is renewed between rounds of GRPO: while it samples, learns, and"
    " in the round after it",
    "the same reward models, the same metrics and the same adapter",
)
def test_a_renewed_reward_model_pays_and_can_be_killed(short_run: ShortRun, tmp_path: Path) -> None:
    settings = (
        *no_sft(short_run),
        RENEWED.replace(SAMPLES, FEWER),
        TRAINED,
        "grpo.iterate=2",
        "grpo.max_steps=3",
        "save.every_steps=5",
        "data.train_problems=400",
        "eval.every_steps=2",
        "eval.dev_problems=8",
    )
    done = run(tmp_path, "whole", settings, "")
    assert done.returncode == 0, done.stdout + done.stderr
    whole = tmp_path / "runs/whole"
    for part in ("REWARD MODEL 1 of 2: it prefers", "REWARD MODEL 2 of 2: it prefers"):
        assert part in done.stdout
    models = [whole / f"reward-model-{number}/model.safetensors" for number in (1, 2)]
    assert models[0].read_bytes() != models[1].read_bytes()
    numbers = [line.get("reward_model/number") for line in read_jsonl(whole / "metrics.jsonl")]
    assert [number for number in numbers if number is not None] == [2.0] * 3
    report = (whole / "report.html").read_text()
    assert "The reward model 2" in report
    assert "The reward model beside the rule" in report
    assert (whole / "curves/reliability-2.svg").is_file()

    for harm, told_at_resume in (
        # In the second of three batches of the second round's samples; the first round drew three.
        ('at(rollouts, "add_drawn", 5)', None),
        # Before a checkpoint of its training. That one batch alone was left to draw.
        ('at(rollouts, "add_drawn", 2); at(PlainSteps, "on_log", 3)', "after GRPO 1 of 2"),
        ('at(PlainSteps, "on_log", 8)', "after GRPO 1 of 2"),
        ('at(GrpoSteps, "on_log", 2)', "after step 5 of REWARD MODEL 2 of 2"),
        ("", "after step 1 of GRPO 2 of 2"),
    ):
        done = run(tmp_path, "killed", settings, harm, resume=told_at_resume is not None)
        assert done.returncode == (-9 if harm else 0), done.stdout + done.stderr
        if told_at_resume:
            assert f"resuming runs/killed {told_at_resume}" in done.stdout
        drawn = tmp_path / "runs/killed/reward_model-2-drawn.jsonl"
        assert drawn.is_file() == (told_at_resume is None)
    killed = tmp_path / "runs/killed"
    for file in (
        "reward_model-2-samples.jsonl",
        "reward-model-1/model.safetensors",
        "reward-model-2/model.safetensors",
        "reward-model-2.json",
        "adapter/adapter_model.safetensors",
    ):
        assert (killed / file).read_bytes() == (whole / file).read_bytes(), file
    assert not list(killed.glob("*-drawn.jsonl"))
    for file in ("metrics.jsonl", "reward_model.jsonl"):
        assert steady(killed / file) == steady(whole / file)
    results = [json.loads((one / "results.json").read_text()) for one in (whole, killed)]
    assert results[0]["benchmarks"] == results[1]["benchmarks"]


def steady(file: Path) -> list[dict[str, Any]]:
    """The lines without what a clock or the machine's memory says."""
    clocks = ("seconds", "time", "memory", "tokens_per", "runtime", "per_second")
    lines: list[dict[str, Any]] = read_jsonl(file)
    return [
        {key: value for key, value in line.items() if not any(word in key for word in clocks)}
        for line in lines
    ]
