"""What the benches put side by side: python bench/contenders.py NAME FOLDER

Each runs in a process of its own. FOLDER is that of bench/gpu.py or bench/notebook_loop.py, with
recipe.yaml; `model` goes first and leaves model/ and problems.jsonl there; each of the others
NAME.json. The notebook is written as Unsloth's GRPO notebooks go about it, the stock loop as TRL's
documentation does.
"""

import os
import random
import re
import resource
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # it is started in a folder of its own

from bench.gpu import fixed_length, stock_uses_vllm
from bench.training import made_model, open_training
from onecard.data.prompts import drop_long_prompts, prompt_for
from onecard.files.formats import read_jsonl, write_json, write_jsonl
from onecard.machine.gpu import GIB, find_cards, has_bf16
from onecard.plan.memory import vllm_share
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.stages.grpo import section_of
from onecard.stages.trl.private_names import TRL_DRIFT
from onecard.stages.trl.timing import time_parts
from onecard.types import Problem
from onecard.watch.clock import StepClock

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Job:
    """The same for every contender."""

    folder: Path
    recipe: Recipe

    @property
    def weights(self) -> str:
        return str(self.folder / "model") if self.recipe.model.made_here else self.recipe.model.name

    @property
    def problems(self) -> list[Problem]:
        return [Problem(**row) for row in read_jsonl(self.folder / "problems.jsonl")]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [
            {"prompt": prompt_for(problem, self.recipe.data.system_prompt), "answer": problem.gold}
            for problem in self.problems
        ]

    @property
    def lengths_are_fixed(self) -> bool:
        """Whether each completion is as long as it may be. Then steps differ in nothing else."""
        return "generation_kwargs" in section_of(self.recipe).extra

    @property
    def reward_funcs(self) -> list[Callable[..., list[float]]]:
        """A completion that cannot end says nothing right: there a coin moves the adapter."""
        return [correctness, coin] if self.lengths_are_fixed else [correctness]

    def settings(self, vllm: bool) -> dict[str, Any]:
        """GRPOConfig values; the recipe uses its names."""
        kwargs = fixed_length(self.recipe, vllm) if self.lengths_are_fixed else None
        return section_of(self.recipe).of_trl | {
            "use_vllm": vllm,
            "generation_kwargs": kwargs,
            "seed": self.recipe.seed,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "output_dir": "outputs",
        }


def build_model(job: Job) -> None:
    from transformers import AutoTokenizer

    problems = job.recipe.source.load("train")
    if job.recipe.model.made_here:
        made_model(job.recipe, problems, job.folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(job.weights)
    per_step = section_of(job.recipe).prompts_per_step
    usable = drop_long_prompts(problems, tokenizer, job.recipe.data, per_step)
    write_jsonl(job.folder / "problems.jsonl", [asdict(problem) for problem in usable])


def onecard(job: Job, clock: StepClock) -> Any:
    """As train.py builds it."""
    from bench.trainer import build_trainer  # isort: skip  (unsloth, before all others)

    training = open_training(job.recipe, job.folder, job.weights, job.problems)
    return build_trainer(training, clock)


def notebook(job: Job, clock: StepClock) -> Any:
    os.environ["UNSLOTH_VLLM_STANDBY"] = "1" if job.recipe.model.fast_inference else "0"
    from unsloth import FastLanguageModel  # isort: skip  (before all others)

    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    recipe = job.recipe
    vllm = {"max_lora_rank": recipe.lora.rank} if recipe.model.fast_inference else {}
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=job.weights,
        max_seq_length=recipe.model.max_seq_length,
        load_in_4bit=recipe.model.load_in_4bit,
        fast_inference=recipe.model.fast_inference,
        # the same weights for all three; a notebook takes Unsloth's upload of them
        use_exact_model_name=True,
        **vllm,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=recipe.lora.rank,
        target_modules=recipe.lora.target_modules,
        lora_alpha=recipe.lora.alpha,
        use_gradient_checkpointing="unsloth" if recipe.gradient_checkpointing else False,
        random_state=recipe.seed,
    )
    return GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=job.reward_funcs,
        args=GRPOConfig(**job.settings(recipe.model.fast_inference)),
        train_dataset=Dataset.from_list(job.rows),
    )


