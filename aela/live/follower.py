"""Follows which generation speaks, and has a new one take over once it is loaded."""

import threading
from collections.abc import Callable, Iterator

from aela.live.mind import Mind
from aela.live.pictures import blank_jpeg
from aela.memory import catalogue
from aela.memory.manifest import EmptyMemory
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.mimicry.recall import Mimic
from aela.mimicry.settings import MimicrySettings
from aela.storage import Home

POLL_S = 1.0
RETRY_S = 30.0  # until one that could not be loaded is tried again
WORDS_FIRST = 16  # made before it takes over; the others while it speaks


class Follower:
    """A thread that loads what speaks, beside what spoke before, and hands it over.

    Args:
        takes_over: is given each generation, ready to look and speak; None when all that it
            learned from is forgotten.
        tell: is given a sentence when one cannot be loaded.
    """

    def __init__(
        self,
        home: Home,
        settings: MimicrySettings,
        device: str,
        takes_over: Callable[[Mind | None], None],
        tell: Callable[[str], None],
    ) -> None:
        self.home, self.settings, self.device = home, settings, device
        self.takes_over, self.tell = takes_over, tell
        self.next_word = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def _run(self) -> None:
        seen: tuple[str, int] | None = None
        preparing: Iterator[int] = iter(())
        while not self.stopping.is_set():
            try:
                now = self._what_speaks()
                if now is not None and now != seen:
                    preparing = self._hand_over(generations.required(self.home))
                    seen = now
                elif next(preparing, None) is None:
                    self.stopping.wait(POLL_S)
            except Exception as error:  # What spoke before goes on.
                self.tell(f"The newest generation could not be loaded ({error}); trying again.")
                self.stopping.wait(RETRY_S)

    def _what_speaks(self) -> tuple[str, int] | None:
        """Changes with the generation that speaks, and when something was forgotten."""
        pointer = self.home.generations / "current"
        if not pointer.exists():
            return None
        return pointer.read_text().strip(), len(catalogue.names(self.home.forgotten))

    def _hand_over(self, generation: Generation) -> Iterator[int]:
        """Load it and have it take over; the words whose sounds are still to be made, one by one
        as they are made.
        """
        try:
            mimic = Mimic.load(self.home, generation, self.settings, self.device)
        except EmptyMemory as error:
            self.takes_over(None)
            self.tell(str(error))
            return iter(())
        mind = Mind(self.home, mimic, self.next_word)
        self.next_word = mind.last_word + 1
        warm_up(mind)
        preparing = mind.prepare()
        for _, _ in zip(range(WORDS_FIRST), preparing, strict=False):
            if self.stopping.is_set():
                break
        self.takes_over(mind)
        return preparing


def warm_up(mind: Mind) -> None:
    """Pay now for what the first look and the first comparison of words cost."""
    blank = blank_jpeg()
    for number in range(2):
        mind.look(blank, blank, blank, float(number))
    mind.start_anew()
    memory = mind.mimic.remembering
    mind.same(mind.heard(0), mind.heard(len(memory.words) - 1))
