"""How much memory the largest step takes in the code for a card: `make memory`

It is counted tensor by tensor, on a machine without a card. Unsloth's models and its trainer for
CUDA run as in the rehearsal (tests/rehearsal/pretend_card.py), with the recipe's model at its full
widths and one layer of it used as often as it has layers; but operations only make their results
(bench/tensor_bytes.py), and Triton's kernels do nothing. So it is what tensors take at the same
time, beyond weights, adapter and optimizer. What the allocator loses between them, CUDA's own
workspaces and torch.compile are not in it. The table goes to docs/memory.md.
"""

import gc
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.training import made_model, open_training
from onecard.console.command import run_command
from onecard.files.atomic import write_atomic
from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import STORED, ModelShape
from onecard.machine.packages import versions
from onecard.plan.memory import HELD_BACK, plan_memory
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.stages.grpo import section_of
from onecard.types import RunFailed
from onecard.watch.clock import StepClock

ROOT = Path(__file__).parent.parent
VARIANTS = (
    (),
    ("grpo.gradient_checkpointing=false",),
    ("model.load_in_4bit=false",),
    ("grpo.per_device_train_batch_size=4",),
)


def main() -> int:
    if len(sys.argv) > 1:  # sizes_of's
        print(json.dumps(count(Path(sys.argv[1]), sys.argv[2:])))
        return 0
    return run_command(write_table, again="")


def write_table() -> None:
    rows = []
    for file in sorted((ROOT / "recipes").glob("*.yaml")):
        if not load_recipe(file).card_gb:
            continue
        for settings in VARIANTS if file.stem == "gsm8k-qwen2.5-1.5b" else VARIANTS[:1]:
            sizes = sizes_of(file, settings)
            cells = [
                " ".join([file.stem, *settings]),
                f"{sizes['card_gb']} GB",
                *(f"{sizes[size] / GIB:.2f}" for size in SIZES),
            ]
            rows.append(f"| {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    used = ", ".join(
        f"{name} {version}"
        for name, version in versions("unsloth", "unsloth_zoo", "trl", "torch").items()
    )
    write_atomic(ROOT / "docs/memory.md", TABLE.format(rows="\n".join(rows), used=used))


