"""`aela trace`, both ways, as somebody reads it."""

import json
from typing import Any

import torch
from typer.testing import CliRunner

from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from aela.memory import store, videos
from aela.memory.forget import forget
from aela_dagster.cli import app

Life = Any  # the home that the fixture `life` makes


def _shown(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["trace", *arguments])
    assert not result.exception, result.exception
    return result.output


def test_of_a_prediction_it_shows_parents_and_what_only_they_saw(life: Life):
    shown = _shown(f"{life.watched}@0")
    assert f"clip {life.cup} 0.10-0.80 s" in shown
    assert f"generation {life.generation.sha}" in shown
    assert f"manifest {life.generation.manifest}: 2 videos, 6 frames, 4 clips" in shown


def test_of_a_video_it_shows_what_depends_on_it(life: Life):
    shown = _shown(life.cup[:5])
    assert f"{life.cup} (learn): 3 frames, 2 clips" in shown
    assert "is in 1 manifest" in shown and "4 checkpoints learned from it" in shown
    speaks = f"{life.generation.sha[:12]}, speaks now"
    assert f"{speaks}: 3 predictions of 1 video, 2 of them lean on a moment of it" in shown
    assert f"{life.watched}: 2 of 3" in shown
    child = Card("image_encoder", {}, 1, "f" * 64, parent=life.generation.image_encoder)
    checkpoints.save(life.home, child, {"w": torch.ones(1)})
    assert "on top of these alone: 1 image_encoder" in _shown(life.cup)


def test_of_a_watched_video_it_shows_its_predictions(life: Life):
    shown = _shown(life.watched)
    assert "nothing has learned from it" in shown
    assert "of its own frames: 3 predictions by 1 generation" in shown


def test_of_a_forgotten_video_it_shows_what_still_stands(life: Life):
    record = forget(life.home, life.cup)
    shown = _shown(life.cup)
    assert f"forgotten {record.forgotten}" in shown and "4 checkpoints learned from it" in shown
    assert f"{life.watched}: 2 of 3" in shown


def test_of_a_video_that_was_captured_anew_it_tells_both_apart(life: Life):
    before = store.content(life.home, life.cup)
    anew = store.remember(life.home, videos.find(life.home, life.cup), []).content
    shown = _shown(life.cup)
    assert f"as captured before, content {str(before)[:12]}" in shown
    assert f"as remembered now, content {anew[:12]}" in shown
    told = json.loads(_shown(life.cup, "--json"))
    assert told["content"] == anew
    assert told["dependents"][anew]["generations"] == []
    assert told["dependents"][before]["generations"] == [life.generation.sha]


def test_what_nobody_knows_is_refused(life: Life):
    result = CliRunner().invoke(app, ["trace", "spoon"])
    assert "VIDEO@SECONDS" in str(result.exception)
