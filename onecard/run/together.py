"""Several processes of one run, in step: what each one has, handed to all."""

from typing import TypeVar

from onecard.run.process import processes

T = TypeVar("T")


def gather(value: T) -> list[T]:
    """What every process hands in, in the order of their numbers. All of them must ask."""
    if processes() == 1:
        return [value]
    import torch.distributed as distributed

    if not distributed.is_initialized():
        from accelerate import PartialState

        PartialState()  # joins as transformers' trainers do
    found = [value] * processes()
    distributed.all_gather_object(found, value)
    return found


def first_says(value: T) -> T:
    """What the first process hands in."""
    return gather(value)[0]


def wait_for_all() -> None:
    """Go on when every process has come as far as this."""
    gather(True)