def sizes_of(file: Path, settings: tuple[str, ...] = ()) -> dict[str, int]:
    """What count() finds, in a process of its own. Raises RunFailed with what that printed last."""
    command = [
        sys.executable,
        str(ROOT / "tests/rehearsal/pretend_card.py"),
        str(Path(__file__)),
        str(file),
        *settings,
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PRETENDED_BF16": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunFailed(f"{file.name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


SIZES = ("planned", "step", "scoring", "step_unsloth", "scoring_unsloth")
TABLE = """# What the largest step takes, counted without a card

Made by `make memory` ({used}). GiB beyond weights, adapter and optimizer, of the recipe's largest
step: prompts and completions of full length. The plan is what `train.py RECIPE --plan` calls
activations. *Step*: one micro-batch forward and backward. *Scoring*: the log-probabilities of all
completions of a step, before it. *As Unsloth has it*: by its own defaults; how many completions it
scores at once it fits to the memory that is free, here what the plan leaves of the recipe's card.

| recipe | card | plan | step | scoring | step as Unsloth has it | scoring as Unsloth has it |
|---|---|---|---|---|---|---|
{rows}

Why the last two are larger: Unsloth's trainer has the model return the hidden states of all layers
and uses the last, since Unsloth's own forward is not marked as one that returns the last alone; and
it scores as many completions in one pass as its formula expects the free memory to hold, which
counts hidden states and logits but not what the MLP takes. onecard/model/unsloth_private_names.py
marks the forward, and onecard/stages/trl/build.py has as many completions scored at once as are
trained at once.

Counted are tensors, while nothing of size is computed (bench/tensor_bytes.py), in the code that a
card of compute capability 8.0 or newer runs, but for torch.compile; older ones hold keys and values
as wide as queries. What the allocator loses between tensors, and CUDA's workspaces, come on top. No
card has been seen (docs/gpu.md).
"""


def count(file: Path, settings: list[str]) -> dict[str, int]:
    """The sizes of one recipe, in bytes. To be run by pretend_card.py."""
    import torch

    import onecard.machine.model_shapes as models
    from bench.tensor_bytes import TensorBytes

    asked = load_recipe(file, settings)
    shape = ModelShape(
        **json.loads(STORED.read_text(encoding="utf-8"))[asked.model.name]
    )  # pretend_card.py makes it small elsewhere
    models.stored_shape = lambda name: replace(shape, num_hidden_layers=1)
    made_here = (
        "model.name=random-qwen2.5-0.5b",
        "model.fast_inference=false",
        "data.path=tiny",
        "data.train_problems=100",
    )
    recipe = load_recipe(file, [*settings, *made_here, *(["sft=null"] if asked.sft else [])])
    trainer = build(recipe, shape.num_hidden_layers)

    plan = plan_memory(asked, shape)
    assert asked.card_gb
    card = int(asked.card_gb * 0.98 * GIB)  # as drivers count it
    free = card - int(HELD_BACK + sum(plan.always.values()))
    torch.cuda.mem_get_info = lambda *_: (free, card)
    memory = TensorBytes(held(trainer.model))
    compute_nothing(memory)
    with memory:
        step, scoring = largest_step(recipe, trainer, memory)
        as_unsloth_has_it(trainer)
        step_unsloth, scoring_unsloth = largest_step(recipe, trainer, memory)
    return {
        "card_gb": asked.card_gb,
        "planned": int(plan.training["activations"]),
        "step": step,
        "scoring": scoring,
        "step_unsloth": step_unsloth,
        "scoring_unsloth": scoring_unsloth,
    }


def build(recipe: Recipe, layers: int) -> Any:
    """The trainer, with the model's one layer used that many times, as it is when a step begins
    where vLLM generates.
    """
    from bench.trainer import build_trainer  # isort: skip  (unsloth, before all others)
    import torch

    problems = recipe.source.load("train")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = made_model(recipe, problems, folder / "model")
        training = open_training(recipe, folder, weights, problems)
        trainer: Any = build_trainer(training, StepClock())
        policy = training.load_policy()
    decoder = policy.model.get_base_model().model
    decoder.layers = torch.nn.ModuleList([decoder.layers[0]] * layers)
    trainer.use_vllm = True
    trainer.model.for_training(
        use_gradient_checkpointing=trainer.model._unsloth_gradient_checkpointing
    )  # as its train() does
    return trainer


def held(model: Any) -> Iterator[Any]:
    """The tensors that a model consists of, with the scales of 4-bit weights."""
    for tensor in [*model.parameters(), *model.buffers()]:
        yield tensor
        quantized = getattr(tensor, "quant_state", None)
        while quantized is not None:
            yield from (
                part
                for part in (quantized.absmax, quantized.code, quantized.offset)
                if part is not None
            )
            quantized = quantized.state2


def compute_nothing(memory: Any) -> None:
    """Has the kernels of Unsloth do nothing, and those of its output head make what they make on a
    card of 24 GB or less; what checkpointing sends to the host leaves the count."""
    import torch
    import triton
    import triton.runtime.interpreter as interpreter
    import unsloth_zoo.fused_losses.fused_linear as head
    import unsloth_zoo.gradient_checkpointing as checkpointing

    class Nothing:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *_, **__: None

    interpreter.GridExecutor.__call__ = lambda *_, **__: None
    head.triton, head.tl = triton, triton.language
    for name in re.findall(r"_fl_\w+_kernel", inspect.getsource(head)):
        setattr(head, name, Nothing())
    head._use_triton, head._logits_mode, head._flash_min_rows = (
        lambda _: True,
        lambda *_: (True, False),
        lambda _: 0,
    )
    head._mm_fp32 = lambda a, b, out=None: (
        torch.empty(a.shape[0], b.shape[1]) if out is None else out
    )
    head._addmm_fp32 = lambda total, *_: total
    head._mm_into = lambda *_: None

    def noted(operation: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> Any:
            with memory:  # inside a custom operation it is not on
                return operation(*arguments, **named)

        return run

    head._OPS |= {
        name: noted(operation) for name, operation in head._OPS.items() if name.endswith("_impl")
    }

    if not checkpointing.CPU_BUFFERS:  # without checkpointing, or with one that sends nothing
        return
    for buffer in checkpointing.CPU_BUFFERS:
        memory.leave_out(buffer)
    mark, slot = checkpointing._mark_host_buffer, checkpointing._PerDeviceSlots.__getitem__
    checkpointing._mark_host_buffer = lambda buffer: memory.leave_out(buffer) or mark(buffer)
    checkpointing._PerDeviceSlots.__getitem__ = lambda self, device: slot(
        self, device or 0
    )  # a CPU has no number
    for name in ("NEXT_BUFFER_SLOT", "BUFFER_EVENTS_A", "BUFFER_EVENTS_B"):
        setattr(checkpointing, name, {None: getattr(checkpointing, name)[0]})


def largest_step(recipe: Recipe, trainer: Any, memory: Any) -> tuple[int, int]:
    """The peaks of one micro-batch forward and backward, and of scoring all completions of a step,
    as in a step after the first.
    """
    import torch

    from onecard.stages.trl.largest_step import largest_batch

    def step() -> None:
        batch = largest_batch(section_of(recipe), recipe.data, trainer)
        trainer.accelerator.backward(trainer.compute_loss(trainer.model, batch))

    def score() -> None:
        batch = largest_batch(section_of(recipe), recipe.data, trainer)
        ids, mask = (
            torch.cat([batch[f"prompt_{kind}"], batch[f"completion_{kind}"]], dim=1).repeat(
                trainer.args.steps_per_generation, 1
            )
            for kind in ("ids", "mask")
        )
        with torch.no_grad():
            trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, mask, batch["completion_ids"].size(1)
            )

    peaks = []
    for work in (step, score, step, score):
        trainer.model.zero_grad()
        gc.collect()
        memory.peak = memory.live
        work()
        peaks.append(memory.peak)
    return peaks[2], peaks[3]


def as_unsloth_has_it(trainer: Any) -> None:
    """Takes back what Onecard changes of it."""
    from unsloth.models import rl

    from onecard.model.unsloth_private_names import RETURNS_HIDDEN_STATES

    trainer.args.unsloth_grpo_mini_batch = None
    del trainer._get_per_token_logps_and_entropies
    delattr(trainer.model.get_base_model(), RETURNS_HIDDEN_STATES)
    rl._install_grpo_hidden_states_forward_wrapper(trainer.model)


if __name__ == "__main__":
    sys.exit(main())
