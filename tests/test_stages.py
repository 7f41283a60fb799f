"""The stages beside SFT and GRPO: what they learn from, in which order; they can be killed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, completions, run_train
from test_sft import start

from onecard.data.pairs import Pair, load_pairs, read_pairs
from onecard.files.formats import read_jsonl
from onecard.model.section import Lora, Model
from onecard.model.start import find_start
from onecard.recipe.file import load_recipe
from onecard.stages.dpo import right_against_wrong
from onecard.stages.dpo import section_of as dpo_of
from onecard.stages.rft import accepted
from onecard.stages.rft import section_of as rft_of
from onecard.stages.samples import Sample
from onecard.types import Problem, UserError, Verdict

TINY = ROOT / "recipes/tiny.yaml"
SAMPLES = "{problems: 24, num_generations: 8, max_completion_length: 48}"
RFT = f"rft={{samples: {SAMPLES}, max_steps: 4, batch_size: 8, learning_rate: 1e-4, iterate: 2}}"
DPO = (
    f"dpo={{samples: {SAMPLES}, max_steps: 4, per_device_train_batch_size: 4,"
    " learning_rate: 1e-4, sft_weight: 0.2}"
)
GRPO = ("grpo.max_steps=2", "grpo.iterate=2", "grpo.beta=0.01")
QUICK = ("pilot=0", "eval.limit=8", "eval.benchmarks=[tiny]", "save.every_steps=2")


def told(*settings: str) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(TINY, list(settings))
    return str(caught.value)


@pytest.mark.unit
def test_a_run_does_the_rounds_of_its_stages_in_the_order_that_it_names() -> None:
    recipe = load_recipe(TINY, [RFT, DPO, "stages=[sft, dpo, rft, grpo]"])
    assert [one.label for one in recipe.all_rounds] == ["sft", "dpo", "rft-1", "rft-2", "grpo"]
    assert [one.of_last_stage for one in recipe.all_rounds] == [False] * 4 + [True]
    assert [one.steps_before for one in recipe.all_rounds] == [0, 0, 0, 4, 0]
    files = [one.metrics for one in recipe.all_rounds]
    assert files == ["sft.jsonl", "dpo.jsonl", "rft.jsonl", "rft.jsonl", "metrics.jsonl"]
    # Without an order it is the usual one, and --set of a value keeps the order that is named.
    assert load_recipe(TINY, [RFT, DPO]).stages == ["sft", "rft", "dpo", "grpo"]
    named = load_recipe(TINY, [RFT, DPO, "stages=[sft, dpo, rft, grpo]", "dpo.beta=0.2"])
    assert named.stages == ["sft", "dpo", "rft", "grpo"]


@pytest.mark.unit
def test_a_recipe_needs_no_grpo() -> None:
    recipe = load_recipe(TINY, [RFT, "grpo=null"])
    assert recipe.stages == ["sft", "rft"]
    assert recipe.all_rounds[-1].is_last
    assert not recipe.all_rounds[-2].is_last


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["grpo=null", "sft=null"], "there is no stage"),
        (["grpo=null"], "rewards: nothing is sampled in [sft]"),
        (["rewards=[]"], "rewards: completions are sampled in training"),
        ([DPO.replace(f"samples: {SAMPLES}, ", "")], "write either `pairs: FILE`, or `samples:`"),
        ([DPO.replace("{samples", "{pairs: a.jsonl, samples")], "write either `pairs: FILE`, or"),
        (
            [DPO.replace(f"samples: {SAMPLES}", "pairs: a.jsonl, iterate: 2")],
            "iterate 2 rounds would train on the same file of pairs again",
        ),
        (["model.adapter=runs/a"], "an adapter belongs to the weights that it was trained on"),
        ([DPO, "stages=[dpo, sft, grpo]"], "make sft the first, or train its adapter"),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], message: str) -> None:
    assert message in told(*settings)


@pytest.mark.unit
def test_an_adapter_to_go_on_from_is_looked_at_before_anything_is_loaded(tmp_path: Path) -> None:
    adapter, base = tmp_path / "a/adapter", tmp_path / "base"
    model = Model(name=str(base), adapter=str(tmp_path / "a"), max_seq_length=64)
    with pytest.raises(UserError, match="there is no folder"):
        find_start(model, Lora(rank=8, alpha=16))
    adapter.mkdir(parents=True)
    (tmp_path / "a/recipe.resolved.yaml").touch()
    config = {"r": 8, "lora_alpha": 16, "base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").touch()
    base.mkdir()
    assert find_start(model, Lora(rank=8, alpha=16)) == adapter
    with pytest.raises(UserError, match=r"rank 8 and alpha 16.*set lora.rank=8"):
        find_start(model, Lora(rank=16, alpha=16))
    other = model.model_copy(update={"name": "Qwen/Qwen3-4B"})
    with pytest.raises(UserError, match=f"another base model by its name.*model.name={base}"):
        find_start(other, Lora(rank=8, alpha=16))
    assert find_start(Model(name="x", max_seq_length=64), Lora(rank=8, alpha=16)) is None


PROBLEMS = [Problem(name, f"question {name}", "1") for name in "ab"]


def sample(problem: int, text: str, right: bool, truncated: bool = False) -> Sample:
    verdict = Verdict.CORRECT if right else Verdict.WRONG
    return Sample(PROBLEMS[problem], text, verdict, truncated, reward=1.25 if right else 0.25)


DRAWN = [
    sample(0, "good", True),
    sample(0, "good", True),  # the same text again
    sample(0, "better", True),
    sample(0, "best", True),
    sample(0, "bad", False),
    sample(0, "cut of", True, truncated=True),
    sample(1, "never", False),
    sample(1, "nothing", False, truncated=True),
]


@pytest.mark.unit
def test_rft_keeps_each_right_text_once_and_not_too_many_of_a_problem() -> None:
    def kept(*settings: str) -> list[str]:
        section = rft_of(load_recipe(TINY, [RFT, *settings]))
        return [one.text for one in accepted(DRAWN, section)]

    assert kept() == ["good", "better", "best"]
    assert kept("rft.per_problem=2") == ["good", "better"]
    # The reward decides, where a least one is given.
    assert kept("rft.least_reward=0.25") == ["good", "better", "best", "bad", "never"]


@pytest.mark.unit
def test_dpo_prefers_right_to_wrong_of_the_same_problem() -> None:
    section = dpo_of(load_recipe(TINY, [DPO, "dpo.pairs_per_problem=3"]))
    pairs = right_against_wrong(DRAWN, section, seed=0)
    # As many as there are wrong ones that ended; of the other problem nothing is right.
    assert [(pair.problem.id, pair.rejected) for pair in pairs] == [("a", "bad")]
    assert pairs[0].chosen in ("good", "better", "best")


@pytest.mark.unit
def test_pairs_are_read_as_data_sets_have_them() -> None:
    user = {"role": "user", "content": "2 + 2?"}
    answers = [{"role": "assistant", "content": text} for text in ("4", "5")]
    question, chat, whole, plain = read_pairs(
        [
            {"question": "2 + 2?", "chosen": "4", "rejected": "5"},
            {"prompt": [user], "chosen": [answers[0]], "rejected": [answers[1]]},
            {"prompt": "2 + 2?", "chosen": [user, answers[0]], "rejected": [user, answers[1]]},
            {"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"},
        ],
        "rows",
    )
    for pair in (question, chat, whole):
        assert (pair.problem.question, pair.chosen, pair.rejected) == ("2 + 2?", "4", "5")
    assert question.problem.prompt is None
    assert chat.problem.prompt == whole.problem.prompt == (user,)
    assert plain.problem.prompt == "2 + 2 ="


@pytest.mark.unit
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": "x", "chosen": "a"},
            "chosen and rejected; this row has question, chosen",
        ),
        ({"question": "x", "chosen": "a", "rejected": "a"}, "are the same text"),
        (
            {"chosen": "a", "rejected": "b"},
            "chosen and rejected; this row has chosen, rejected",
        ),
        (
            {"question": "x", "chosen": [{"role": "user", "content": "a"}], "rejected": "b"},
            "chosen must be text, or a chat that the assistant ends",
        ),
        ("text", "wanted an object with prompt, chosen and rejected"),
    ],
)
def test_a_pair_that_is_none_is_named(row: Any, message: str) -> None:
    with pytest.raises(UserError, match="row 1") as caught:
        read_pairs([row], "rows")
    assert message in str(caught.value)


@pytest.mark.unit
def test_pairs_that_ask_what_a_benchmark_asks_are_refused(tmp_path: Path) -> None:
    from eval.problems import load_problems

    recipe = load_recipe(TINY)
    asked = recipe.source.load("test")[0].question
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"question": asked, "chosen": "a", "rejected": "b"}) + "\n")
    assert load_pairs("dpo", str(file)) == [Pair(Problem("1", asked, "", kind="none"), "a", "b")]
    with pytest.raises(UserError, match="in the training data"):
        load_problems(recipe.source, recipe.eval, recipe.answer, recipe.data, {"dpo": str(file)})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Stages that go on from a model that has had some SFT."""
    cwd = tmp_path_factory.mktemp("after-sft")
    quick = (*QUICK, "sft.max_steps=150", "grpo.max_steps=1", "data.train_problems=600")
    done = run_train(cwd, "tiny", *quick)
    assert done.returncode == 0, done.stdout + done.stderr
    model = cwd / "runs/tiny/base-model"
    return (*QUICK, f"model.name={model}", "sft=null", "data.train_problems=200", RFT, DPO, *GRPO)


