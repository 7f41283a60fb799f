"""Dynamic sampling: groups that teach nothing are replaced, and problems that teach are asked.

And the temperature at which they are asked.
"""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ShortRun, no_sft, run_train
from test_sft import start

from onecard.data.difficulty import levels_of
from onecard.files.formats import read_jsonl
from onecard.recipe.file import load_recipe
from onecard.stages.choosing import BELIEF, ByPassRate, Choice, InTurn
from onecard.stages.sections.dynamic_sampling import DynamicSampling
from onecard.types import Problem, Rollout, Score, UserError, Verdict
from rewards.scoring import Scored

TINY = ROOT / "recipes/tiny.yaml"
NAMES = [str(number) for number in range(40)]
SIZE = 4  # completions in a group


def by_pass_rate(floor: float = 0.05, seed: int = 0) -> ByPassRate:
    """Ten easy problems, ten hard ones, and twenty in between."""
    levels = {name: ("easy", "hard", "middle", "middle")[int(name) % 4] for name in NAMES}
    return ByPassRate(levels, SIZE, seed, floor)


def ask(choice: ByPassRate, steps: int) -> Counter[str]:
    """Easy problems are always solved, hard ones never, the others every second time."""
    drawn: Counter[str] = Counter()
    for _ in range(steps):
        for name in choice.draw(4):
            level = ("easy", "hard", "middle", "middle")[int(name) % 4]
            drawn[level] += 1
            choice.tell(name, {"easy": SIZE, "hard": 0, "middle": SIZE // 2}[level], SIZE)
        choice.step()
    return drawn


@pytest.mark.unit
def test_in_turn_asks_every_problem_once_before_any_again() -> None:
    choice = InTurn(NAMES, seed=1)
    first = [name for _ in range(5) for name in choice.draw(8)]
    second = [name for _ in range(5) for name in choice.draw(8)]
    assert sorted(first) == sorted(second) == sorted(NAMES)
    assert first != second
    # Never one that this step has asked.
    assert not set(choice.draw(8, asked=NAMES[:20])) & set(NAMES[:20])


@pytest.mark.unit
def test_in_turn_a_step_across_the_end_of_the_order_costs_no_problem_its_turn() -> None:
    """40 problems, up to 27 in a step, of several rounds."""
    choice, counts = InTurn(NAMES, seed=3), Counter[str]()
    for step in range(200):
        asked: list[str] = []
        for size in (13, 5, 1 + step % 9):
            asked += choice.draw(size, asked)
        assert len(set(asked)) == len(asked)
        counts.update(asked)
    assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.unit
def test_problems_of_a_level_that_teaches_are_asked_and_the_others_are_not_forgotten() -> None:
    drawn = ask(by_pass_rate(), 100)
    assert drawn["middle"] > 0.8 * drawn.total()
    assert min(drawn["easy"], drawn["hard"]) > 0
    # With a floor of 1 all are alike: half of them are in the middle.
    alike = ask(by_pass_rate(floor=1.0), 100)
    assert 0.35 < alike["middle"] / alike.total() < 0.65


@pytest.mark.unit
def test_the_chance_of_a_signal_is_that_of_a_beta_binomial_draw() -> None:
    from scipy.stats import betabinom

    choice = by_pass_rate()
    choice.tell("2", right=3, completions=4)
    place = choice.places["2"]
    rate = choice.expected()[place]
    right, wrong = BELIEF * rate + 3, BELIEF * (1 - rate) + 1
    alike = betabinom.pmf(0, SIZE, right, wrong) + betabinom.pmf(SIZE, SIZE, right, wrong)
    assert choice.chance_of_signal()[place] == pytest.approx(1 - alike)


@pytest.mark.unit
def test_a_problem_that_is_solved_rests_and_comes_back() -> None:
    choice = ByPassRate(dict.fromkeys(NAMES, "all"), SIZE, 0, 0.05)
    for name in NAMES[1:]:
        choice.tell(name, 2, SIZE)
    before = choice.chance_of_signal()[0]
    for _ in range(3):
        choice.tell("0", SIZE, SIZE)
    rests = choice.chance_of_signal()[0]
    for _ in range(200):
        choice.step()
    assert rests < 0.6 * before
    assert choice.chance_of_signal()[0] > 0.9 * before


def test_what_the_pilot_has_seen_counts_before_the_first_step() -> None:
    """Of two problems of each level; others of the level, and other levels, are judged by them."""
    levels = {f"{level}-{number}": level for level in ("easy", "mixed") for number in range(10)}
    choice = ByPassRate(levels, SIZE, 0, 0.05)
    assert len(set(choice.weights())) == 1
    seen = [("easy-0", SIZE, SIZE), ("easy-1", SIZE, SIZE), ("mixed-0", SIZE // 2, SIZE)]
    choice.begin_with([*seen, ("dropped: its prompt was too long", 0, SIZE)])
    weights = dict(zip(choice.problems, choice.weights(), strict=True))
    assert weights["easy-5"] < weights["mixed-5"]
    assert choice.by_level()["easy"] > 0.8


@pytest.mark.unit
@pytest.mark.parametrize("make", [lambda: InTurn(NAMES, 3), by_pass_rate])
def test_a_choice_goes_on_from_its_state(make: Any) -> None:
    choice: Choice = make()
    for _ in range(7):
        for name in choice.draw(6):
            choice.tell(name, int(name) % 5, SIZE)
        choice.step()
    other: Choice = make()
    other.load_state(choice.state())
    assert [choice.draw(6) for _ in range(9)] == [other.draw(6) for _ in range(9)]


@pytest.mark.unit
def test_levels_are_read_from_the_rows() -> None:
    problems = [
        Problem(name, "q", "1", columns={"level": int(name), "metadata": {"terms": int(name) % 3}})
        for name in NAMES
    ]
    assert set(levels_of(problems, None).values()) == {"all"}
    assert levels_of(problems, "metadata.terms")["5"] == "2"
    parts = levels_of(problems, "level")  # 40 different numbers
    assert parts["0"] == "01 of 12"
    assert parts["39"] == "12 of 12"
    assert max(Counter(parts.values()).values()) == 4
    with pytest.raises(UserError, match=r"no 'metadata.steps'; its columns are level, metadata"):
        levels_of(problems, "metadata.steps")


@pytest.mark.unit
def test_numbers_of_a_csv_file_are_numbers() -> None:
    texts = [Problem(name, "q", "1", columns={"hard": f"{int(name) / 7:.4f}"}) for name in NAMES]
    assert set(levels_of(texts, "hard").values()) == {f"{part:02} of 12" for part in range(1, 13)}
    named = [Problem(name, "q", "1", columns={"hard": f"chapter {name}"}) for name in NAMES]
    with pytest.raises(UserError, match="hard has 40 different values, and not all are numbers"):
        levels_of(named, "hard")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["grpo.dynamic_sampling={choose: at_random}"], "dynamic_sampling.choose"),
        (["data.difficulty=level"], "data.difficulty is read by grpo.dynamic_sampling"),
        (["grpo.dynamic_sampling={}", "data.difficulty=level"], "by_pass_rate} alone"),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(TINY, settings)
    assert message in str(caught.value)


@pytest.mark.unit
def test_the_temperature_goes_to_its_last_value_in_a_straight_line() -> None:
    def temperatures(*settings: str) -> list[float]:
        grpo = load_recipe(TINY, ["grpo.temperature=1.2", "grpo.max_steps=5", *settings]).grpo
        assert grpo is not None
        return [grpo.temperature_at(step) for step in range(grpo.max_steps)]

    assert temperatures() == [1.2] * 5
    assert temperatures("grpo.final_temperature=0.8") == pytest.approx([1.2, 1.1, 1.0, 0.9, 0.8])
    assert temperatures("grpo.final_temperature=0.8", "grpo.max_steps=1") == [1.2]


def world(taught: set[str]) -> tuple[dict[str, dict[str, Any]], Any, list[list[str]]]:
    """A training set, a way to sample it, and what was asked in each round.

    Completions of the problems in `taught` are not all paid alike.
    """
    import torch

    asked: list[list[str]] = []

    def sample(rows: list[dict[str, Any]]) -> Any:
        names = [row["problem_id"] for row in rows]
        asked.append(names[::SIZE])
        scored = []
        for place, name in enumerate(names):
            paid = float(name in taught and place % SIZE == 0)
            rollout = Rollout(
                Problem(name, "q", "1"),
                f"{name} {place}",
                tokens=1,
                group=place // SIZE,
                graded=Score(paid, Verdict.WRONG),
            )
            scored.append(Scored(rollout, (), paid, ((paid,),)))
        generated: tuple[Any, ...] = (
            [[1]] * len(rows),
            [[place] for place in range(len(rows))],
            None,
            {},
        )
        return generated, torch.tensor([[one.total] for one in scored]), scored

    return {name: {"problem_id": name} for name in NAMES}, sample, asked


def test_groups_that_teach_nothing_are_replaced() -> None:
    from onecard.stages.trl.groups import draw_groups

    taught = set(NAMES[::2])
    rows, sample, asked = world(taught)
    choice = InTurn(NAMES, 0)
    drawn = draw_groups(DynamicSampling(max_rounds=9), choice, rows, 8, SIZE, sample)
    assert [group.scored[0].rollout.problem.id in taught for group in drawn.chosen] == [True] * 8
    every = [name for names in asked for name in names]
    assert len(every) == len(set(every))  # no problem twice in a step
    assert max(map(len, asked)) <= 8
    assert len(asked[0]) == 8
    # What TRL gets is whole groups, in the order of their rewards.
    assert len(drawn.rows) == len(drawn.scored) == len(drawn.generated[1]) == 8 * SIZE
    assert drawn.generated[2:] == (None, {})
    assert drawn.rewards[:, 0].tolist() == [one.total for one in drawn.scored]
    names = [row["problem_id"] for row in drawn.rows]
    assert names == [one.rollout.problem.id for one in drawn.scored]
    measured = drawn.measured
    assert measured["dynamic_sampling/groups_without_signal"] == 0
    assert measured["dynamic_sampling/sampled_groups"] == len(every)


def test_a_step_takes_what_there_is_after_its_last_round() -> None:
    from onecard.stages.trl.groups import draw_groups

    rows, sample, asked = world({"3"})
    drawn = draw_groups(DynamicSampling(max_rounds=2), InTurn(NAMES, 0), rows, 8, SIZE, sample)
    assert len(asked) == 2
    assert len(drawn.chosen) == 8
    assert drawn.measured["dynamic_sampling/groups_without_signal"] >= 7
    # More rounds than there are problems: it ends when all were asked.
    rows, sample, asked = world(set())
    draw_groups(DynamicSampling(max_rounds=99), InTurn(NAMES, 0), rows, 8, SIZE, sample)
    assert sorted(name for names in asked for name in names) == sorted(NAMES)


@pytest.mark.e2e
@pytest.mark.fault(
    "kill -9 in a step with dynamic sampling", "the same adapter to the bit and the same metrics"
)
def test_dynamic_sampling_in_a_run_that_is_killed(short_run: ShortRun, tmp_path: Path) -> None:
    settings = (
        *no_sft(short_run),
        "grpo.dynamic_sampling={max_rounds: 3, choose: by_pass_rate}",
        "grpo.max_steps=5",
        "grpo.temperature=1.2",
        "grpo.final_temperature=0.8",
        "grpo.num_generations=2",  # so that many groups are alike
        "grpo.per_device_train_batch_size=32",
        "save.every_steps=2",
        "health.stop_on=[]",
    )
    whole = run_train(tmp_path, "tiny", *settings, name="whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    steps = [line for line in read_jsonl(tmp_path / "runs/whole/metrics.jsonl") if "reward" in line]
    assert [line["temperature"] for line in steps] == pytest.approx([1.2, 1.1, 1.0, 0.9, 0.8])
    for line in steps:
        assert 1 <= line["dynamic_sampling/rounds"] <= 3
        assert 16 <= line["dynamic_sampling/sampled_groups"] <= 48
        assert 0 < line["problems/all"] < 1
        # It is what is sampled that is measured, not what was chosen.
        assert line["rewards/signal_share"] < 1
        assert line["dynamic_sampling/rounds"] > 1
        assert line["frac_reward_zero_std"] == line["dynamic_sampling/groups_without_signal"] / 16
    harm = "os.kill(os.getpid(), signal.SIGKILL)"
    killed = start(tmp_path, "killed", settings, harm, "grpo", step=3)
    assert killed.wait(timeout=600) == -signal.SIGKILL
    done = run_train(tmp_path, "tiny", *settings, name="killed", extra=("--resume",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "after step 2 of GRPO" in done.stdout
    for file in ("adapter/adapter_model.safetensors", "checkpoints/grpo/checkpoint-5/state.json"):
        one, other = (tmp_path / "runs" / name / file for name in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes(), file
