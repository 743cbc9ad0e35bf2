"""The live page in a real browser, served by the real server."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from av.video.frame import VideoFrame
from PIL import Image

from aela.capture import SAMPLE_RATE_HZ
from aela.live.door import Door
from aela.live.memory import Kept
from aela.live.mind import Mind
from aela.live.session import Session
from aela.live.watcher import Word
from aela.memory import store
from aela.mimicry import generation as generations
from aela.mimicry.recall import Mimic
from aela.mimicry.settings import MimicrySettings
from aela.storage import Home
from tests.browser import LET_IN, MISSING, Browser, Tab, as_camera, chromium, devices
from tests.live.pages import free_port, page, served, until
from tests.live.speaking import THINGS, jpeg

pytestmark = pytest.mark.skipif(chromium() is None, reason=MISSING)

GENERATION = {
    "sha": "1f" * 32,
    "published": "2026-01-02T03:04:05+00:00",
    "frames": 9,
    "clips": 4,
    "report": True,
}
SURVEY: dict[str, Any] = {
    "home": "/somewhere/data",
    "generation": GENERATION,
    "memory": {"videos": 3, "frames": 1200, "clips": 44, "seconds": 31.5},
    "training": [{"model": "image_encoder", "doing": "It is being trained.", "share": 0.4}],
}
ELSEWHERE = "Another tab is showing."
WAS_PLAYED = "chip => chip.style.getPropertyValue('--seconds')"
PATIENCE_S = 60.0


Live = tuple[Session, Door]


@contextmanager
def shown(home: Home, door: Door | None = None) -> Iterator[Live]:
    """A live session that is served and followed, in which something was learned already."""
    with served(home, door=door, remembering=True) as live:
        live[0].survey = lambda: dict(SURVEY)
        yield live


@pytest.fixture
def live(home: Home) -> Iterator[Live]:
    with shown(home) as running:
        yield running


@pytest.fixture(scope="module")
def browser(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that sees and hears the film, and lets every page do so."""
    folder = tmp_path_factory.mktemp("devices")
    with Browser(*devices([film], folder), flags=[LET_IN]) as running:
        yield running


@pytest.fixture
def tab(browser: Browser, live: Live) -> Iterator[Tab]:
    """The live page in a tab of its own; closed in the end, and nothing went wrong in it."""
    opened = browser.open(live[1].link)
    opened.wait("document.querySelector('#link').textContent === 'connected'")
    yield opened
    browser.leave(opened)
    assert opened.errors == []


def test_what_is_shown_is_kept_and_seen_on_the_page(tab: Tab, live: Live):
    assert "/somewhere/data" in tab.text("#welcome")
    tab.click("#start")
    tab.wait("document.querySelectorAll('#strip img').length >= 3")
    tab.wait("[...document.querySelectorAll('#strip img')].every(i => i.naturalWidth > 0)")
    tab.wait("document.querySelector('#chips .chip')")  # a word was cut
    assert "above the noise" in tab.evaluate(
        "document.querySelector('#level').getAttribute('aria-valuetext')"
    )
    assert tab.text("#sharp")
    assert tab.text("#answer") == "It has learned nothing yet."
    assert tab.text("#count-frames") == "1,200"
    assert "40 %" in tab.text("#models")
    assert "1f1f1f1f" in tab.text("#generation")
    assert tab.evaluate("document.querySelector('#report a').checkVisibility()")
    live[0].dropped["sound_s"] += 1.5
    tab.wait("document.querySelector('#dropped').textContent.includes('1.5 s of sound lost')")
    tab.click("#chips .chip")  # plays it, and says so, that it is not taken for a new word
    tab.wait(f"[...document.querySelectorAll('#chips .chip')].some({WAS_PLAYED})")
    tab.click("#stop")
    tab.wait("document.querySelector('#welcome').checkVisibility()")
    assert tab.evaluate("document.querySelector('#camera').srcObject") is None
    until(lambda: live[0].shows is None)


