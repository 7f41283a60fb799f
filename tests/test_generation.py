"""Our own generation and scoring on a CPU: transformers' tokens with their chances, TRL's loss."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Call, another_process, begin_offline

pytestmark = pytest.mark.e2e

WORDS, MOST = 12, 6  # the vocabulary of the small model; tokens of a completion
END, PAD = 0, 1


@pytest.fixture(scope="module")
def torch_process() -> Iterator[Call]:
    with another_process(begin_offline) as call:
        yield call


def small_model(load_in_4bit: bool = False) -> Any:
    """Random weights, with three query heads to a key head, in 32 bit."""
    import torch
    from bitsandbytes.nn import Linear4bit
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 96, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=WORDS, initializer_range=0.3, **shape, **heads)
    config.eos_token_id, config.pad_token_id = END, PAD
    model = LlamaForCausalLM(config).eval()
    if load_in_4bit:
        for layer in model.model.layers:
            for part in (layer.self_attn, layer.mlp):
                for name, linear in list(part.named_children()):
                    if isinstance(linear, torch.nn.Linear):
                        packed = Linear4bit(
                            linear.in_features,
                            linear.out_features,
                            bias=False,
                            compute_dtype=torch.float32,
                            quant_type="nf4",
                        )
                        packed.load_state_dict(linear.state_dict())
                        packed.support_avx512bf16_for_cpu = False  # as Unsloth's loader has it
                        setattr(part, name, packed.to("cpu"))
    return model


class Letters:
    """What generation needs of a tokenizer, for a vocabulary of letters."""

    eos_token_id, pad_token_id = END, PAD

    def pad(self, rows: dict[str, Any], **_: Any) -> Any:
        import torch
        from transformers import BatchEncoding

        longest = max(map(len, rows["input_ids"]))
        ids = [[PAD] * (longest - len(row)) + row for row in rows["input_ids"]]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows["input_ids"]]
        found = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        return BatchEncoding(found)

    def decode(self, ids: list[int], **_: bool) -> str:
        return "".join(chr(ord("a") + token) for token in ids)


# Two of them differ in the token 0 alone, which stands where the other one is padded.
PROMPTS = [[5, 6, 7], [5, 6, 7], [4], [9, 8, 7, 6, 5, 4, 3], [5, 6, 7], [4], [0, 11, 2], [11, 2]]


def greedy_rows(load_in_4bit: bool) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of each prompt's completion: ours, and transformers' for each prompt alone."""
    import torch

    from onecard.model.engines.generation import one_batch
    from onecard.types import Sampling

    model = small_model(load_in_4bit)
    made = one_batch(model, Letters(), PROMPTS, Sampling(20, 8), seed=0, leave=True)
    theirs = []
    for prompt in PROMPTS:
        given = torch.tensor([prompt])
        row = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=20, do_sample=False
        )
        row = row[0, len(prompt) :].tolist()
        theirs.append(row[: row.index(PAD) + 1] if PAD in row else row)  # padding ends ours too
    assert "forward" not in vars(model.model.layers[0].mlp.up_proj)  # all is as it was
    assert model.config._attn_implementation == "sdpa"
    return [list(one.ids) for one in made], theirs


@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_greedy_tokens_are_those_of_transformers(torch_process: Call, load_in_4bit: bool) -> None:
    ours, theirs = torch_process(greedy_rows, load_in_4bit)
    assert ours == theirs
    assert len({len(row) for row in ours}) > 2  # some end early, so the batch did shrink


def drawn_and_exact(leave: bool) -> tuple[Counter[tuple[int, ...]], dict[tuple[int, ...], float]]:
    """What 4,000 sampled completions of one prompt begin with, and the exact chances of that."""
    import torch

    from onecard.model.engines.generation import one_batch
    from onecard.types import Sampling

    model, prompt, temperature = small_model(), [5, 6, 7], 1.5
    sampling = Sampling(MOST, 500, temperature)
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(8):
        made = one_batch(model, Letters(), [prompt] * 500, sampling, seed, leave)
        counts.update(one.ids for one in made)
    chances: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(MOST):
        longer = {}
        for begun, chance in chances.items():
            if begun and begun[-1] in (END, PAD):
                longer[begun] = chance
                continue
            with torch.inference_mode():
                logits = model(torch.tensor([[*prompt, *begun]])).logits[0, -1]
            for token, share in enumerate((logits.double() / temperature).softmax(-1).tolist()):
                longer[(*begun, token)] = chance * share
        # The likeliest 200 are enough: the others are counted together.
        chances = dict(islice(sorted(longer.items(), key=lambda one: -one[1]), 200))
    return counts, chances


