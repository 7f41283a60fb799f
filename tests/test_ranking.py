"""A reward model that a run trains: what it learns from, how it is judged; it can be killed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import ShortRun, no_sft, run_train
from test_sft import start
from test_stages import TINY, told

from onecard.recipe.file import load_recipe
from onecard.report.curves import reliability
from onecard.stages.labelled import Labelled, pairs_to_rank
from onecard.stages.ranking import as_sentence, correlation, measured
from onecard.stages.reward_model import section_of
from onecard.types import Problem
from rewards.judges.ranks import Judged, is_held_out

SAMPLES = "{problems: 128, num_generations: 8, max_completion_length: 48}"
STAGE = (
    f"reward_model={{samples: {SAMPLES}, max_steps: 40, per_device_train_batch_size: 8,"
    " learning_rate: 1e-3, held_out: 0.3}"
)
TRAINED = "rewards=[{name: correct_answer}, {name: reward_model, model: trained, weight: 0.2}]"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([STAGE.replace(f"samples: {SAMPLES}, ", "")], "write either `pairs: FILE`, or `samples:`"),
        (
            [STAGE.replace(f"samples: {SAMPLES}", "pairs: a.jsonl, learns: from_rows")],
            "learns: a file has pairs",
        ),
        ([STAGE.replace("held_out: 0.3", "held_out: 1.0")], "leaves nothing to train on"),
        ([TRAINED], "is trained by a stage before the last one; write `reward_model:`"),
        (
            [STAGE, TRAINED, "stages=[sft, grpo, reward_model]"],
            "is trained by a stage before the last one",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], message: str) -> None:
    assert message in told(*settings)


def judged(*scores: tuple[str, bool, float], length: int = 5) -> list[Judged]:
    return [
        Judged(group, right, length + place, score)
        for place, (group, right, score) in enumerate(scores)
    ]


@pytest.mark.unit
def test_ranking_is_a_mean_over_problems_of_pairs_of_right_and_wrong() -> None:
    found = measured(
        judged(
            ("a", True, 2.0),
            ("a", False, 1.0),
            ("a", False, 3.0),  # one of two pairs is in order
            ("b", True, 1.0),
            ("b", False, 0.0),
            ("c", True, 9.0),  # nothing to compare it with
        )
    )
    assert (found["problems"], found["pairs"]) == (2, 3)
    assert found["ranking"]["accuracy"] == 0.75
    assert found["ranking"]["ci_low"] <= 0.75 <= found["ranking"]["ci_high"]
    assert "75.0%" in as_sentence(found)


@pytest.mark.unit
def test_calibration_goes_from_the_least_sure_to_the_surest() -> None:
    rows = []
    for number in range(10):
        rows += [(str(number), True, float(number)), (str(number), False, 0.0)]
    points = measured(judged(*rows))["calibration"]
    assert [point["pairs"] for point in points] == [2] * 5
    said = [point["said"] for point in points]
    assert said == sorted(said)
    assert said[0] >= 0.5
    assert points[-1]["happened"] == 1.0
    title, svg = reliability({"calibration": points})
    assert "how sure" in title
    assert svg.startswith("<svg")


@pytest.mark.unit
def test_length_bias_is_a_correlation() -> None:
    assert correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert correlation([1.0, 2.0, 3.0], [6.0, 4.0, 2.0]) == pytest.approx(-1.0)
    assert correlation([1.0, 1.0], [1.0, 2.0]) is None
    found = measured(judged(("a", True, 1.0), ("a", False, 2.0), ("b", False, 3.0)))
    assert found["length"]["of_score"] == pytest.approx(1.0)


@pytest.mark.unit
def test_the_completions_of_a_problem_are_all_on_one_side() -> None:
    section = section_of(load_recipe(TINY, [STAGE]))
    problems = [Problem(str(number), "q", "1") for number in range(400)]
    sides = {}
    for problem in problems:
        where = {
            is_held_out(Labelled(problem, text, right).problem.id, section.held_out, 0)
            for text, right in (("a", True), ("b", False))
        }
        assert len(where) == 1
        sides[problem.id] = where.pop()
    assert 0.2 < sum(sides.values()) / len(sides) < 0.4
    other = [is_held_out(problem.id, section.held_out, 1) for problem in problems]
    assert other != list(sides.values())  # another seed, other problems


@pytest.mark.unit
def test_each_text_is_in_one_pair_at_most() -> None:
    a, b = Problem("a", "q", "1"), Problem("b", "q", "1")
    rows = [
        Labelled(a, "r1", True),
        Labelled(a, "r1", True),
        Labelled(a, "r2", True),
        Labelled(a, "w1", False),
        Labelled(b, "r3", True),
    ]
    assert [(x.text, y.text) for x, y in pairs_to_rank(rows)] == [("r1", "w1")]


@pytest.fixture(scope="module")
def settings(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Pairs that even the tiny model tells apart: a sentence, and a number again and again.

    Which of its own sums are right it cannot tell: 53 to 56 % of unseen pairs, in LOG.md.
    """
    rows = []
    for number in range(120):
        question = f"Leo has {number} buttons and finds 1 more. How many has he?"
        chosen, rejected = f"Leo has {number + 1} buttons.", f"{number} " * 6
        rows.append({"question": question, "chosen": chosen, "rejected": rejected})
    file = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ("save.every_steps=5", "data.train_problems=400", "grpo.max_steps=2", TRAINED)
    stage = STAGE.replace(f"samples: {SAMPLES}", f"pairs: {file}")
    return (*no_sft(short_run), *more, stage)