def test_a_page_that_fails_to_begin_does_not_show(tab: Tab, live: Live):
    fails = "() => Promise.reject(new Error('no sound here'))"
    tab.evaluate(f"AudioWorklet.prototype.addModule = {fails}; 1")
    shown: list[object] = []
    live[0].memory.begin = lambda: shown.append(live[0].shows)
    tab.click("#start")
    tab.wait("document.querySelector('#trouble').textContent.includes('no sound here')")
    until(lambda: len(shown) == 1 and live[0].shows is None)


def test_a_word_is_played_and_kept_from_being_learned(tab: Tab, live: Live):
    tab.click("#start")
    tab.wait("document.querySelector('#sharp').checkVisibility()")
    masked: list[tuple[float, float]] = []
    hear_itself = live[0].memory.hear_itself
    played = threading.Event()

    def note(start_s: float, end_s: float, *, stamped: bool = False) -> None:
        hear_itself(start_s, end_s, stamped=stamped)
        masked.append((start_s, end_s))
        if len(masked) == 2:  # one as it is told to say it, one as the page plays it
            played.set()

    live[0].memory.hear_itself = note
    live[0].watcher.says(Word(5, word_wav()), 1.0)
    tab.wait("document.querySelector('#saying').dataset.word === '5'")
    assert played.wait(30)
    start_s, end_s = masked[1]  # by the clock of the page
    assert 0.4 < end_s - start_s < 1.5
    assert abs(start_s - tab.evaluate("performance.now() / 1000")) < 20
    tab.wait("!document.querySelector('#saying').checkVisibility()")


def test_a_server_that_is_held_up_finds_no_queue_of_old_pictures(tab: Tab, live: Live):
    session, _ = live
    tab.click("#start")
    tab.wait("document.querySelector('#sharp').checkVisibility()")
    show, came_s, held_up_s = session.watcher.show, [], 1.8

    def note(stamp_s: float, jpeg: bytes) -> None:
        came_s.append(time.monotonic())
        show(stamp_s, jpeg)

    def hold_up() -> None:
        session.watcher.show = note
        time.sleep(held_up_s)
        came_s.append(time.monotonic())

    assert session.loop is not None
    session.loop.call_soon_threadsafe(hold_up)
    while not came_s or time.monotonic() < came_s[0] + 2:
        tab.wait("true")
        time.sleep(0.1)
    at_once = [at_s for at_s in came_s[1:] if at_s < came_s[0] + 0.2]
    assert len(at_once) <= 8  # the page would have taken eighteen meanwhile


def test_one_tab_shows_at_a_time(tab: Tab, browser: Browser, live: Live):
    tab.click("#start")
    tab.wait("document.querySelector('#camera').videoWidth > 0")
    second = browser.open(live[1].link)
    second.wait(f"document.body.innerText.includes('{ELSEWHERE}')")
    second.wait("document.querySelector('#strip img')")  # it looks on
    second.click("#take")
    second.wait("document.querySelector('#camera').videoWidth > 0")
    tab.wait(f"document.body.innerText.includes('{ELSEWHERE}')")
    assert tab.evaluate("document.querySelector('#camera').srcObject") is None
    browser.leave(second)
    tab.wait("document.querySelector('#welcome').checkVisibility()")


def test_the_page_comes_back_after_the_server(home: Home, browser: Browser):
    with shown(home) as (_, door):
        tab = browser.open(door.link)
        tab.click("#start")
        tab.wait("document.querySelector('#strip img')")
        tab.press("l")
        tab.wait("document.querySelector('#learn').ariaPressed === 'false'")
    tab.wait("document.querySelector('#link').textContent.startsWith('connection lost')")
    assert tab.evaluate("document.querySelector('#forget').disabled")
    with shown(home, door) as (after, _):
        tab.wait("document.querySelector('#link').textContent === 'connected'")
        tab.wait("document.querySelector('#learn').ariaPressed === 'false'")  # as was chosen
        tab.press("l")
        tab.wait("document.querySelector('#sharp').checkVisibility()")
        until(lambda: after.shows is not None and after.memory.learning)
        browser.leave(tab)


