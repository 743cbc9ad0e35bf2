"""One live session: what is shown and heard, what the system makes of it, and who looks on."""

import asyncio
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from aela.capture import Rejection
from aela.capture.feed import Feed
from aela.live import messages
from aela.live.level import LevelMeter
from aela.live.memory import UNDECIDED_S, Kept, LiveMemory, Span
from aela.live.messages import BadMessage, Picture, Sound, Told
from aela.live.outbox import Outbox
from aela.live.watcher import Watcher, Word

MOST_TABS = 8
WORDS_HELD = 64  # a page keeps at least so many sounds of words
MOST_LATE_S = 5.0  # what a page sends may come so much later or earlier than usual, ...
CLOCK_FOLLOWED = 0.01  # ... and no clock goes quite like another: share per message
MOST_START_S = 0.5  # until a page plays what it is told to say
MOST_PLAYING_S = 30.0
WORD, SHOWN = 2, 3  # binary messages to a page
WORD_HEAD = struct.Struct("<BI")


@dataclass(eq=False)
class Tab:
    """One open page."""

    outbox: Outbox = field(default_factory=Outbox)
    words: OrderedDict[int, None] = field(default_factory=OrderedDict)  # whose sounds it holds
    behind_s: float | None = None  # our clock minus its own, since it shows

    def check_clock(self, stamp_s: float) -> None:
        """
        Raises:
            BadMessage: its clock does not go as ours does.
        """
        behind_s = time.monotonic() - stamp_s
        if self.behind_s is None:
            self.behind_s = behind_s
        if abs(behind_s - self.behind_s) > MOST_LATE_S:
            raise BadMessage("The clock of this page jumped; it begins anew.")
        self.behind_s += CLOCK_FOLLOWED * (behind_s - self.behind_s)