@pytest.fixture(scope="module")
def whole(settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    cwd = tmp_path_factory.mktemp("ranked")
    done = run_train(cwd, "tiny", *settings, name="whole")
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "runs/whole", done.stdout


@pytest.mark.e2e
def test_it_ranks_what_it_was_not_trained_on_and_then_pays(whole: tuple[Path, str]) -> None:
    run, printed = whole
    found: dict[str, Any] = json.loads((run / "reward-model.json").read_text())
    assert found["ranking"]["ci_low"] > 0.5
    assert f"it prefers the right one in {found['ranking']['accuracy']:.1%}" in printed
    assert "it is trained in this run, and pays nothing before that" in printed
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    paid = [line["rewards/reward_model/mean"] for line in lines if "reward" in line]
    assert len(paid) == 2
    assert all(value != 0 for value in paid)
    assert (run / "curves/reliability.svg").is_file()
    assert (run / "curves/reward_model-loss.svg").is_file()
    assert "The reward model" in (run / "report.html").read_text()


@pytest.mark.e2e
@pytest.mark.fault(
    "kill -9 while a reward model is trained", "the same reward model and the same adapter"
)
def test_a_killed_reward_model_goes_on_to_the_same_bits(
    settings: tuple[str, ...], whole: tuple[Path, str]
) -> None:
    cwd = whole[0].parent.parent
    harm = "os.kill(os.getpid(), signal.SIGKILL)"
    killed = start(cwd, "killed", settings, harm, "reward_model", 12)
    assert killed.wait(timeout=600) == -signal.SIGKILL
    done = run_train(cwd, "tiny", *settings, name="killed", extra=("--resume",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "after step 10 of REWARD MODEL" in done.stdout
    for file in ("reward-model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert (cwd / "runs/killed" / file).read_bytes() == (whole[0] / file).read_bytes(), file


@pytest.mark.e2e
def test_one_that_learned_nothing_pays_nobody(settings: tuple[str, ...], tmp_path: Path) -> None:
    """Judged by the policy's own completions, of which some are right."""
    none = STAGE.replace("max_steps: 40", "max_steps: 2").replace("1e-3", "1e-9")
    rows = none.replace("held_out", "learns: from_rows, held_out")
    done = run_train(tmp_path, "tiny", *settings, rows)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no better than chance, so nothing may be paid by it" in done.stdout + done.stderr