def stock(job: Job, clock: StepClock) -> Any:
    os.environ.setdefault(
        "VLLM_USE_FLASHINFER_SAMPLER", "0"
    )  # as Unsloth sets it where FlashInfer cannot compile its kernels
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import GRPOConfig, GRPOTrainer

    recipe, cards = job.recipe, find_cards()
    bf16 = bool(cards) and has_bf16(cards[0])
    dtype = torch.bfloat16 if bf16 else torch.float16 if cards else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        job.weights,
        dtype=dtype,
        device_map={"": 0} if cards else "cpu",
        quantization_config=quantization if recipe.model.load_in_4bit else None,
    )
    vllm = {
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": vllm_share(cards[0].memory) if cards else 0.3,
        "vllm_enable_sleep_mode": True,
        "vllm_max_model_length": recipe.model.max_seq_length,
    }
    return GRPOTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(job.weights),
        reward_funcs=job.reward_funcs,
        args=GRPOConfig(
            **job.settings(stock_uses_vllm(recipe)),
            **vllm,
            bf16=bf16,
            fp16=bool(cards) and not bf16,
        ),
        train_dataset=Dataset.from_list(job.rows),
        peft_config=LoraConfig(
            r=recipe.lora.rank,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            target_modules=recipe.lora.target_modules,
            task_type="CAUSAL_LM",
        ),
    )


def correctness(
    completions: list[list[dict[str, str]]], answer: list[str], **_: Any
) -> list[float]:
    found = [
        re.findall(r"<answer>(.*?)</answer>", completion[-1]["content"])
        for completion in completions
    ]
    return [
        float(bool(texts) and texts[-1].strip() == gold)
        for texts, gold in zip(found, answer, strict=True)
    ]


def coin(completions: list[list[dict[str, str]]], **_: Any) -> list[float]:
    """Paid by chance."""
    return [float(random.random() < 0.5) for _ in completions]


CONTENDERS: dict[str, Callable[[Job, StepClock], Any]] = {
    "onecard": onecard,
    "notebook": notebook,
    "stock": stock,
}


def measure(name: str, job: Job) -> dict[str, Any]:
    """Train; the seconds of each step, the peak of memory, and proof of what ran.

    Raises RuntimeError where lengths were to be fixed and were not, or steps are missing.
    """
    from onecard.machine.gpu_memory import watch_card

    card = watch_card()
    clock = StepClock(card)
    trainer = CONTENDERS[name](job, clock)
    if name != "onecard":  # whose own is timed already
        time_parts(trainer, clock)
    steps: list[dict[str, float]] = []
    trainer.add_callback(step_timer(clock, steps, timed=name == "onecard"))
    trainer.train()
    assert ("unsloth" in sys.modules) == (name != "stock")
    logs = [line for line in trainer.state.log_history if "completions/min_length" in line]
    wanted = section_of(job.recipe).max_completion_length
    longest = max(line["completions/max_length"] for line in logs)
    shortest = min(line["completions/min_length"] for line in logs)
    if job.lengths_are_fixed and (shortest, longest) != (wanted, wanted):
        raise RuntimeError(
            f"completions of {shortest:g} to {longest:g} tokens, wanted {wanted} in each"
        )
    if len(steps) != section_of(job.recipe).max_steps:
        raise RuntimeError(f"{len(steps)} steps, wanted {section_of(job.recipe).max_steps}")
    drift = [line[TRL_DRIFT] for line in logs if TRL_DRIFT in line]
    return {
        "steps": steps,
        "trainer": f"{type(trainer).__module__}.{type(trainer).__name__}",
        "generates_with": "vLLM" if trainer.use_vllm else "transformers",
        "peak_gib": (
            max(card.peaks.values()) / GIB
            if card
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        ),
        "drift": sum(drift) / len(drift) if drift else None,
        "rewards": [line["reward"] for line in logs],
        "tokens": [line["completions/mean_length"] for line in logs],
    }


def step_timer(clock: StepClock, steps: list[dict[str, float]], timed: bool) -> Any:
    """A callback that adds each step's seconds to `steps`.

    It tells the clock where a step begins and ends, unless the trainer is `timed` already.
    """
    import torch
    from transformers import TrainerCallback

    class StepTimer(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not timed:
                clock.begin_step()

        def on_optimizer_step(self, *_: Any, **__: Any) -> None:
            if timed:
                return
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # the card works on while Python is ahead of it
            clock.end_step()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            steps.append(clock.seconds)

    return StepTimer()


def where(error: Exception) -> str:
    """The error as its last line tells it, and the line of code it came from."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.rpartition("site-packages/")[2].removeprefix(f"{ROOT}/")
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text} ({file}, line {frame.lineno})"


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    job = Job(folder, load_recipe(folder / "recipe.yaml"))
    if name == "model":
        build_model(job)
        return
    try:
        found = measure(name, job)
    except Exception as error:
        write_json(folder / f"{name}.json", {"error": where(error)})
        raise
    write_json(folder / f"{name}.json", found)


if __name__ == "__main__":
    main()
