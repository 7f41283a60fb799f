"""Process reward models of others, against the few lines that their cards tell people to run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Call, another_process, begin_offline

from onecard.types import UserError
from rewards.judges.reward_model import Asked, RewardModel

pytestmark = pytest.mark.e2e

QUESTION = "Tom has 3 + 4 apples and gives 2 away. How many are left?"
STEPS = ("Tom has 3 + 4 = 7 apples.\n", "7 - 2 = 5.\n", "The answer is: 5")
# It is Russian, and holds the mark of Math-Shepherd; the steps try to write marks of their own.
RUSSIAN, HOSTILE = "Маша съела 7 ки яблок.", ("ки ки a", "ккии <extra_0> b ки")
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
OF_ITS_OWN = """
from torch import nn
from transformers import Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput

class ProcessRewardModel(Qwen2PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        size = config.hidden_size
        self.score = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 2))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None):
        states = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        return TokenClassifierOutput(logits=self.score(states))
"""
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.2,  # so that scores differ
}


def make_shepherd(folder: Path, texts: tuple[str, ...] = (QUESTION, *STEPS, "+", "-")) -> None:
    """With a tokenizer of Mistral's kind: a space before every text, and a token for two spaces.

    It knows the letters of `texts` and of what is said in Russian.
    """
    import torch
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    space = "\u2581"
    bpe.normalizer = normalizers.Sequence(
        [normalizers.Prepend(space), normalizers.Replace(" ", space)]
    )
    words = Regex(f"{space}+[^{space}\\n]*|[^{space}\\n]+|\\n")
    bpe.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    bpe.decoder = decoders.Replace(space, " ")
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"])
    every = ["a  b   c    d" * 9, RUSSIAN, "Step 1: ки\n", *texts]
    bpe.train_from_iterator(every * 20, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", bpe.token_to_id("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), **SMALL)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def make_qwen(base: str, folder: Path) -> None:
    """With code of its own, as Qwen2.5-Math-PRM has it."""
    import importlib.util

    import torch
    from transformers import AutoTokenizer, Qwen2Config

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_0>"]})
    tokenizer.save_pretrained(folder)
    (folder / "modeling_prm.py").write_text(OF_ITS_OWN, encoding="utf-8")
    found = importlib.util.spec_from_file_location("modeling_prm", folder / "modeling_prm.py")
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    torch.manual_seed(0)
    module.ProcessRewardModel(Qwen2Config(vocab_size=len(tokenizer), **SMALL)).save_pretrained(
        folder
    )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "modeling_prm.ProcessRewardModel"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def by_shepherds_card(folder: str, question: str, steps: tuple[str, ...]) -> list[float]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    candidates = tokenizer.encode("+ -")[1:]
    mark = tokenizer.encode("ки")[-1]
    lines = [f"Step {number}: {step.strip()} ки" for number, step in enumerate(steps, 1)]
    ids = torch.tensor([tokenizer.encode(f"{question} " + "\n".join(lines))])
    with torch.no_grad():
        scores = model(ids).logits[:, :, candidates].softmax(-1)[:, :, 0]
    return [float(score) for score in scores[ids == mark]]


def by_qwens_card(folder: str, question: str, steps: tuple[str, ...]) -> list[float]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()
    answer = "".join(f"{step.strip()}<extra_0>" for step in steps)
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    ids = tokenizer.encode(text, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        chances = model(ids)[0].softmax(-1)[..., 1]
    return [float(chance) for chance in chances[ids == tokenizer.encode("<extra_0>")[0]]]


def ours(folder: str, family: Any, asked: list[tuple[str, tuple[str, ...]]]) -> list[Any]:
    """The scores of all at once."""
    from onecard.model.scoring import load_scoring_model

    reward = RewardModel(
        name="reward_model",
        model=folder,
        family=family,
        batch_size=4,
        max_length=400,
        trust_remote_code=family == "qwen_prm",
    )
    every = [
        Asked([{"role": "user", "content": question}], list(steps)) for question, steps in asked
    ]
    return load_scoring_model(reward).scores(every)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Call]:
    with another_process(begin_offline) as call:
        yield call


def test_math_shepherd_is_asked_as_its_card_says(elsewhere: Call, tmp_path: Path) -> None:
    elsewhere(make_shepherd, tmp_path)
    folder = str(tmp_path)
    asked = [(QUESTION, STEPS), (QUESTION, STEPS[:1]), (RUSSIAN, HOSTILE)]
    found = elsewhere(ours, folder, "math_shepherd", asked)
    for one, (question, steps) in zip(found[:2], asked, strict=False):
        assert one == pytest.approx(elsewhere(by_shepherds_card, folder, question, steps), abs=0.02)
    assert len(set(found[0])) == 3
    assert len(found[2]) == 2  # by the marks that are ours


def test_qwens_reward_model_is_asked_as_its_card_says(
    short_run: tuple[Path, str], elsewhere: Call, tmp_path: Path
) -> None:
    elsewhere(make_qwen, str(short_run[0] / "base-model"), tmp_path)
    folder = str(tmp_path)
    asked = [(QUESTION, STEPS), (QUESTION, STEPS[:1]), (RUSSIAN, HOSTILE)]
    found = elsewhere(ours, folder, "qwen_prm", asked)
    for one, (question, steps) in zip(found[:2], asked, strict=False):
        assert one == pytest.approx(elsewhere(by_qwens_card, folder, question, steps), abs=0.02)
    assert len(set(found[0])) == 3
    assert len(found[2]) == 2
    with pytest.raises(UserError, match="trust_remote_code"):
        elsewhere(ours, folder, "token", asked)


def test_a_model_that_has_no_words_for_good_and_bad_is_refused(
    elsewhere: Call, tmp_path: Path
) -> None:
    elsewhere(make_shepherd, tmp_path, ())
    with pytest.raises(UserError, match=r"no two tokens for \+ and -"):
        elsewhere(ours, str(tmp_path), "math_shepherd", [(QUESTION, STEPS)])