@pytest.mark.parametrize("leave", [False, True])
def test_completions_are_drawn_with_their_exact_chances(torch_process: Call, leave: bool) -> None:
    """Also where the batch shrinks on the way, which uses the random numbers otherwise."""
    from scipy.stats import chisquare

    counts, chances = torch_process(drawn_and_exact, leave)
    total = sum(counts.values())
    often = {row: chance for row, chance in chances.items() if chance * total >= 10}
    assert len(often) >= 8
    seen = [counts[row] for row in often]
    expected = [chance * total for chance in often.values()]
    rest = total - sum(expected)
    found = chisquare([*seen, total - sum(seen)], [*expected, rest])
    assert found.pvalue > 1e-4
    lengths = {len(row) for row in often}
    assert len(lengths) > 1  # some of them ended early


def drawn_tokens(temperature: float) -> tuple[list[int], list[float]]:
    import torch

    from onecard.model.engines.on_cpu import Draw

    torch.manual_seed(0)
    logits = torch.tensor([2.0, -1.0, 0.5, -30.0, 1.0, -torch.inf, 0.0])
    rows = logits.repeat(20_000, 1)
    picked = Draw(temperature)(torch.empty(0), rows).argmax(-1)
    counts = torch.bincount(picked, minlength=len(logits)).tolist()
    return counts, (logits.double() / temperature).softmax(-1).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_one_number_draws_a_token_with_its_chance(torch_process: Call, temperature: float) -> None:
    from scipy.stats import chisquare

    counts, chances = torch_process(drawn_tokens, temperature)
    assert counts[5] == 0
    often = [place for place, chance in enumerate(chances) if chance * sum(counts) >= 5]
    total = sum(counts[place] for place in often)
    shares = [chances[place] / sum(chances[one] for one in often) for place in often]
    observed = [counts[place] for place in often]
    assert chisquare(observed, [share * total for share in shares]).pvalue > 1e-4


def both_scores() -> list[list[Any]]:
    """Log-probabilities, entropies and a gradient: ours, and those of TRL's own method."""
    import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
    import torch
    from accelerate import Accelerator
    from trl import GRPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    from onecard.stages.trl.shared_prompts import score

    model = small_model()
    add_fused_lm_head(model, temperature=1.5, outputs=("log_probs", "entropy"))
    length = 4
    padded = Letters().pad({"input_ids": PROMPTS})
    tail = torch.randint(2, WORDS, (len(PROMPTS), length))
    ends = torch.tensor([4, 1, 3, 2, 4, 4, 2, 1])
    kept = (torch.arange(length) < ends[:, None]).long()
    ids = torch.cat([padded["input_ids"], torch.where(kept == 1, tail, PAD)], dim=1)
    mask = torch.cat([padded["attention_mask"], kept], dim=1)
    trainer = SimpleNamespace(accelerator=Accelerator(cpu=True))
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(
        trainer, model, ids, mask, length, compute_entropy=True
    )
    found = []
    for logps, entropy in (score(model, model.get_decoder(), ids, mask, length), theirs[:2]):
        model.zero_grad()
        (logps * kept * torch.linspace(-1, 1, len(ids))[:, None]).sum().backward()
        part = model.model.layers[0].self_attn.k_proj.weight.grad
        found.append([(logps * kept).tolist(), (entropy * kept).tolist(), part.tolist()])
    return found


def test_shared_prompts_give_the_same_scores_and_gradients_as_trl(torch_process: Call) -> None:
    import numpy as np

    ours, theirs = torch_process(both_scores)
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(other).max() > 1e-3
        assert np.abs(np.subtract(one, other)).max() < rounding(other)


def sorted_batches() -> list[dict[str, Any]]:
    import torch

    from onecard.stages.trl.shared_prompts import side_by_side

    prompts = torch.tensor([[1, 7], [2, 7], [1, 8], [2, 7], [1, 7], [1, 8]])
    rows = torch.arange(6)
    made = [
        {
            "prompt_ids": prompts[part],
            "advantages": rows[part].float(),
            "texts": [f"row {row}" for row in part],
            "num_items_in_batch": torch.tensor(60),
        }
        for part in ([0, 1], [2, 3], [4, 5])
    ]
    return [
        {name: value if isinstance(value, list) else value.tolist() for name, value in one.items()}
        for one in side_by_side(made)
    ]


