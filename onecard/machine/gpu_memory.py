"""Peak memory of the card while generating and while training, as the driver counts it.

That is what runs out.
"""

import threading
import time
from collections.abc import Callable

from onecard.machine import gpu

SECONDS_BETWEEN_LOOKS = 0.05


class CardUse:
    """Looks at `in_use`, bytes of the card, from a thread, until the process ends.

    `peaks`: the most that was taken in each `phase`. What others, and a screen, held of the card
    when this was made does not count. torch's own counts would not do: vLLM's cache is still in
    them while it sleeps and its memory is training's.
    """

    def __init__(self, in_use: Callable[[], int]) -> None:
        self.in_use, self.others = in_use, in_use()
        self.phase: str | None = None  # nothing that is to be told
        self.peaks: dict[str, int] = {}
        threading.Thread(target=self.look, name="card use", daemon=True).start()

    def look(self) -> None:
        while True:
            phase = self.phase
            if phase is not None:
                taken = self.in_use() - self.others
                if phase == self.phase:  # else it could be the next one's
                    self.peaks[phase] = max(self.peaks.get(phase, 0), taken)
            time.sleep(SECONDS_BETWEEN_LOOKS)


def watch_card() -> CardUse | None:
    """The use of the first visible card from now on; None without one.

    To be called before anything of ours is on the card.
    """
    in_use = gpu.memory_reader()
    return CardUse(in_use) if in_use else None
