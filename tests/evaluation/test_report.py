import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from PIL import Image
from upath import UPath

from aela.evaluation import pictures
from aela.evaluation.forgetting import Forgetting
from aela.evaluation.moment_map import MappedMoment
from aela.evaluation.report import (
    Glance,
    Labelled,
    ReportData,
    WatchedVideo,
    render,
    write_report,
)
from aela.evaluation.score import score
from aela.evaluation.signs import sign_accuracy
from aela.evaluation.silence import Novelties
from aela.evaluation.thresholds import Point
from aela.evaluation.vocabulary import DiscoveredWord, Vocabulary
from aela.evaluation.window import Heard, Seen, Window
from aela.memory.store import Remembered
from aela.mimicry.certainty import Certainty
from tests.browser import MISSING, Browser, chromium

RATE = 44_100


class Page(HTMLParser):
    """Tags, their attributes and the text of a page; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "br", "rect", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


def jpeg(size=(320, 240), seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3))
    buffer = io.BytesIO()
    Image.fromarray(noise.astype(np.uint8)).resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def tone(hz, seconds=0.6):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)).astype("float32")


def glance(i, answer: Certainty = "said"):
    sound = None if answer == "silent" else tone(700)
    return Glance(float(i), jpeg(), answer, 0.8, 0.1, "cat_a, 3.0 s", jpeg(), sound)


def watched_video(name, *glances):
    answers = [(glance.time_s, glance.answer, glance.confidence) for glance in glances]
    return WatchedVideo(name, answers, list(glances))


def vocabulary(heard=6, found=1):
    word = DiscoveredWord(1, "cat_a, 3.0 s", tone(500), tone(900), [jpeg(), jpeg()], heard, 2, 0.83)
    return Vocabulary([word], found, {}, np.eye(8)[:1], np.zeros(8))


def moment(i, **more):
    places = {"image": (0.1 * i, 0.5), "word": (0.2, 0.3), "predicted": (1.0, 0.0)}
    values = {"word": 1, "watched": False, "places": places} | more
    return MappedMoment(f"cat_a at {i}.0 s", jpeg(), tone(800), **values)


def window():
    looked_at, pictured = np.full((48, 48, 3), 115, np.uint8), np.full((48, 48, 3), 60, np.uint8)
    seen = [Seen("cat_a, 3.0 s", jpeg(), looked_at, pictured)]
    heard = [Heard("cat_a, 3.0 s", tone(600), pictured, "cat_b, 8.0 s", jpeg())]
    return Window({"remembered": seen, "watched": []}, {"remembered": heard, "watched": []})


def data(**more):
    codes = np.random.default_rng(0).normal(size=(20, 8))
    values = {
        "memory": [
            Remembered("cat_a-01234567", ("learn",), "0", 29, 6, {"blurry": 3}, {"knock": 1})
        ],
        "sizes": {"frames": 2_500_000, "models": 500_000},
        "statistics": {"length of words, s": np.linspace(0.3, 0.9, 50)},
        "vocabulary": vocabulary(),
        "moments": [moment(1), moment(2, watched=True)],
        "curves": {"image_encoder": [{"step": 1.0, "loss": 3.0}, {"step": 2.0, "loss": 2.0}]},
        "sign_accuracy": {"train": sign_accuracy(codes, codes, codes)},
        "distances": {"what it sees": pictures.distance_matrix(np.eye(5), 3)},
        "window": window(),
        "watched": [watched_video("mixed-89abcdef", glance(0), glance(1, "silent"))],
        "novelties": Novelties(0.4, {"remembered things": np.linspace(0, 0.5, 10)}),
        "silent": [("mixed-89abcdef", glance(1, "silent"))],
        "forgetting": Forgetting({"aaaa": 0.9, "bbbb": 0.8}, {"cat_a": 0.9, "cat_b": 0.7}),
    } | more
    return ReportData("f" * 64, "e" * 64, "2025-01-01T12:00:00+00:00", **values)


def test_the_report_tells_what_was_learned_said_and_left_out(tmp_path):
    path = UPath(tmp_path / "evaluation" / "report.html")
    write_report(data(), path)
    text = " ".join(Page(path.read_text()).text)
    for told in (
        "f" * 64,
        "cat_a, 3.0 s",
        "3 blurry",
        "1 knock",
        "3.0 MB",
        "1 answers to 2 looks",
        "heard 6 times in 2 videos",
        "83% remembered",
        "80% below",
        "frames: 3 left out, 29 kept",
        "least, 0.70: cat_b",
        "sure 0.80, novel 0.10",
        "100.0%",
        "silent",
    ):
        assert told in text


def test_it_needs_no_network():
    page = Page(render(data()))
    for link in page.values("src") + page.values("href") + page.values("data-sound"):
        assert link.startswith(("data:", "#"))
    assert not re.search(r"https?://|@import|url\(", render(data()))


def test_its_sounds_play_the_word():
    sounds = Page(render(data())).values("data-sound")
    # A clip and its own voice, one answer and none in silence, the word that is pictured, and two
    # moments on the map.
    for sound, hz in zip(sounds, (500, 900, 700, 600, 800, 800), strict=True):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound.split(",")[1])))
        spectrum = np.abs(np.fft.rfft(samples))
        assert spectrum.argmax() * rate / len(samples) == pytest.approx(hz, rel=0.02)
        assert len(samples) / rate == pytest.approx(0.6, abs=0.15)


def test_its_pictures_open():
    for picture in Page(render(data())).values("src"):
        Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1]))).load()


def test_names_cannot_break_the_page():
    bad = '<script>alert("x")</script>'
    page = Page(render(data(watched=[watched_video(bad, glance(0))])))
    assert [tag for tag, _ in page.tags].count("script") == 1  # the page's own
    assert bad in "".join(page.text)


def test_it_shows_what_a_word_brings_to_mind():
    page = Page(render(data()))
    drawn = [attrs for _, attrs in page.tags if attrs.get("alt") == "what the word brings to mind"]
    [picture] = [attrs["src"] for attrs in drawn]
    shown = Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1])))
    assert shown.size == (48, 48) and shown.getpixel((0, 0)) == (60, 60, 60)
    assert "most like cat_b, 8.0 s" in page.text


def test_what_labels_tell_comes_first_and_only_where_there_are_any():
    nothing = score([], {"videos": []}, None)
    segment = {"video": "mixed", "start": 1.0, "end": 9.0, "shown": "acorn", "said": None}
    points = [Point(0.1, None, 0.0), Point(0.2, 1.0, 0.3), Point(0.5, 0.8, 0.9)]
    labelled = Labelled(
        {"of things named right": 0.9, "of nothing": None},
        0.1,
        nothing,
        [segment | {"right": False}],
        points,
        points[-1],
    )
    text = " ".join(Page(render(data(labelled=labelled))).text)
    assert "90%" in text and "of things named right" in text and "of nothing" not in text
    assert "in use: 0.50" in text and "acorn" in text and "0 of 1 right" in text
    assert text.index("Was it right?") < text.index("What it learned")
    assert "Was it right?" not in " ".join(Page(render(data())).text)


def test_what_there_is_not_is_left_out():
    text = " ".join(Page(render(ReportData("f", "e", "today"))).text)
    assert "What it says" not in text
    assert "What it pictures" not in text
    assert "Sign accuracy" not in text


def test_the_map_can_be_used_without_a_mouse_and_read_as_a_list():
    page = Page(render(data()))
    names = [a["aria-label"] for tag, a in page.tags if tag == "button" and "aria-label" in a]
    assert names == ["word 1, cat_a at 1.0 s", "word 1, cat_a at 2.0 s, watched"]
    assert set(names) <= set(page.text)  # for the list


@pytest.mark.skipif(chromium() is None, reason=MISSING)
def test_arrow_keys_walk_over_the_map_and_each_moment_is_named(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render(data()))
    with Browser() as browser:
        tab = browser.open(path.as_uri())
        tab.evaluate("document.querySelector('.map button').focus()")
        assert tab.text(".told") == "word 1, cat_a at 1.0 s"
        tab.press("ArrowRight")
        name = "word 1, cat_a at 2.0 s, watched"
        assert tab.evaluate("document.activeElement.ariaLabel") == tab.text(".told") == name
        reached = "[...document.querySelectorAll('.map button')].map(point => point.tabIndex)"
        assert tab.evaluate(reached) == [-1, 0]
        assert not tab.errors


def test_every_figure_says_how_to_read_it():
    page = Page(render(data()))
    sections = [a["id"] for tag, a in page.tags if tag == "section"]
    told = sum(a.get("class") == "how" for _, a in page.tags)
    assert len(sections) == 9 and told >= len(sections) + 3


def test_a_large_memory_stays_below_15_mb_and_says_what_is_missing():
    videos = [
        WatchedVideo(f"v{n}-01234567", [(i, "said", 0.5) for i in range(300)], [glance(0)] * 6)
        for n in range(40)
    ]
    memory = [Remembered(f"m{i}-01234567", ("learn",), "0", 9, 9, {}, {}) for i in range(1000)]
    many = {"moments": [moment(1)] * 300, "vocabulary": vocabulary(10_000, found=41)}
    report = render(data(watched=videos, unshown=160, memory=memory, **many))
    assert len(report) < 15e6
    text = " ".join(Page(report).text)
    assert "40 more words" in text
    assert "294 more looks are not shown" in text
    assert "160 more watched videos are not shown" in text
    assert "800 more videos are not shown" in text
