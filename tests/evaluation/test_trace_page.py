"""The page about one prediction: everything on it, nothing from elsewhere, also of what is gone."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from typer.testing import CliRunner
from upath import UPath

from aela.evaluation.trace_page import render, write_page
from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry import predict
from aela.mimicry.trace import trace
from aela_dagster.cli import app

Life = Any  # the home that the fixture `life` makes
LOADS = re.compile(r"""(?:src|href|data-sound)="(?!data:|#)|url\(|@import|https?://""")


class Reader(HTMLParser):
    """Notes pictures without a text, and tags that are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.silent, self.open, self.headings = 0, [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag == "img" and not dict(attrs).get("alt")
        if tag not in ("img", "br", "meta"):
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page(life: Life, at: str = "0") -> str:
    text = render(life.home, trace(life.home, f"{life.watched}@{at}"))
    assert not LOADS.search(text)
    reader = Reader()
    reader.feed(text)
    assert not reader.silent and not reader.open
    assert reader.headings[0] == 1
    assert all(b <= a + 1 for a, b in zip(reader.headings, reader.headings[1:], strict=False))
    return text


def test_it_shows_what_was_seen_said_and_remembered(life: Life):
    text, generation = _page(life), life.generation
    assert "It spoke" in text and "▶ what it said" in text and "▶ the word it remembered" in text
    assert "silent above 0.50" in text
    assert f"{life.cup} at 1.0 s" in text and "0.90" in text
    for sha in (generation.image_encoder, generation.associator, generation.manifest):
        assert sha in text
    # The frame it saw, the two moments and two spectrograms in one picture.
    assert text.count("data:image/jpeg") == 3 and text.count("data:image/png") == 1
    assert text.count("data:audio/mpeg") == 4
    assert "2 videos, 6 frames, 4 clips" in text


def test_silence_is_shown_as_such(life: Life):
    text = _page(life, "2")
    assert "stayed silent" in text and "▶ what it said" not in text


def test_parents_and_what_only_they_saw_are_shown(life: Life):
    old = life.generation
    forget(life.home, life.pen)
    child = Card("image_encoder", {}, 7, "f" * 64, parent=old.image_encoder)
    sha = checkpoints.save(life.home, child, {"w": torch.zeros(1)}).sha
    new = replace(old, image_encoder=sha, parent=old.sha)
    generations.publish(life.home, new)
    rows = predict.read_predictions(life.home, life.watched, old.sha).to_pylist()
    rows = [{**row, "generation": new.sha, "image_encoder": sha} for row in rows]
    table = pa.Table.from_pylist(rows, schema=predict.PREDICTIONS)
    predict.write(table, life.home.predictions(life.watched, new.sha))
    text = _page(life, "0")
    for shown in (sha[:12], old.image_encoder[:12], old.sha[:12], "seed 7"):
        assert shown in text
    assert f"No longer there: manifest {'f' * 64}" in text
    assert "forgotten" in text


def test_what_is_forgotten_or_captured_anew_is_not_shown(life: Life):
    store.remember(life.home, videos.find(life.home, life.pen), [])
    forget(life.home, life.cup)
    text = _page(life)
    assert "Forgotten on" in text and "captured anew" in text
    assert text.count("data:image/jpeg") == 1 and text.count("data:audio/mpeg") == 1


def test_the_command_writes_it(life: Life, tmp_path: Path):
    path = tmp_path / "trace.html"
    command = ["trace", f"{life.watched}@0", "--page", str(path)]
    assert str(path) in CliRunner(env={"COLUMNS": "200"}).invoke(app, command).output
    write_page(life.home, trace(life.home, f"{life.watched}@0"), UPath(tmp_path / "again.html"))
    assert path.read_text() == (tmp_path / "again.html").read_text()
    refused = CliRunner().invoke(app, ["trace", life.watched, "--page", str(path)])
    assert "VIDEO@SECONDS" in str(refused.exception)