class Session:
    """Joins a live source, the watcher and the open pages.

    Pages come, go and speak in one event loop; everything else calls from threads of its own.

    Attributes:
        feed: where goes what a page shows; None where the server has a source of its own.
        survey: tells at once what memory holds, what is training and which generation speaks.
        cut: is to leave something out of minutes that were written already; returns at once.
        speaker: plays a word on this machine where no page does.
    """

    def __init__(
        self,
        memory: LiveMemory,
        feed: Feed | None,
        *,
        survey: Callable[[], dict[str, Any]],
        cut: Callable[[dict[int, list[Span]]], None],
        speaker: Callable[[Word], None] = lambda word: None,
    ) -> None:
        self.memory, self.feed = memory, feed
        self.survey, self.cut, self.speaker = survey, cut, speaker
        self.watcher = Watcher(memory.settings, self.tell, self._thinks_of, self._says)
        memory.decided = self._decided
        self.meter, self.heard_s = LevelMeter(), 0.0
        self.shown_s: float | None = None  # newest stamp of the page that shows
        self.tabs: list[Tab] = []
        self.shows: Tab | None = None
        self.dropped = {"pictures": 0, "sound_s": 0.0}  # came too fast to be sent or looked at
        self.id = secrets.token_hex(8)  # so that a page knows when it meets another session
        self.loop: asyncio.AbstractEventLoop | None = None  # in which pages are served

    # Called from anywhere

    def tell(self, message: dict[str, Any]) -> None:
        """Tell all pages something."""
        self._in_loop(lambda: [tab.outbox.put(message) for tab in self.tabs])

    def notice(self, sentence: str) -> None:
        """Tell all pages something that a person should read."""
        self.tell({"type": "notice", "sentence": sentence})

    def see(self, jpeg: bytes) -> None:
        """Take a picture of the server's own source, which pages are shown, too."""
        self.watcher.show(self.memory.now_s(), jpeg)
        data = bytes([SHOWN]) + jpeg
        self._in_loop(lambda: [tab.outbox.put_bytes("picture", data) for tab in self.tabs])

    def hear(self, samples: np.ndarray, rate_hz: int) -> None:
        """Take sound of the server's own source, float32 mono [n]: its end is heard now."""
        self._measure(self.memory.now_s() - len(samples) / rate_hz, samples, rate_hz)

    def _in_loop(self, call: Callable[[], object]) -> None:
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call)

    def _thinks_of(self, word: Word) -> None:
        self._in_loop(lambda: [self._bring(tab, word) for tab in self._listeners()])

    def _says(self, word: Word, at_s: float) -> None:
        now_s, long_s = max(at_s, self.heard_s), MOST_START_S + word.seconds
        # Whatever the page tells about it, and when: it is not to be learned.
        self.memory.hear_itself(now_s, now_s + long_s, stamped=self.feed is not None)

        def say() -> None:
            listeners = self._listeners()
            for tab in listeners:
                self._bring(tab, word)
                tab.outbox.put({"type": "say", "word": word.number, "at_s": at_s})
            if not listeners:
                self.speaker(word)

        self._in_loop(say)

    def _decided(self, what: Kept | Rejection) -> None:
        start_s = self._at_source(what.start_s)
        if isinstance(what, Rejection):
            if what.sense == "clip" and what.reason == "dropped":
                self.dropped["sound_s"] += round(what.end_s - what.start_s, 2)
            left_out = {"kind": what.sense, "at_s": start_s, "reason": what.reason}
            self.tell({"type": "left_out", **left_out})
            return
        media = "picture" if what.sense == "frame" else "sound"
        message = {"id": what.id, "kind": what.sense, "at_s": start_s}
        message |= {"to_s": self._at_source(what.end_s), media: f"/moments/open/{what.id}"}
        self.tell({"type": "kept", **message})

    def _at_source(self, recorded_s: float) -> float:
        """A time of the recording by the clock of the page that shows."""
        began_s = self.memory.recorded_s(0.0) if self.feed else None
        return round(recorded_s - (began_s or 0.0), 3)

    # Called in the event loop

    def enter(self, tab: Tab) -> None:
        """A page was opened."""
        self.tabs.append(tab)
        tab.outbox.put(self._state(tab))

    def leave(self, tab: Tab) -> None:
        """A page was closed."""
        self.tabs.remove(tab)
        if self.shows is tab:
            self._end()
        self.tell_state()

    def tell_state(self) -> None:
        """Tell each page how things stand."""
        for tab in self.tabs:
            tab.outbox.put(self._state(tab))

    def take(self, tab: Tab, message: Picture | Sound | Told) -> None:
        """Take what a page says.

        Raises:
            BadMessage: it cannot be so.
        """
        match message:
            case Picture() | Sound():
                if tab is self.shows and self.feed is not None:
                    tab.check_clock(message.stamp_s)
                    self._perceive(self.feed, message)
            case messages.Begin():
                self._begin(tab, message.take)
            case messages.End():
                if tab is self.shows:
                    self._end()
            case messages.Switch(type="learn"):
                self.memory.learn(message.on)
            case messages.Switch():
                self.watcher.speaks = message.on
            case messages.Forget():
                self._forget()
            case messages.Playing():
                self._playing(tab, message)
            case messages.Dropped():
                self.dropped["pictures"] += message.pictures
            case messages.Ping():
                tab.outbox.put({"type": "pong", "at_s": message.at_s})
        if isinstance(message, messages.Begin | messages.End | messages.Switch):
            self.tell_state()

    def _begin(self, tab: Tab, take: bool) -> None:
        if self.feed is None:
            return
        if self.shows not in (None, tab):
            if not take:
                tab.outbox.put({"type": "busy"})
                return
            self.shows.outbox.put({"type": "taken"})
        self.shows, tab.behind_s = tab, None
        self.meter, self.heard_s, self.shown_s = LevelMeter(), 0.0, None
        self.memory.begin()
        self.feed.begin()
        self.watcher.begin()

    def _end(self) -> None:
        self.shows = None
        if self.feed is not None:
            self.feed.end()
        self.watcher.begin()

    def _perceive(self, feed: Feed, piece: Picture | Sound) -> None:
        self.shown_s = piece.stamp_s
        if isinstance(piece, Picture):
            feed.picture(piece.stamp_s, piece.jpeg)
            self.watcher.show(piece.stamp_s, piece.jpeg)
        else:
            feed.sound(piece.stamp_s, piece.samples, piece.rate_hz)
            self._measure(piece.stamp_s, piece.samples.astype(np.float32) / 32768, piece.rate_hz)

    def _measure(self, stamp_s: float, samples: np.ndarray, rate_hz: int) -> None:
        self.heard_s = stamp_s + len(samples) / rate_hz
        for level in self.meter.push(stamp_s, samples, rate_hz):
            self.tell({"type": "level", **asdict(level)})

    def _playing(self, tab: Tab, message: messages.Playing) -> None:
        seconds = min(max(0.0, message.to_s - message.from_s), MOST_PLAYING_S)
        shown_s = message.from_s if self.shown_s is None else self.shown_s
        if tab is self.shows and abs(message.from_s - shown_s) < MOST_PLAYING_S:
            self.memory.hear_itself(message.from_s, message.from_s + seconds, stamped=True)
        else:  # Its clock says nothing here, but it tells as it begins.
            now_s = self.memory.now_s()
            self.memory.hear_itself(now_s, now_s + MOST_START_S + seconds)

    def _forget(self) -> None:
        word_just_now = self.heard_s - self.meter.last_word_s < UNDECIDED_S
        found = self.memory.forget(word_just_now)
        if found.written:
            self.cut(found.written)
        self.tell({"type": "forgotten", "ids": found.ids, "sentence": found.sentence})

    def _listeners(self) -> list[Tab]:
        """The pages that play what is said."""
        if self.feed is None:
            return self.tabs
        return [self.shows] if self.shows else []

    def _bring(self, tab: Tab, word: Word) -> None:
        """Send the sound of a word, unless the page holds it."""
        if word.number not in tab.words:
            tab.outbox.put_bytes("word", WORD_HEAD.pack(WORD, word.number) + word.wav)
        tab.words[word.number] = None
        tab.words.move_to_end(word.number)
        if len(tab.words) > WORDS_HELD:
            tab.words.popitem(last=False)

    def _state(self, tab: Tab) -> dict[str, Any]:
        memory = self.memory
        kept = [kept for kept in list(memory.kept.values()) if not memory.is_given(kept)]
        clips = sum(kept_one.sense == "clip" for kept_one in kept)
        known = self.survey()
        known["memory"] = {**known["memory"], "open_frames": len(kept) - clips, "open_clips": clips}
        pictures = self.dropped["pictures"] + self.watcher.left_out
        mind = self.watcher.newest_mind
        return {
            "type": "state",
            "session": self.id,
            "source": "page" if self.feed else memory.name,
            "showing": tab is self.shows,
            "taken": self.shows is not None and tab is not self.shows,
            "learn": memory.learning,
            "speak": self.watcher.speaks,
            "threshold": mind.mimic.generation.threshold if mind else None,
            "dropped": {"pictures": pictures, "sound_s": round(self.dropped["sound_s"], 1)},
            "waiting": len(memory.backlog.entries),  # packets that capture has not looked at yet
            "tabs": len(self.tabs),
            **known,
        }