@pytest.fixture(scope="module")
def whole(settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    cwd = tmp_path_factory.mktemp("stages")
    done = run_train(cwd, "tiny", *settings, name="whole")
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "runs/whole", done.stdout


@pytest.mark.e2e
def test_each_stage_trains_what_the_one_before_it_left(whole: tuple[Path, str]) -> None:
    run, printed = whole
    adapters = ("rft-1-adapter", "rft-2-adapter", "dpo-adapter", "grpo-1-adapter", "adapter")
    trained = [(run / name / "adapter_model.safetensors").read_bytes() for name in adapters]
    assert len(set(trained)) == len(trained)
    assert "RFT 1 of 2: " in printed
    assert "different ones, of" in printed
    assert "pairs of a right and a wrong one" in printed
    assert sorted(one.name for one in (run / "checkpoints").iterdir()) == ["grpo-2"]
    # Steps are counted through all rounds, and each stage has curves of its own.
    for file, steps in (("rft.jsonl", 8), ("dpo.jsonl", 4)):
        assert [line["step"] for line in read_jsonl(run / file)] == list(range(1, steps + 1))
    measured = [line for line in read_jsonl(run / "metrics.jsonl") if "reward" in line]
    assert [line["step"] for line in measured] == [1, 2, 3, 4]
    # At the first step of a round the policy is the reference.
    assert [abs(line["kl"]) < 1e-6 for line in measured] == [True, False, True, False]
    assert list((run / "tensorboard/dpo").glob("events.*"))
    assert set(json.loads((run / "results.json").read_text())["seconds"]) >= {"RFT", "DPO", "GRPO"}


@pytest.mark.e2e
def test_a_run_goes_on_from_another_runs_adapter(
    settings: tuple[str, ...], whole: tuple[Path, str]
) -> None:
    """Its first evaluation is the other run's last one."""
    cwd = whole[0].parent.parent
    more = (*settings, "rft=null", "dpo=null", "grpo.iterate=1", f"model.adapter={whole[0]}")
    done = run_train(cwd, "tiny", *more, name="more")
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = cwd / "runs/more/eval/tiny-before", whole[0] / "eval/tiny-after"
    assert completions(before) == completions(after)
    start = cwd / "runs/more/start-adapter/adapter_model.safetensors"
    assert start.read_bytes() == (whole[0] / "adapter/adapter_model.safetensors").read_bytes()


@pytest.mark.e2e
@pytest.mark.fault(
    "kill -9 in a round of RFT, and in DPO",
    "the same adapters to the bit and the same metrics",
)
@pytest.mark.parametrize(
    ("label", "step", "said"),
    [
        ("rft-2", 3, "after step 2 of RFT 2 of 2"),
        pytest.param("dpo", 3, "after step 2 of DPO", marks=pytest.mark.slow),
        pytest.param("rft-1", 4, "after step 4 of RFT 1 of 2", marks=pytest.mark.slow),
    ],
)
def test_a_killed_stage_goes_on_to_the_same_bits(
    settings: tuple[str, ...], whole: tuple[Path, str], label: str, step: int, said: str
) -> None:
    cwd = whole[0].parent.parent
    harm = "os.kill(os.getpid(), signal.SIGKILL)"
    killed = start(cwd, label, settings, harm, label, step)
    assert killed.wait(timeout=600) == -signal.SIGKILL
    done = run_train(cwd, "tiny", *settings, name=label, extra=("--resume",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
    for name in ("rft-2-adapter", "dpo-adapter", "grpo-1-adapter", "adapter"):
        file = f"{name}/adapter_model.safetensors"
        assert (cwd / "runs" / label / file).read_bytes() == (whole[0] / file).read_bytes(), name
    for file in ("rft.jsonl", "dpo.jsonl"):
        assert (cwd / "runs" / label / file).read_text() == (whole[0] / file).read_text()