def test_the_completions_of_a_prompt_come_into_one_micro_batch(torch_process: Call) -> None:
    batches = torch_process(sorted_batches)
    assert [batch["prompt_ids"] for batch in batches] == [[[1, 7]] * 2, [[1, 8]] * 2, [[2, 7]] * 2]
    assert [batch["advantages"] for batch in batches] == [[0, 4], [2, 5], [1, 3]]
    assert batches[2]["texts"] == ["row 1", "row 3"]  # what belongs to a row goes with it
    assert [batch["num_items_in_batch"] for batch in batches] == [60] * 3


def attention_and_gradients(new: int, seen: int, masked: bool) -> tuple[Any, Any]:
    """Our attention and torch's own: the answers, then what flows back to queries and keys."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from onecard.model.engines.on_cpu import grouped_attention

    torch.manual_seed(0)
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 3, True  # type: ignore[assignment]
    mask = torch.ones(2, 1, new, seen, dtype=torch.bool).tril(seen - new)
    mask[1, :, :, :2] = False  # padding; its own rows see nothing at all
    found = []
    for attention in (grouped_attention, sdpa_attention_forward):
        generator = torch.Generator().manual_seed(1)
        query = torch.randn(2, 6, new, 8, generator=generator, requires_grad=True)
        key = torch.randn(2, 2, seen, 8, generator=generator, requires_grad=True)
        value = torch.randn(2, 2, seen, 8, generator=generator, requires_grad=True)
        answer, _ = attention(
            module, query, key, value, mask if masked else None, dropout=0.0, scaling=0.3
        )
        answer = answer[:, 2:] if masked and new == seen else answer  # padding answers nothing
        answer.square().sum().backward()
        found.append([answer.tolist(), query.grad.tolist(), key.grad.tolist()])
    return found[0], found[1]


@pytest.mark.parametrize(
    ("new", "seen", "masked"), [(7, 7, False), (7, 7, True), (3, 9, True), (1, 9, True)]
)
def test_grouped_attention_is_torchs_own(
    torch_process: Call, new: int, seen: int, masked: bool
) -> None:
    ours, torchs = torch_process(attention_and_gradients, new, seen, masked)
    for one, other in zip(ours, torchs, strict=True):
        assert flat(one) == pytest.approx(flat(other), abs=rounding(other))


def rounding(numbers: Any) -> float:
    """By how much two ways to add the same numbers may differ in 32 bit: processors round."""
    return 1e-5 * max(1.0, *map(abs, flat(numbers)))


def flat(nested: Any) -> list[float]:
    return [x for part in nested for x in flat(part)] if isinstance(nested, list) else [nested]


def kept_and_gradients(hurried: bool, base: str) -> tuple[int, list[float], str]:
    """A model with an adapter in 32 bit: the bytes that a forward pass keeps, the adapter's
    gradients, and their precision."""
    from contextlib import nullcontext

    import torch
    from peft import LoraConfig, get_peft_model

    from onecard.model.engines.on_cpu import quick

    model = get_peft_model(
        small_model().to(torch.bfloat16).to(getattr(torch, base)),
        LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False),
    ).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data *= 0.05  # an adapter's share of a layer is small
    ids = torch.arange(64).reshape(4, 16) % WORDS
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        quick(model, training=True) if hurried else nullcontext(),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        loss = model(input_ids=ids, labels=ids).loss
        total = sum(kept.values())
    loss.backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert model.get_base_model().config._attn_implementation == "sdpa"
    return total, torch.cat([grad.flatten() for grad in grads]).tolist(), str(grads[0].dtype)


def test_training_on_a_cpu_keeps_less_and_learns_the_same(torch_process: Call) -> None:
    less, quick, precision = torch_process(kept_and_gradients, True, "bfloat16")
    more, slow, _ = torch_process(kept_and_gradients, False, "bfloat16")
    _, exact, _ = torch_process(kept_and_gradients, False, "float32")
    assert precision == "torch.float32"  # small updates are not lost
    assert less < 0.75 * more
    # Both round to 16 bit, each in its own places.
    assert math.dist(quick, exact) < 1.5 * math.dist(slow, exact)
