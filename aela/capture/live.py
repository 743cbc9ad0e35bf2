"""A live source in, minutes of frames, clips and rejections out, in real time.

One thread per input reads packets and never waits for anybody: what is not looked at in time is
dropped, oldest first, and counted. Everything else runs in the thread of the caller, with the same
senses as for files: decoding, choosing frames, finding words. A source that gives nothing for a
while, ends or breaks is connected to again; what is missing meanwhile is told as rejections.

Time runs from the first packet on. A packet's time is its time stamp, anchored to its arrival when
the connection began, so that a camera and a microphone of their own agree.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal, cast

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.packet import Packet

from aela.capture.feed import Feed
from aela.capture.live_source import Connector, Input, inputs
from aela.capture.looking import STAMP_SLACK_S
from aela.capture.records import Clip, Frame, Rejection, UnreadableVideo
from aela.capture.settings import CaptureSettings
from aela.capture.source import picture_stream, sound_stream
from aela.capture.stream import Hearing, Sense, Sight
from aela.ranges import check_ranges

LONGEST_CONNECTION_S = 7 * 24 * 3600.0  # then the source is connected to anew
PAUSE_SLACK_S = 1.0  # a source whose time stamps stood still for longer begins anew
MOST_JUMP_S = 10.0  # a longer jump of the time stamps that no pause explains is a new clock
KEPT_SHARE = 0.75  # of a full queue: one long gap is better than many short ones
STOP_GRACE_S = 1.0  # what has not arrived so long after the stop is left out
IDLE_S = 0.1

Sensed = Frame | Clip | Rejection


@dataclass(frozen=True)
class LiveSettings:
    """How a live source is followed.

    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    minute_s: float = 60.0
    """Length of a minute (1 to 3600 s)."""

    queued_s: float = 20.0
    """Packets of one stream wait at most this long for their turn (0.1 to 600 s) ..."""

    queued_bytes: int = 64 << 20
    """... and are at most this large together (1 to 4096 MiB)."""

    stall_s: float = 10.0
    """A source that gives nothing for so long is missing, and connected to again (0.2 to 600 s)."""

    first_wait_s: float = 1.0
    """Wait before connecting again; doubled each time it fails (0.01 to 60 s) ..."""

    most_wait_s: float = 30.0
    """... up to this (0.01 to 3600 s)."""

    def __post_init__(self) -> None:
        ranges = {
            "minute_s": (1.0, 3600.0),
            "queued_s": (0.1, 600.0),
            "queued_bytes": (1 << 20, 4096 << 20),
            "stall_s": (0.2, 600.0),
            "first_wait_s": (0.01, 60.0),
            "most_wait_s": (0.01, 3600.0),
        }
        check_ranges(self, ranges)


@dataclass(frozen=True)
class Minute:
    """What was seen and heard in one minute; times count from its start.

    A clip belongs to the minute in which its word starts, so it may end after it.
    """

    number: int
    """Of the whole minutes before it."""
    sensed: list[Sensed]


@dataclass(eq=False)
class _Stream:
    """One stream of one connection, and the sense that follows it."""

    connection: "_Connection"
    sense: Sense
    settled_s: float = 0.0  # when it came back, at first
    arrival_s: float = 0.0  # of its newest packet that had its turn
    missing_s: float | None = None  # since when nothing has come
    # Of the packets that wait for their turn:
    waiting: int = 0
    waiting_bytes: int = 0
    stamps_s: deque[float] = field(default_factory=deque)
    seen_key: bool = False
    broken: bool = False  # pictures make no sense until the next key frame

    @property
    def end_s(self) -> float:
        return self.connection.start_s + self.sense.end_s


@dataclass(eq=False)
class _Connection:
    """An open source; closed by its reader once all it gave had its turn."""

    source: Input
    streams: dict[int, _Stream] = field(default_factory=dict)
    start_s: float = 0.0  # seconds from the start of the recording
    anchored: bool = False
    container_start_s: float | None = None
    worn_out: threading.Event = field(default_factory=threading.Event)
    drained: threading.Event = field(default_factory=threading.Event)

    def let_go(self) -> None:
        """Tell the reader that nothing looks at it any more."""
        for stream in self.streams.values():
            stream.sense.close()
        self.drained.set()


@dataclass(frozen=True)
class _Opened:
    connection: _Connection


@dataclass(frozen=True)
class _Arrived:
    stream: _Stream
    packet: Packet
    arrival_s: float
    stamp_s: float | None


@dataclass
class _Dropped:
    """Packets that were left out, in the place where they were."""

    first: _Arrived
    last: _Arrived
    packets: int


@dataclass(frozen=True)
class _Lost:
    source: Input
    connection: _Connection | None  # None when there was none
    why: str  # a sentence
    replayed: bool  # to its end: nothing is missing


@dataclass(frozen=True)
class _Ended:
    """Nobody reads this any more."""

    source: Input


@dataclass(frozen=True)
class _Failed:
    error: Exception


_Entry = _Opened | _Arrived | _Dropped | _Lost | _Ended | _Failed


class _Backlog:
    """What was read and waits for its turn, in the order of arrival; bounded for each stream."""

    def __init__(self, live: LiveSettings) -> None:
        self.live = live
        self.entries: deque[_Entry] = deque()
        self.changed = threading.Condition()
        self.began: float | None = None

    def now_s(self) -> float:
        """Seconds since the first packet; 0 before."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def put(self, entry: _Entry) -> None:
        with self.changed:
            self.entries.append(entry)
            self.changed.notify()

    def add(self, stream: _Stream, packet: Packet) -> None:
        """Take a packet that has just arrived, at the cost of older ones when there are too many.

        Never waits for the packets to be looked at.
        """
        stamp = packet.dts if packet.dts is not None else packet.pts
        stamp_s = float(stamp * packet.time_base) if stamp is not None else None
        with self.changed:
            if self.began is None:
                self.began = time.monotonic()
            arrived = _Arrived(stream, packet, self.now_s(), stamp_s)
            stream.seen_key |= packet.is_keyframe
            if stream.broken and not packet.is_keyframe:
                self._leave_out(arrived)
                return
            stream.broken = False
            self.entries.append(arrived)
            self._count(arrived, 1)
            if self._too_many(stream, 1.0):
                self._drop(stream)
            self.changed.notify()

    def get(self, timeout_s: float) -> _Entry | None:
        """The oldest entry; None when there is none for so long."""
        with self.changed:
            if not self.entries:
                self.changed.wait(timeout_s)
            if not self.entries:
                return None
            entry = self.entries.popleft()
            if isinstance(entry, _Arrived):
                self._count(entry, -1)
            return entry

    def _count(self, arrived: _Arrived, sign: int) -> None:
        stream = arrived.stream
        stream.waiting += sign
        stream.waiting_bytes += sign * arrived.packet.size
        if arrived.stamp_s is not None:
            if sign > 0:
                stream.stamps_s.append(arrived.stamp_s)
            else:
                stream.stamps_s.popleft()

    def _too_many(self, stream: _Stream, share: float) -> bool:
        stamps = stream.stamps_s
        span_s = stamps[-1] - stamps[0] if stamps else 0.0
        return stream.waiting > 1 and (
            span_s > share * self.live.queued_s
            or stream.waiting_bytes > share * self.live.queued_bytes
        )

    def _drop(self, stream: _Stream) -> None:
        """Leave out the oldest packets of a stream: of pictures, up to a key frame."""
        entries, self.entries = self.entries, deque()
        dropped: _Dropped | None = None
        done = False
        for entry in entries:
            if done or not isinstance(entry, _Arrived) or entry.stream is not stream:
                self.entries.append(entry)
                continue
            startable = stream.sense.name == "clip" or not stream.seen_key
            if not self._too_many(stream, KEPT_SHARE) and (startable or entry.packet.is_keyframe):
                done = True
                self.entries.append(entry)
                continue
            self._count(entry, -1)
            if dropped is None:
                dropped = _Dropped(entry, entry, 0)
                self.entries.append(dropped)
            dropped.packets += 1
            dropped.last = entry
        stream.broken = not done and stream.seen_key and stream.sense.name == "frame"

    def _leave_out(self, arrived: _Arrived) -> None:
        """Leave out a picture that only makes sense with those that were dropped before it."""
        for entry in reversed(self.entries):
            if isinstance(entry, _Dropped) and entry.first.stream is arrived.stream:
                entry.packets += 1
                entry.last = arrived
                return
        self.entries.append(_Dropped(arrived, arrived, 1))


class Live:
    """A live source that is followed until it is told to stop.

    `source` is what `aela.capture.live_source.inputs` understands, or a feed. `tell` is given a
    sentence when the source is lost, is back, or came faster than it could be looked at; `arriving`
    each packet, in the thread that reads it, before anything is made of it; `notice` what is seen
    and heard as soon as it is decided, in seconds from the start of the recording.

    Raises:
        UnreadableVideo: it is no live source of this machine.
    """

    def __init__(
        self,
        source: str | Feed,
        settings: CaptureSettings | None = None,
        live: LiveSettings | None = None,
        *,
        replay: bool = False,
        tell: Callable[[str], None] = lambda sentence: None,
        arriving: Callable[[Packet], None] = lambda packet: None,
        notice: Callable[[Sensed], None] = lambda sensed: None,
    ) -> None:
        self.inputs = (
            [Input.of(source)] if isinstance(source, Feed) else inputs(source, replay=replay)
        )
        self.name = " + ".join(one.name for one in self.inputs)
        self.settings = replace(settings or CaptureSettings(), max_seconds=LONGEST_CONNECTION_S)
        self.live = live or LiveSettings()
        self.tell = tell
        self.arriving = arriving
        self.notice = notice
        self.stopping = threading.Event()
        self.backlog = _Backlog(self.live)
        self.streams: list[_Stream] = []  # of all open connections
        self.missing: dict[
            tuple[Input, Literal["frame", "clip"]], float
        ] = {}  # what lost connections had, since when
        self.ended: set[Input] = set()
        self.closed_s = 0.0  # minutes up to here were given away

    def stop(self) -> None:
        """Finish with what has arrived by now; may be called from anywhere, also from signals."""
        self.stopping.set()

    def now_s(self) -> float:
        """Seconds from the start of the recording; 0 before."""
        return self.backlog.now_s()

    def recorded_s(self, stamp_s: float) -> float | None:
        """When, in seconds from the start of the recording, something of that time stamp is heard.

        None while nothing is, or where there are several clocks.
        """
        streams = [s for s in self.streams if s.connection.anchored]
        if len({stream.connection for stream in streams}) != 1:
            return None
        [*_, last] = streams
        return last.connection.start_s + stamp_s - last.sense.origin_s

    def minutes(self, most: int | None = None) -> Iterator[Minute]:
        """Each minute as soon as the last word that starts in it is known, about 6 s late.

        Minutes in which the source gave nothing are left out. The last one ends where the source
        was stopped, or a replayed file ends.

        Args:
            most: end after so many minutes.

        Raises:
            UnreadableVideo: there was nothing to connect to in the first place.
        """
        minute_s = self.live.minute_s
        kept: dict[int, list[Sensed]] = {}
        readers = [threading.Thread(target=self._read, args=(i,), daemon=True) for i in self.inputs]
        for reader in readers:
            reader.start()
        try:
            for sensed in self._sensed():
                if sensed is not None:
                    self.notice(sensed)
                    number = self._number(sensed)
                    kept.setdefault(number, []).append(_since(sensed, number * minute_s))
                while self.closed_s + minute_s <= self._settled_s():
                    number = round(self.closed_s / minute_s)
                    self.closed_s += minute_s
                    gaps = [_since(gap, number * minute_s) for gap in self._gaps(self.closed_s)]
                    yield from if_anything(Minute(number, [*kept.pop(number, []), *gaps]))
                    if most is not None and number + 1 >= most:
                        return
            for number in sorted(n for n in kept if most is None or n < most):
                yield from if_anything(Minute(number, kept[number]))
        finally:
            self.stop()
            for stream in self.streams:
                stream.connection.let_go()

    def _number(self, sensed: Sensed) -> int:
        """The minute in which something starts, among those not given away yet."""
        start_s = sensed.time_s if isinstance(sensed, Frame) else sensed.start_s
        number = math.floor((start_s + STAMP_SLACK_S) / self.live.minute_s)
        return max(number, round(self.closed_s / self.live.minute_s))

    def _settled_s(self) -> float:
        """Up to where nothing will be added any more."""
        present = [stream for stream in self.streams if stream.missing_s is None]
        if any(not stream.connection.anchored for stream in present):
            return self.closed_s
        if present:
            return min(
                max(stream.settled_s, stream.connection.start_s + stream.sense.settled_s)
                for stream in present
            )
        return 0.0 if self.backlog.entries else self.backlog.now_s()

    def _sensed(self) -> Iterator[Sensed | None]:
        """Whatever is seen and heard, in seconds from the start; None where time has passed."""
        stopped_s: float | None = None
        while len(self.ended) < len(self.inputs) or self.backlog.entries:
            entry = self.backlog.get(IDLE_S)
            match entry:
                case _Arrived():
                    yield from self._take(entry)
                    yield from self._mark_stalled(entry.arrival_s)
                case _Dropped():
                    yield from self._note_dropped(entry)
                    yield from self._mark_stalled(entry.first.arrival_s)
                case _Opened():
                    self.streams += entry.connection.streams.values()
                case _Lost():
                    yield from self._lose(entry)
                case _Ended():
                    self.ended.add(entry.source)
                case _Failed():
                    raise entry.error
                case None:
                    yield from self._mark_stalled(self.backlog.now_s())
                    if self.stopping.is_set():
                        stopped_s = stopped_s or time.monotonic()
                        if time.monotonic() - stopped_s > STOP_GRACE_S:
                            break
            yield None
        end_s = max((stream.end_s for stream in self.streams), default=self.backlog.now_s())
        for stream in self.streams:
            if stream.missing_s is None:
                yield from self._flush(stream)
        yield from self._gaps(end_s)

    def _take(self, arrived: _Arrived) -> Iterator[Sensed]:
        stream, packet = arrived.stream, arrived.packet
        connection, sense = stream.connection, stream.sense
        self._anchor(connection, stream, arrived)
        stream.arrival_s = arrived.arrival_s
        if stream.missing_s is not None:
            stamp_s = arrived.stamp_s if arrived.stamp_s is not None else sense.origin_s
            stream.settled_s = max(self.closed_s, connection.start_s + stamp_s - sense.origin_s)
            yield from self._gap(sense.name, stream.missing_s, stream.settled_s)
            stream.missing_s = None
        for sensed in sense.take(packet):
            yield _since(sensed, -connection.start_s)
        if sense.over:
            connection.worn_out.set()

    def _anchor(self, connection: _Connection, stream: _Stream, arrived: _Arrived) -> None:
        """Tie the source's clock to ours, at first and whenever it was set anew."""
        sense, stamp_s = stream.sense, arrived.stamp_s
        if not connection.anchored:
            self._begin(connection, arrived)
        elif stamp_s is not None:
            time_s = connection.start_s + stamp_s - sense.origin_s
            jump_s = min(abs(time_s - stream.end_s), abs(time_s - arrived.arrival_s))
            paused = stream.missing_s is not None and time_s < stream.missing_s - PAUSE_SLACK_S
            if jump_s > MOST_JUMP_S or paused:
                begin_s = max(arrived.arrival_s, self.closed_s, stream.end_s)
                for other in connection.streams.values():
                    other.sense.origin_s += time_s - begin_s

    def _begin(self, connection: _Connection, arrived: _Arrived) -> None:
        """Tie the clock of a new connection to ours, by its first packet."""
        stamp_s, begin_s = arrived.stamp_s or 0.0, connection.container_start_s
        if begin_s is None or abs(begin_s - stamp_s) > MOST_JUMP_S:
            begin_s = stamp_s
        source, streams = connection.source, connection.streams.values()
        for stream in streams:
            stream.missing_s = self.missing.pop((source, stream.sense.name), None)
        gone = [stream.missing_s for stream in streams if stream.missing_s is not None]
        connection.anchored = True
        connection.start_s = max(arrived.arrival_s, self.closed_s, *gone)
        for stream in streams:
            stream.sense.origin_s = begin_s
            stream.settled_s, stream.arrival_s = connection.start_s, arrived.arrival_s
        if gone and source.kind != "feed":
            self.tell(f"{source.name} is back after {connection.start_s - min(gone):.0f} s.")

    def _mark_stalled(self, now_s: float) -> Iterator[Sensed]:
        """Wait no more for a stream that has given nothing for long.

        Args:
            now_s: when what has its turn arrived. How late its turn is says nothing of the source.
        """
        for stream in self.streams:
            quiet = stream.connection.anchored and now_s - stream.arrival_s > self.live.stall_s
            if quiet and stream.missing_s is None:
                yield from self._flush(stream)
                stream.missing_s = max(stream.end_s, self.closed_s)

    def _lose(self, lost: _Lost) -> Iterator[Sensed]:
        connection = lost.connection
        if connection is not None:
            for stream in connection.streams.values():
                if stream.missing_s is None and connection.anchored:
                    yield from self._flush(stream)
                    stream.missing_s = max(stream.end_s, self.closed_s)
                self.streams.remove(stream)
                if stream.missing_s is not None and not lost.replayed:
                    self.missing[(lost.source, stream.sense.name)] = stream.missing_s
            connection.let_go()
        told = connection is not None or lost.source.kind == "pipe"
        if told and lost.source.kind != "feed" and not lost.replayed and not self.stopping.is_set():
            self.tell(f"{lost.why} Connecting again.")

    def _flush(self, stream: _Stream) -> Iterator[Sensed]:
        """What the decoder and the sense still hold."""
        rest = Packet()
        rest.stream = stream.sense.stream
        for sensed in chain(stream.sense.take(rest), stream.sense.flush()):
            yield _since(sensed, -stream.connection.start_s)
        stream.sense.stream.codec_context.flush_buffers()

    def _gaps(self, until_s: float) -> Iterator[Rejection]:
        """What is missing up to a time; from there on it is told later."""
        for stream in self.streams:
            if stream.missing_s is not None and stream.missing_s < until_s:
                yield from self._gap(stream.sense.name, stream.missing_s, until_s)
                stream.missing_s = until_s
        for (source, name), since_s in self.missing.items():
            if since_s < until_s:
                yield from self._gap(name, since_s, until_s)
                self.missing[(source, name)] = until_s

    def _note_dropped(self, dropped: _Dropped) -> Iterator[Rejection]:
        first, sense = dropped.first, dropped.first.stream.sense
        connection = first.stream.connection
        self._anchor(connection, first.stream, first)
        first.stream.arrival_s = dropped.last.arrival_s
        start_s, end_s = (
            first.stream.end_s if stamp_s is None else connection.start_s + stamp_s - sense.origin_s
            for stamp_s in (first.stamp_s, dropped.last.stamp_s)
        )
        what = "pictures" if sense.name == "frame" else "pieces of sound"
        self.tell(
            f"{dropped.packets} {what} ({end_s - start_s:.1f} s) came faster than they could be "
            "looked at and were dropped."
        )
        yield Rejection(sense.name, start_s, end_s, "dropped", float(dropped.packets))

    @staticmethod
    def _gap(name: Literal["frame", "clip"], start_s: float, end_s: float) -> Iterator[Rejection]:
        if end_s > start_s:
            yield Rejection(name, start_s, end_s, "missing", end_s - start_s)

    def _read(self, source: Input) -> None:
        """Follow one input until the stop, connecting again whenever it is lost."""
        wait_s, ever = self.live.first_wait_s, False
        limits = self.settings.max_pixels, self.live.stall_s
        try:
            with closing(Connector(source, *limits, self.stopping)) as connector:
                while not self.stopping.is_set():
                    try:
                        container = connector.connect()
                    except UnreadableVideo as error:
                        if not ever and not source.comes_and_goes and not self.stopping.is_set():
                            raise
                        self.backlog.put(_Lost(source, None, str(error), False))
                    else:
                        ever = True
                        with container:
                            if self._follow(source, container):
                                wait_s = self.live.first_wait_s
                        if source.kind == "file":
                            break
                    self.stopping.wait(wait_s)
                    wait_s = min(2 * wait_s, self.live.most_wait_s)
            self.backlog.put(_Ended(source))
        except Exception as error:  # Told where somebody listens: in the thread of the caller.
            self.backlog.put(_Failed(error))

    def _connection(self, source: Input, container: InputContainer) -> _Connection:
        connection = _Connection(source)
        if container.start_time is not None:
            connection.container_start_s = container.start_time / av.time_base
        if (picture := picture_stream(container)) is not None:
            sight = Sight(picture, self.settings, 0.0)
            connection.streams[picture.index] = _Stream(connection, sight)
        if (sound := sound_stream(container)) is not None:
            hearing = Hearing(sound, self.settings, 0.0)
            connection.streams[sound.index] = _Stream(connection, hearing)
        return connection

    def _follow(self, source: Input, container: InputContainer) -> bool:
        """Follow a connection to its end; whether it gave anything."""
        connection = self._connection(source, container)
        self.backlog.put(_Opened(connection))
        came, why = False, f"{source.name} ended."
        try:
            for packet in self._packets(connection, container):
                self.arriving(packet)
                self.backlog.add(connection.streams[packet.stream.index], packet)
                came = True
        except ExitError:
            why = f"{source.name} gave nothing for {self.live.stall_s:g} s."
        except (FFmpegError, OSError) as error:
            why = f"{source.name} broke off ({error.strerror or error})."
        except IndexError:  # It has a new stream, which PyAV does not know.
            why = f"{source.name} changed."
        self.backlog.put(_Lost(source, connection, why, source.kind == "file"))
        # Senses look at the open source's streams until all had its turn.
        connection.drained.wait()
        return came

    def _packets(self, connection: _Connection, container: InputContainer) -> Iterator[Packet]:
        """Packets as they come; those of a file, at its own speed."""
        if (feed := connection.source.feed) is not None:
            yield from feed.packets(container, self.stopping)
            return
        begun, first_s = 0.0, None
        streams = [stream.sense.stream for stream in connection.streams.values()]
        with closing(cast(Generator[Packet], container.demux(streams))) as packets:
            for packet in packets:
                if self.stopping.is_set() or connection.worn_out.is_set():
                    return
                if not packet.size:  # PyAV's sign of the end
                    continue
                if connection.source.kind == "file" and packet.dts is not None:
                    stamp_s = float(packet.dts * packet.time_base)
                    if first_s is None:
                        begun, first_s = time.monotonic(), stamp_s
                    self.stopping.wait(stamp_s - first_s - (time.monotonic() - begun))
                yield packet


def _since(sensed: Sensed, start_s: float) -> Sensed:
    """The same with times counted from start_s, at the earliest 0."""
    if isinstance(sensed, Frame):
        return replace(sensed, time_s=max(0.0, sensed.time_s - start_s))
    begin_s, end_s = (max(0.0, time_s - start_s) for time_s in (sensed.start_s, sensed.end_s))
    return replace(sensed, start_s=begin_s, end_s=end_s)


def if_anything(minute: Minute) -> Iterator[Minute]:
    """The minute, unless the source gave nothing at all in it."""
    if any(not (isinstance(s, Rejection) and s.reason == "missing") for s in minute.sensed):
        yield minute
