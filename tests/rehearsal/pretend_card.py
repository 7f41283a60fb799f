"""Runs a script with the code that Unsloth and vLLM have for an NVIDIA card, on a machine without
one:

    python tests/rehearsal/pretend_card.py train.py recipes/gpu-smoke.yaml ...

What is real, in the locked versions: Unsloth's CUDA models with their Triton kernels (run by
Triton's interpreter), its generated GRPOTrainer, vLLM's engine inside the process (its CPU build),
4-bit weights that both share, the adapter handed over in memory, bitsandbytes' optimizer. What is
pretended: the answers of CUDA's driver. The card is one of compute capability 7.5, without bf16,
because Triton's interpreter knows no bf16; with PRETENDED_BF16=1 it is one of 8.6, for
bench/memory.py, whose kernels do nothing. What is not there: CUDA graphs, the allocator of vLLM's
sleep, memory, speed.
"""

import importlib.metadata
import os
import runpy
import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {
    "UNSLOTH_ALLOW_CPU": "1",  # Unsloth's own: take the CUDA branches without a card
    "TRITON_INTERPRET": "1",
    "TORCHDYNAMO_DISABLE": "1",
    # it expects a compiler that compiles, and takes its absence for a fault of the model
    "UNSLOTH_BLOCK_COMPILE": "0",
    # without vLLM it would share prompts through FlexAttention, which has no backward pass on a CPU
    "UNSLOTH_GRPO_PREFIX_GROUPER": "0",
    "VLLM_USE_AOT_COMPILE": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_DEACTIVATE_ASYNC_LOAD": "1",  # OnCpu below is of this thread alone
    "HF_HUB_OFFLINE": "1",
}
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

ask_version = importlib.metadata.version


def version(distribution_name: str) -> str:
    return (
        ask_version("vllm-cpu") + "+cpu"
        if distribution_name == "vllm"
        else ask_version(distribution_name)
    )


importlib.metadata.version = version

import torch
from torch.overrides import TorchFunctionMode

GIB = 2**30
CAPABILITY = (8, 6) if os.environ.get("PRETENDED_BF16") else (7, 5)


class Nothing:
    """A stream, or an event, of a card that has none."""

    cuda_stream = 0
    idx = 0

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_: Any) -> None: ...
    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: Nothing()


answers = {
    "get_device_capability": CAPABILITY,
    "get_device_properties": SimpleNamespace(
        name="pretended",
        total_memory=8 * GIB,
        major=CAPABILITY[0],
        minor=CAPABILITY[1],
        multi_processor_count=20,
        warp_size=32,
    ),
    "get_device_name": "pretended",
    "mem_get_info": (7 * GIB, 8 * GIB),
    "current_device": 0,
    "device_count": 1,
    "is_bf16_supported": CAPABILITY >= (8, 0),
    "is_current_stream_capturing": False,
    "memory_reserved": 0,
    "max_memory_reserved": 0,
    "memory_allocated": 0,
    "max_memory_allocated": 0,
    "synchronize": None,
    "empty_cache": None,
    "set_device": None,
    "current_stream": Nothing(),
    "default_stream": Nothing(),
    "stream": nullcontext(),
}
for name, answer in answers.items():
    setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
torch.cuda.device, torch.cuda.Stream, torch.cuda.Event = Nothing, Nothing, Nothing  # type: ignore[assignment, misc]
torch._C._cuda_getCurrentRawStream = lambda _: 0  # type: ignore[attr-defined, assignment]


def on_cpu(place: Any) -> Any:
    """The CPU, where a card is meant."""
    return type(place)("cpu") if str(place).partition(":")[0] == "cuda" else place


class OnCpu(TorchFunctionMode):  # type: ignore[misc]
    """Puts on the CPU what is put on a card."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        places = (str, torch.device)
        args = [on_cpu(value) if isinstance(value, places) else value for value in args]
        kwargs = dict(kwargs or {})
        if "device" in kwargs:
            kwargs["device"] = (
                "cpu" if isinstance(kwargs["device"], int) else on_cpu(kwargs["device"])
            )
        kwargs.pop("pin_memory", None)  # the driver's memory
        return func(*args, **kwargs)


OnCpu().__enter__()
move = torch.nn.Module.to
torch.nn.Module.to = lambda self, *args, **kwargs: move(  # type: ignore[method-assign]
    self, *map(on_cpu, args), **{name: on_cpu(value) for name, value in kwargs.items()}
)

prepare = torch.amp.autocast_mode.autocast.__init__
torch.amp.autocast_mode.autocast.__init__ = lambda self, device_type, *args, **kwargs: prepare(  # type: ignore[method-assign]
    self, on_cpu(device_type), *args, **kwargs
)

import onecard.machine.gpu as gpu
import onecard.machine.model_shapes as models

gpu.find_cards = lambda: [gpu.Card("pretended", 8 * GIB, CAPABILITY)]
gpu.check_built_for = lambda *_: None
gpu.memory_reader = lambda: lambda: GIB
stored_shape = models.stored_shape


def small_shape(name: str) -> models.ModelShape | None:
    """The shape of the smoke recipe's model, made small enough for an interpreter; of another
    architecture where that is asked for.
    """
    shape = stored_shape(name)
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 128,
        "head_dim": 64,
        "num_attention_heads": 2,
    }
    sizes |= {"num_hidden_layers": 1, "num_key_value_heads": 1, "vocab_size": 1088}
    return shape and replace(
        shape, model_type=os.environ.get("PRETENDED_MODEL_TYPE", shape.model_type), **sizes
    )


models.stored_shape = small_shape

import onecard.model.load  # noqa: F401  isort: skip  (sets what Unsloth reads at import)

import unsloth
from unsloth.models import rl

# For its own tests Unsloth leaves TRL as it is where it pretends.
del os.environ["UNSLOTH_ALLOW_CPU"]
rl.PatchFastRL()
os.environ["UNSLOTH_ALLOW_CPU"] = "1"

if find_spec("vllm"):
    import vllm.model_executor.layers.utils as layers
    from vllm.platforms.cpu import CpuPlatform

    CpuPlatform.is_sleep_mode_available = lambda self: (
        True
    )  # it does nothing there, but the engine keeps count of it
    # Not packed for the CPU: training shares the weights as they are.
    layers.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: setattr(
        layer, "cpu_linear", torch.nn.functional.linear
    )

load = unsloth.FastLanguageModel.from_pretrained
unsloth.FastLanguageModel.from_pretrained = staticmethod(
    lambda *args, **kwargs: load(
        *args, **kwargs, **({"enforce_eager": True} if kwargs.get("fast_inference") else {})
    )
)

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
