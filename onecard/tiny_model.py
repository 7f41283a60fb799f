"""A random-weight model and its tokenizer, built on the spot: every part of the pipeline runs, nothing is downloaded."""

from pathlib import Path

from onecard.recipe import Recipe
from onecard.samples import prompt_for, target_for
from onecard.types import Sample

VOCAB_SIZE = 1024  # at most; the tiny problems need fewer
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def build_tiny_model(recipe: Recipe, samples: list[Sample], folder: Path) -> str:
    """Write a random-weight Qwen3 (0.35 to 0.45 M parameters) and a byte-level BPE tokenizer to `folder`; return its path.

    The tokenizer is trained on the samples as the chat template renders them. Digits are not split: the numbers of the
    synthetic problems become single tokens, which is what learns fastest here; bytes cover any other text.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[*SPECIAL_TOKENS, *TAGS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    conversations = [prompt_for(sample, recipe.data.system_prompt) + target_for(sample, recipe) for sample in samples]
    bpe.train_from_iterator((f"{m['role']}\n{m['content']}" for messages in conversations for m in messages), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|im_end|>", padding_side="left", chat_template=CHAT_TEMPLATE
    )
    tokenizer.add_tokens(list(TAGS))  # ordinary added tokens: decoding with skip_special_tokens keeps them
    torch.manual_seed(recipe.seed)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=recipe.model.max_seq_length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
