"""The plan for a card, the doctor and the recipes' table: arithmetic and advice, on a machine that
has no card.
"""

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from onecard.doctor import gpu as doctor_card
from onecard.doctor import packages as doctor_packages
from onecard.machine.gpu import GIB, Card, check_built_for, check_card, has_bf16
from onecard.machine.gpu_memory import SECONDS_BETWEEN_LOOKS, CardUse
from onecard.machine.model_shapes import STORED, ModelShape, load_shape, read_shape
from onecard.machine.packages import check_vllm
from onecard.plan import recipes_table as catalog
from onecard.plan.fit import cheapest_knob, fit
from onecard.plan.memory import CARDS, plan_memory
from onecard.plan.pace import SPEEDS, estimate_seconds
from onecard.plan.text import fit_text, plan_text
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.stages.grpo import section_of
from onecard.types import UserError

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
ON_A_CARD = sorted(
    file.stem for file in (ROOT / "recipes").glob("*.yaml") if load_recipe(file).card_gb
)
# As the models' cards on the hub state them.
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "Qwen/Qwen3-4B": 4_022_468_096,
}


def recipe(*settings: str, name: str = "gsm8k-qwen2.5-1.5b") -> Recipe:
    return load_recipe(ROOT / f"recipes/{name}.yaml", list(settings))


def shape(name: str = "Qwen/Qwen2.5-1.5B-Instruct") -> ModelShape:
    found = load_shape(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_stored_shape_has_the_published_number_of_parameters(name: str) -> None:
    assert shape(name).parameters == PUBLISHED[name]


def test_every_recipe_for_a_card_plans_offline_and_fits_its_card() -> None:
    assert len(ON_A_CARD) >= 7
    assert {recipe(name=name).model.name for name in ON_A_CARD} <= set(
        json.loads(STORED.read_text())
    )
    assert "random-qwen2.5-0.5b" in json.loads(STORED.read_text())
    for name in ON_A_CARD:
        of = recipe(name=name)
        assert of.card_gb is not None
        assert plan_memory(of, shape(of.model.name)).verdict(of.card_gb) == "fits"
        assert of.model.fast_inference
        assert of.model.load_in_4bit
        assert of.measured == "not yet"


def test_the_cache_goes_by_head_dim() -> None:
    """Qwen3-4B: 36 layers x 8 key-value heads x 128 x keys and values x 2 bytes; hidden / heads
    would say 80.
    """
    of = recipe(name="gsm8k-qwen3-4b")
    tokens = 8 * (of.data.max_prompt_length + section_of(of).max_completion_length)
    assert plan_memory(of, shape("Qwen/Qwen3-4B")).generation["KV cache"] == tokens * 147_456


def test_weights_of_a_4_bit_model() -> None:
    """Qwen2.5-7B: 6.5 G linear weights at half a byte and a little, 1.1 G of embeddings and head at
    two.
    """
    held = plan_memory(recipe(name="gsm8k-qwen2.5-7b"), shape("Qwen/Qwen2.5-7B-Instruct")).always[
        "weights"
    ]
    assert held / 1e9 == pytest.approx(6.525 * 0.516 + 1.0901 * 2, rel=0.001)
    whole = plan_memory(
        recipe("model.load_in_4bit=false", name="gsm8k-qwen2.5-7b"),
        shape("Qwen/Qwen2.5-7B-Instruct"),
    ).always["weights"]
    assert whole == PUBLISHED["Qwen/Qwen2.5-7B-Instruct"] * 2


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ("grpo.max_completion_length=500", "training"),
        ("lora.rank=64", "training"),
        ("grpo.optim=adamw_torch_fused", "training"),
        ("model.load_in_4bit=false", "training"),
        ("grpo.gradient_checkpointing=false", "training"),
    ],
)
def test_what_takes_more_is_planned_as_more(more: str, phase: str) -> None:
    base = recipe("grpo.max_completion_length=400")
    assert (
        plan_memory(recipe("grpo.max_completion_length=400", more), shape()).phases[phase]
        > plan_memory(base, shape()).phases[phase]
    )


def shapes_of(name: str) -> tuple[object, ...]:
    """All that decides what the largest step of a recipe holds."""
    of = recipe(name=name)
    grpo = section_of(of)
    lengths = of.data.max_prompt_length, grpo.max_completion_length, of.model.max_seq_length
    return of.model.name, of.lora.rank, grpo.per_device_train_batch_size, *lengths


def test_the_plan_is_near_what_was_counted() -> None:
    """docs/memory.md, by `make memory`: the plan in it is today's, and the largest step takes what
    the plan says or little more.
    """
    rows = [
        row.strip("| ").split(" | ")
        for row in (ROOT / "docs/memory.md").read_text().splitlines()
        if " GB | " in row
    ]
    counted = {named.split()[0] for named, *_ in rows}
    assert counted <= set(ON_A_CARD)
    # Of several with the same shapes one is enough.
    assert {shapes_of(name) for name in ON_A_CARD} == {shapes_of(name) for name in counted}
    for named, _, planned, *sizes in rows:
        name, *settings = named.split()
        of = recipe(*settings, name=name)
        assert float(planned) == pytest.approx(
            plan_memory(of, shape(of.model.name)).training["activations"] / GIB, abs=0.006
        ), named
        step, scoring, *unsloth = map(float, sizes)
        assert scoring <= step <= 1.1 * float(planned) <= 1.25 * step, named
        assert unsloth[1] > scoring, named


def test_fit_changes_until_it_fits_and_no_more_than_needed() -> None:
    of = recipe(name="gsm8k-qwen3-4b")
    four = shape("Qwen/Qwen3-4B")
    assert plan_memory(of, four).verdict(7) == "does not fit"
    changes = fit(of, four, 7)
    assert plan_memory(recipe(*changes, name="gsm8k-qwen3-4b"), four).verdict(7) == "fits"
    assert changes[0].startswith(
        "grpo.per_device_train_batch_size="
    )  # the same learning comes first
    fitted = recipe(*changes, name="gsm8k-qwen3-4b")
    assert section_of(fitted).num_generations == section_of(of).num_generations
    assert section_of(fitted).completions_per_step == section_of(of).completions_per_step
    assert fit(of, four, 24) == []


def test_fit_says_when_nothing_fits() -> None:
    with pytest.raises(UserError, match="does not fit; with everything turned down it still takes"):
        fit(recipe(name="gsm8k-qwen2.5-7b"), shape("Qwen/Qwen2.5-7B-Instruct"), 4)
    for card in ("small", "0GB", ""):
        with pytest.raises(UserError, match="wanted a card's memory, such as 8GB"):
            fit_text(recipe(), card)
    assert "fits a card of 8 GB as it is" in fit_text(recipe(), "8gb")


def test_fit_offers_16_bit_weights_where_there_is_room() -> None:
    offer = "--set model.load_in_4bit=false"
    assert offer in fit_text(recipe(), "24GB")
    assert offer not in fit_text(recipe("model.load_in_4bit=false"), "24GB")
    small = next(card for card in range(5, 24) if not fit(recipe(), shape(), card))
    told = fit_text(recipe(), f"{small}GB")
    assert "as it is" in told
    assert offer not in told  # it has room for 4 bits alone


def test_the_cheapest_knob_saves() -> None:
    knob = cheapest_knob(recipe(), shape())
    assert plan_memory(recipe(*knob), shape()).peak < 0.97 * plan_memory(recipe(), shape()).peak


def test_the_plan_names_phases_verdicts_and_what_it_is() -> None:
    text = plan_text(recipe(name="gsm8k-qwen2.5-7b"))
    for part in (
        "KV cache",
        "CUDA graphs",
        "activations",
        "reserve",
        "weights",
        "optimizer",
        "CUDA context",
        "cheapest to save: --set",
    ):
        assert part in text
    assert "8 GB card  does not fit" in text
    assert "24 GB card fits" in text
    assert "not measured" in text
    assert "no plan: the config.json of nobody/knows is not on this disk" in plan_text(
        recipe("model.name=nobody/knows")
    )


def test_time_follows_the_work() -> None:
    one, twice = (
        sum(estimate_seconds(recipe(f"grpo.max_steps={steps}"), shape(), 8).values())
        for steps in (100, 200)
    )
    assert twice == pytest.approx(2 * one)
    times = [sum(estimate_seconds(recipe(), shape(), card).values()) for card in (8, 24)]
    assert times[1] < times[0]
    assert set(SPEEDS) == set(CARDS)


def test_a_shape_is_read_from_a_config_and_not_guessed() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 100,
    }
    found = read_shape(config)
    assert found is not None
    assert (found.num_key_value_heads, found.head_dim, found.tie_word_embeddings) == (4, 16, False)
    assert read_shape({"model_type": "mamba", "hidden_size": 64}) is None


def test_the_recipes_table_is_what_the_recipes_say() -> None:
    text = (ROOT / "recipes/README.md").read_text(encoding="utf-8")
    assert text == catalog.with_table(text), "run `make recipes-table`"


CARD = Card("RTX 3060", 12 * GIB, (8, 6))


def test_no_card_is_told_with_what_to_type() -> None:
    with pytest.raises(UserError, match="--gpus all"):
        check_card([], needed=True)
    check_card([], needed=False)
    check_card([CARD], needed=True)
    with pytest.raises(
        UserError, match=r"GTX 1080 has compute capability 6\.1; .* need 7\.0 or newer"
    ):
        check_card([Card("GTX 1080", 8 * GIB, (6, 1))], needed=False)