def test_a_page_that_was_away_undoes_nothing_that_others_chose(tab: Tab, live: Live):
    session, door = live
    for pressed in ("false", "true"):
        tab.press("l")
        tab.wait(f"document.querySelector('#learn').ariaPressed === '{pressed}'")
    with page(door) as other:
        other.say("learn", on=False)
        tab.wait("document.querySelector('#learn').ariaPressed === 'false'")
        [first, _] = session.tabs

        def send_away() -> None:
            first.outbox.overflown = True
            first.outbox.ready.set()

        assert session.loop
        session.loop.call_soon_threadsafe(send_away)
        until(lambda: first not in session.tabs)
        until(lambda: len(session.tabs) == 2)
        tab.wait("document.querySelector('#toasts').textContent.includes('Connected again')")
        for _ in range(2):
            other.wait_for("state")
        assert not session.memory.learning


def test_keys_can_be_switched_off(tab: Tab, live: Live):
    tab.press("?")
    tab.click("#keys")
    tab.click("#about button")
    tab.press("l")
    tab.press("f")
    tab.click("#help")
    tab.click("#keys")
    tab.click("#about button")
    tab.press("s")
    tab.wait("document.querySelector('#speak').ariaPressed === 'false'")
    assert live[0].memory.learning and not tab.text("#toasts")


def test_keys_and_names_for_those_who_do_not_see(tab: Tab, live: Live):
    tab.click("#start")
    tab.wait("document.querySelector('#strip img')")
    tab.press("l")
    tab.wait("document.querySelector('#idle').checkVisibility()")
    tab.press("s")
    tab.wait("document.querySelector('#speak').ariaPressed === 'false'")
    tab.press("f")
    tab.wait("document.querySelector('#toasts').textContent.includes('forgotten')")
    tab.press("?")
    tab.wait("document.querySelector('#about').open")
    tab.click("#about button")
    tab.wait("!document.querySelector('#about').open")
    assert not live[0].memory.learning and not live[0].watcher.speaks
    tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in tree
        if not node["ignored"]
    ]
    assert all(name for role, name in named if role in ("button", "meter", "image"))
    assert {"Learn", "Speak", "Forget that", "Stop", "Help"} <= {name for _, name in named}


@pytest.mark.parametrize("thing", THINGS)
def test_the_word_of_what_is_shown_is_played(
    thing: str, speaking: tuple[Home, dict[str, str]], tmp_path: Path
):
    home, keys = speaking
    views = [Image.open(io.BytesIO(jpeg(thing, 4 * abs(step)))) for step in range(-10, 10)]
    turning = [VideoFrame.from_image(view) for view in views]
    camera = as_camera(turning, tmp_path)
    mimic = Mimic.load(home, generations.required(home), MimicrySettings())
    with served(home) as (session, door), Browser(camera, flags=[LET_IN]) as browser:
        session.watcher.take_over(Mind(home, mimic, 0))
        tab = browser.open(door.link)
        tab.click("#start")
        tab.wait("document.querySelector('#saying').dataset.word")
        word = int(tab.evaluate("document.querySelector('#saying').dataset.word"))
        assert mimic.remembering.clip_videos[word] == keys[thing]
        tab.wait("document.querySelector('#as-heard').checkVisibility()")
        assert tab.evaluate("document.querySelector('#as-heard').title").startswith(keys[thing])
        tab.wait(f"document.querySelector('#moments img').src.includes('/{keys[thing]}/')")
        assert tab.text("#answer") == "It knows this."
        assert tab.errors == []


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_beside_the_screen(tab: Tab, width: int):
    tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=2,
        mobile=width < 700,
    )
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert tab.evaluate(fits)
    tab.click("#start")
    tab.wait("document.querySelector('#strip img')")
    assert tab.evaluate(fits)


def test_what_is_told_is_text_and_never_markup(tab: Tab, live: Live):
    live[0].notice("<img src=x onerror=alert(1)><b>bold</b>")
    tab.wait("document.querySelector('#toasts').textContent.includes('<b>bold</b>')")
    assert tab.evaluate("document.querySelectorAll('#toasts p > *').length") == 0


