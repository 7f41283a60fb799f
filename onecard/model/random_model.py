"""Random-weight models and their tokenizer, built on the spot. Nothing is downloaded."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onecard.data.prompts import conversation_of
from onecard.files.atomic import atomic_folder
from onecard.machine.model_shapes import stored_shape
from onecard.model.section import Model
from onecard.run.process import is_first, wait_for
from onecard.types import Messages, Problem
from rewards.answer.section import AnswerFormat

TINY = {
    "model_type": "qwen3",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "tie_word_embeddings": True,
}
VOCAB_SIZE = 1024  # at most; the tiny problems need fewer
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# ids without a word, as real models have some: a tokenizer's class may add tokens of its own when
# it is loaded
ROOM = 64
SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def with_fillers(bpe: Any, size: int) -> Any:
    """The tokenizer with a word of its own for each further id below `size`.

    No text is split into such words. A model of random weights writes any of them, and what it
    writes can then be told apart as text.
    """
    from tokenizers import Tokenizer

    content = json.loads(bpe.to_str())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {
        f"Ġw{number}": number for number in range(len(vocabulary), size)
    }  # Ġ is a space, in bytes' clothing
    return Tokenizer.from_str(json.dumps(content))


def build_random_model(
    model: Model,
    problems: Sequence[Problem],
    folder: Path,
    *,
    system_prompt: str | None,
    answer_format: AnswerFormat,
    seed: int,
) -> str:
    """Write a random-weight model and a byte-level BPE tokenizer to `folder`; return its path.

    An interrupted run's model is there already, and stays. `tiny` is a Qwen3 of 0.35 to 0.45 M
    parameters; any other name is one of model_facts.json and has its shape. The tokenizer is
    trained on the problems and their solutions as the chat template renders them. Digits are not
    split: the numbers of the synthetic problems become single tokens, which is what learns fastest
    here; bytes cover any other text.
    """
    if not is_first():
        wait_for(folder)
    if folder.is_dir():
        return str(folder)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    bpe = train_bpe([conversation_of(one, system_prompt, answer_format) for one in problems])
    if model.name == "tiny":
        rounded_up = -(-bpe.get_vocab_size() // 64) * 64
        shape: dict[str, Any] = TINY | {"vocab_size": rounded_up}
    else:
        known = stored_shape(model.name)
        assert known is not None  # the recipe was checked
        shape = asdict(known)
        bpe = with_fillers(bpe, shape["vocab_size"] - ROOM)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
    )
    # Ordinary added tokens: decoding with skip_special_tokens keeps them.
    tokenizer.add_tokens(list(TAGS))
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        **shape,
        max_position_embeddings=model.max_seq_length,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    built = AutoModelForCausalLM.from_config(config)
    if model.name != "tiny":
        built = built.to(torch.bfloat16)  # as such models are published; half the disk
    with atomic_folder(folder) as unfinished:
        built.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    return str(folder)


def train_bpe(conversations: Sequence[Messages]) -> Any:
    """A byte-level BPE tokenizer, as the library `tokenizers` has it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[*SPECIAL_TOKENS, *TAGS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (
        f"{message['role']}\n{message['content']}"
        for messages in conversations
        for message in messages
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe
