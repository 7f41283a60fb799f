"""GRPO with stock TRL, as a recipe of Onecard says: for several cards, and a vLLM server.

`python -m onecard.export RECIPE --to trl` has put this script beside what it reads: recipe.yaml,
grpo.yaml (TRL's GRPOConfig), rows.jsonl (the training problems). It needs trl with vLLM, peft and
bitsandbytes, and a clone of Onecard, whose rewards it calls; Unsloth is not needed. With four
cards, one of them for generation:

    CUDA_VISIBLE_DEVICES=3 trl vllm-serve --model MODEL
    export PYTHONPATH=ONECARD CUDA_VISIBLE_DEVICES=0,1,2
    accelerate launch --num_processes 3 train_trl.py

The adapter is in output/ afterwards: `python -m eval MODEL --adapter output --recipe recipe.yaml`.
"""

from pathlib import Path

import torch
import yaml
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import GRPOConfig, GRPOTrainer

from onecard.data.prompts import drop_long_prompts, opens_think, prompt_for
from onecard.data.rows import columns_of
from onecard.files.formats import read_jsonl
from onecard.model.engines.tokens import end_tokens
from onecard.model.engines.vllm import generation_config
from onecard.recipe.file import load_recipe
from onecard.recipe.rewards import open_rewards
from onecard.stages.trl.rewards import PROBLEM_ID, RewardColumns
from onecard.types import Problem

HERE = Path(__file__).parent


def main() -> None:
    recipe = load_recipe(HERE / "recipe.yaml")
    assert recipe.grpo is not None
    settings = yaml.safe_load((HERE / "grpo.yaml").read_text(encoding="utf-8"))
    model, trusted = recipe.model.name, recipe.model.trust_remote_code
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=trusted)
    recipe.model.chat.apply(tokenizer)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    problems = [Problem(**row) for row in read_jsonl(HERE / "rows.jsonl")]
    problems = drop_long_prompts(problems, tokenizer, recipe.data, recipe.least_problems)
    system_prompt = recipe.data.system_prompt
    rows = [{"prompt": prompt_for(p, system_prompt), PROBLEM_ID: p.id} for p in problems]
    scorer = open_rewards(recipe, columns_of(problems))
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            model,
            dtype=torch.bfloat16 if settings["bf16"] else torch.float32,
            trust_remote_code=trusted,
            quantization_config=quantization if recipe.model.load_in_4bit else None,
            device_map={"": PartialState().device},  # each process has its own card
        ),
        processing_class=tokenizer,
        args=GRPOConfig(**settings),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=recipe.lora.rank,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            target_modules=recipe.lora.target_modules,
            task_type="CAUSAL_LM",
        ),
        reward_funcs=RewardColumns(
            scorer,
            problems,
            tokenizer,
            end_tokens(generation_config(model), tokenizer),
            opens_think(tokenizer, problems[0], system_prompt),
            recipe.grpo.num_generations,
        ).functions(),
    )
    trainer.train()
    trainer.save_model(settings["output_dir"])
    scorer.close()


if __name__ == "__main__":
    main()