def test_a_page_that_is_open_all_night_stays_small(tab: Tab, live: Live):
    session, door = live
    tab.call("Performance.enable")

    def size_after(rounds: range) -> dict[str, float]:
        for number in rounds:
            tell_much(session, number)
            last = f"Frame kept at {number} s"
            tab.wait(f"document.querySelector('#strip img')?.alt === '{last}'")
        tab.wait("document.querySelector('#chips li:first-child .chip')")
        tab.call("HeapProfiler.collectGarbage")
        metrics = tab.call("Performance.getMetrics")["metrics"]
        return {metric["name"]: metric["value"] for metric in metrics}

    with page(door) as another:
        another.say("begin")
        tab.wait(f"document.body.innerText.includes('{ELSEWHERE}')")
        early, late = size_after(range(30)), size_after(range(30, 150))
        for selector, most in (("#strip li", 16), ("#chips li", 10), ("#moments li", 4)):
            assert 0 < tab.evaluate(f"document.querySelectorAll('{selector}').length") <= most
    assert tab.evaluate("document.querySelectorAll('#toasts p').length") <= 3
    assert late["Nodes"] < 1.2 * early["Nodes"] + 200
    assert late["JSHeapUsedSize"] < early["JSHeapUsedSize"] + (3 << 20)


def tell_much(session: Session, number: int) -> None:
    """About forty messages, as come in some seconds of showing; the last is about a frame."""
    frame = Kept(2 * number + 1, "frame", number, number, plain_jpeg(number))
    clip = Kept(2 * number + 2, "clip", number, number + 0.5, flac())
    session.memory.kept |= {frame.id: frame, clip.id: clip}
    picture, sound = f"/moments/open/{frame.id}", f"/moments/open/{clip.id}"
    of = {"video": "kitchen-01234567", "time_s": float(number)}
    moment = {**of, "picture": picture, "sound": sound, "when": None, "similarity": 0.5}
    seen = {"says": True, "novelty": number % 7 / 10, "confidence": 0.5, "threshold": 0.5}
    look = {"type": "look", "sharp": True, "sharpness": 0.3, "seen": seen, "word": 1}
    look |= {"moments": 4 * [moment], "clip": {**of, "sound": sound}}
    for step in range(10):
        at_s = number + step / 10
        level = {"level_db": -40.0 + step, "floor_db": -50.0, "word": step > 5}
        session.tell({"type": "level", "at_s": at_s, **level})
        session.tell(
            {**look, "at_s": at_s, "moments": 4 * [moment], "clip": {**of, "sound": sound}}
        )
        session.tell({"type": "left_out", "kind": "clip", "at_s": at_s, "reason": f"r{number}"})
    session.see(plain_jpeg(number))
    session.notice(f"This is sentence {number}.")
    for kept, media in ((clip, {"sound": sound}), (frame, {"picture": picture})):
        session.tell({"type": "kept", "id": kept.id, "kind": kept.sense, "at_s": number, **media})


@pytest.mark.parametrize(
    ("flags", "told", "shows"),
    [
        (["--deny-permission-prompts"], "allow both beside its address", False),
        ([LET_IN, "--use-fake-device-for-media-stream=device-count=0"], "There is no camera", True),
    ],
)
def test_what_the_browser_does_not_give_is_explained(
    live: Live, flags: list[str], told: str, shows: bool
):
    with Browser(flags=flags) as browser:
        tab = browser.open(live[1].link)
        tab.click("#start")
        tab.wait(f"document.querySelector('#trouble').textContent.includes('{told}')")
        tab.wait("!document.querySelector('#start').disabled")
        until(lambda: (live[0].shows is not None) == shows)


def test_an_insecure_address_is_explained(home: Home):
    rules, port = "--host-resolver-rules=MAP aela.example 127.0.0.1", free_port()
    door = Door.at("127.0.0.1", port, f"http://aela.example:{port}")
    with shown(home, door), Browser(flags=[rules]) as browser:
        tab = browser.open(door.link)
        assert "token" not in tab.evaluate("location.href")
        tab.click("#start")
        tab.wait("document.querySelector('#trouble').checkVisibility()")
        assert "https" in tab.text("#trouble")


def word_wav() -> bytes:
    file = io.BytesIO()
    tone = np.sin(np.arange(SAMPLE_RATE_HZ // 2) / 20) / 2
    soundfile.write(file, tone, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def flac() -> bytes:
    return store.to_flac(np.sin(np.arange(4_410) / 20).astype(np.float32) / 2)


def plain_jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (number % 256, 90, 40)).save(file, "JPEG")
    return file.getvalue()
