"""The number format that a model computes in, decided here for training, generation and evaluation.

A card takes bf16 where it has it, else fp16. A CPU takes bf16 where it computes that in hardware;
elsewhere fp32, since emulated bf16 is several times slower. That is Unsloth's rule for its CPU back
end too (unsloth_zoo 2026.10.9, cpu/runtime.py).
"""

import platform
from pathlib import Path
from typing import Literal

from onecard.machine.gpu import Card, has_bf16

Precision = Literal["bf16", "fp16", "fp32"]
TORCH_NAMES: dict[Precision, str] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"x86_64": {"amx_bf16", "avx512_bf16"}, "aarch64": {"bf16"}}  # in CPU_INFO


def choose_precision(cards: list[Card]) -> Precision:
    """What this machine computes in: on its first card, or on the CPU where there is none."""
    if cards:
        return "bf16" if has_bf16(cards[0]) else "fp16"
    return "bf16" if cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware; no where the system does not say."""
    flags: set[str] = set()
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, listed = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags |= set(listed.split())
    return bool(flags & BF16_FLAGS.get(platform.machine(), set()))
