"""The NVIDIA cards of this machine, as the driver's own libraries tell.

Neither torch nor nvidia-smi is needed.
"""

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from onecard.types import UserError

GIB = 2**30
OLDEST = (7, 0)
BF16_FROM = (8, 0)
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute, in cuda.h


@dataclass(frozen=True)
class Card:
    name: str
    memory: int  # bytes
    capability: tuple[int, int]


def load_driver() -> ctypes.CDLL | None:
    """The driver's library, initialized; None where there is none, or none that finds a card."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def find_cards() -> list[Card]:
    driver = load_driver()
    count = ctypes.c_int()
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [read_card(driver, number) for number in range(count.value)]


def read_card(driver: ctypes.CDLL, number: int) -> Card:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(100)
    driver.cuDeviceGet(ctypes.byref(device), number)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    return Card(name.value.decode(), memory.value, (capability[0], capability[1]))


def memory_reader() -> Callable[[], int] | None:
    """A function that reads how many bytes of the first visible card anybody holds.

    None without a card, and where the driver does not say, as for MIG.
    """
    driver, device, bus = load_driver(), ctypes.c_int(), ctypes.create_string_buffer(32)
    if (
        driver is None
        or driver.cuDeviceGet(ctypes.byref(device), 0) != 0
        or driver.cuDeviceGetPCIBusId(bus, len(bus), device) != 0
    ):
        return None
    try:
        import pynvml
    except ImportError:
        return None

    def read() -> int:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)

    try:
        pynvml.nvmlInit()
        # CUDA and NVML number the cards of a machine differently.
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus.value)
        read()
    except pynvml.NVMLError:
        return None
    try:
        return None if pynvml.nvmlDeviceGetMigMode(handle)[0] else read
    except pynvml.NVMLError:  # a card that cannot be cut up
        return read


def driver_cuda_version() -> str | None:
    """The newest CUDA that the driver supports, as "13.0"."""
    driver, version = load_driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def check_card(cards: list[Card], needed: bool) -> None:
    """Raise UserError where a recipe needs a card and there is none, or one that is too old."""
    if not cards:
        if needed:
            raise UserError(
                "model.fast_inference: this recipe generates with vLLM on an NVIDIA card, and none"
                " is visible here; in a container add `--gpus all`, and `python -m onecard.doctor`"
                " says what is missing (recipes/tiny.yaml runs without a card)"
            )
        return
    card = cards[0]
    if card.capability < OLDEST:
        raise UserError(
            f"{card.name} has compute capability {card.capability[0]}.{card.capability[1]}; the"
            f" 4-bit kernels and Triton need {OLDEST[0]}.{OLDEST[1]} or newer (Volta, or an RTX"
            " card)"
        )


def check_built_for(card: Card, architectures: Iterable[str]) -> None:
    """Raise UserError unless torch's build holds code that this card can run.

    `architectures` is the build's list of sm_80, compute_90 and so on. Binary code (sm) runs on
    cards of the same major version and an equal or higher minor one. compute_NN is compiled for any
    newer card.
    """
    listed = list(architectures)
    for entry in listed:
        kind, _, digits = entry.partition("_")
        digits = digits.rstrip("af")  # sm_90a
        built = (int(digits[:-1]), int(digits[-1]))
        if (kind == "sm" and built[0] == card.capability[0] and built <= card.capability) or (
            kind == "compute" and built <= card.capability
        ):
            return
    raise UserError(
        f"{card.name} has compute capability {card.capability[0]}.{card.capability[1]}, and this"
        f" build of PyTorch has code for {', '.join(listed) or 'no card'} only; install a build for"
        " your card"
    )


def has_bf16(card: Card) -> bool:
    return card.capability >= BF16_FROM