@pytest.mark.parametrize(
    ("architectures", "runs"),
    [
        (["sm_80", "sm_90"], True),  # binary code of the same major version
        (["sm_86"], True),
        (["sm_89", "sm_90"], False),
        (["sm_75", "compute_75"], True),  # compiled on the spot
        (["sm_90a", "compute_90"], False),
        ([], False),
    ],
)
def test_a_torch_build_is_held_against_the_card(architectures: list[str], runs: bool) -> None:
    if runs:
        check_built_for(CARD, architectures)
    else:
        with pytest.raises(
            UserError,
            match=r"RTX 3060 has compute capability 8\.6, and this build of PyTorch has code for",
        ):
            check_built_for(CARD, architectures)


def test_bf16_by_capability() -> None:
    assert has_bf16(CARD)
    assert not has_bf16(Card("T4", 16 * GIB, (7, 5)))


def examined(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onecard.doctor", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"} | env
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_doctor_is_of_use_without_a_card() -> None:
    done = examined(HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training can start" in done.stdout
    assert "the tiny recipes train on the CPU" in done.stdout
    assert "as in requirements" in done.stdout  # -cpu.txt here, .txt in the image
    assert "hf_secret" not in done.stdout
    assert "Traceback" not in done.stderr


def test_the_doctor_says_that_a_recipe_cannot_start_here() -> None:
    done = examined("recipes/gsm8k-qwen2.5-1.5b.yaml")
    assert done.returncode == 1
    assert "gsm8k-qwen2.5-1.5b cannot start: card" in done.stdout
    assert "--gpus all" in done.stdout
    assert examined("nowhere.yaml").returncode == 2


def test_the_doctor_on_machines_that_are_not_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it says of a card, by the parts that need none: the plan against the card's size,
    packages against the lock.
    """
    monkeypatch.setattr(doctor_card, "driver_cuda_version", lambda: "12.4")
    small = Card("RTX 3050", 4 * GIB, (8, 6))
    findings = list(doctor_card.check_cards([small], recipe(name="gsm8k-qwen2.5-7b")))
    assert [finding.ok for finding in findings] == [True, True, False]
    assert "does not fit" in findings[-1].text
    assert findings[-1].remedy == "python train.py RECIPE --fit 4GB"
    (torch,) = doctor_card.check_torch_build([small])
    assert torch.ok is False
    assert (
        "CPU build, but there is a card" in torch.text
        or "the driver supports 12.4 at most" in torch.text
    )  # here; in the image
    for lock in ("requirements-cpu.txt", "requirements.txt"):
        (tmp_path / lock).write_text("torch==1.0\nnot-a-package==2\n")
    monkeypatch.setattr(doctor_packages, "ROOT", tmp_path)
    (packages,) = doctor_packages.check_packages(on_card=False, with_vllm=False)
    assert packages.ok is None
    assert "(1.0 in the lock)" in packages.text
    assert "not installed: not-a-package" in packages.text
    if find_spec("vllm") is None:
        (packages,) = doctor_packages.check_packages(on_card=True, with_vllm=True)
        assert (packages.ok, packages.text) == (False, "missing: vllm")
        with pytest.raises(
            UserError, match=r"vLLM is not installed here; .*--set model\.fast_inference=false"
        ):
            check_vllm()


def test_a_card_s_use_is_told_by_phase_without_what_others_hold() -> None:
    now = [3 * GIB]
    use = CardUse(lambda: now[0])
    for phase, in_use in (
        (None, 9 * GIB),
        ("generation", 8 * GIB),
        ("training", 5 * GIB),
        ("training", 4 * GIB),
        (None, 9 * GIB),
    ):
        use.phase = None
        now[0] = in_use
        use.phase = phase
        time.sleep(5 * SECONDS_BETWEEN_LOOKS)
    assert use.peaks == {"generation": 5 * GIB, "training": 2 * GIB}


def test_the_plan_for_a_cpu_is_the_one_that_was_measured() -> None:
    text = (ROOT / "docs/laptop-memory.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "| smollm2" in line]
    whole = [row for row in rows if "/" not in row[2]]
    assert len(whole) >= 6
    planned = {}
    for name, precision, plan, _, ratio in whole:
        assert 0.8 <= float(ratio) <= 1.2, name
        planned[name[:-2], precision] = plan
    for recipe in ("smollm2-gym", "smollm2-svamp"):
        (line,) = [
            line
            for line in plan_text(load_recipe(ROOT / f"recipes/{recipe}.yaml")).splitlines()
            if line.startswith("on a CPU")
        ]
        assert line.split()[3] == planned[recipe, "bf16"]
    for name, _, *phases in (row for row in rows if "/" in row[2]):
        for phase in phases[:2]:  # training
            expected, measured = map(float, phase.split(" / "))
            assert expected >= 0.8 * measured, name
