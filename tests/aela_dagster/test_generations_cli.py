"""`aela generations`, as a person meets it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry import predict
from aela.mimicry.generation import Figures, Generation, NoWayBack, UnknownGeneration
from aela.storage import Home
from aela_dagster.cli import app
from tests.mimicry.taught import Taught, remember, teach


@dataclass(frozen=True)
class Past:
    """Three generations: the first has spoken, the second speaks, the third was refused."""

    taught: Taught
    first: Generation
    second: Generation
    third: Generation

    @property
    def home(self) -> Home:
        return self.taught.home


@pytest.fixture
def past(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    taught = teach(home, rooms=2)
    first = taught.generation()
    generations.publish(home, first, "It is the first.", Figures(0.95, 80))
    taught.videos.append(remember(home, "newcomer"))
    second = replace(taught.generation(right=0.8, seed=1), threshold=0.4, parent=first.sha)
    generations.publish(home, second, "", Figures(0.91, 80, 0.93))
    third = replace(taught.generation(right=0.0, seed=2), parent=second.sha)
    generations.refuse(home, third, "It agrees less.", Figures(0.51, 84, 0.9))
    return Past(taught, first, second, third)


def aela(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["generations", *arguments])


def test_ls_tells_what_became_of_each(past: Past):
    *table, refused = aela("ls").output.rstrip().splitlines()
    expected = {
        past.first: ("20", "160", "80", "0.950", "published"),
        past.second: ("▶", "21", "0.910 (0.930)", "published", past.first.sha[:12]),
        past.third: ("21", "0.510 (0.900)", "refused", past.second.sha[:12]),
    }
    rows = [line for line in table if "published" in line or "refused" in line]
    for row, (generation, shown) in zip(rows, expected.items(), strict=True):
        assert all(text in row for text in (generation.sha[:12], *shown)), row
    assert [row.count("▶") for row in rows] == [0, 1, 0]
    assert refused == f"{past.third.sha[:12]} refused: It agrees less."
    listed = json.loads(aela("ls", "--json", "--last", "2").output)
    assert [row["generation"] for row in listed] == [past.second.sha, past.third.sha]
    assert [row["speaks"] for row in listed] == [True, False]
    assert listed[1]["history"][0]["figures"] == {"agreement": 0.51, "moments": 84, "before": 0.9}


def test_an_empty_home_is_listed(home: Home):
    assert "Nothing was learned yet" in aela("ls").output


def watched(home: Home, generation: Generation, video: str, said: list[str | None]) -> None:
    shas = ("image_encoder", "mel_autoencoder", "word_autoencoder", "associator", "manifest")
    rows = [
        {
            "time_s": float(second),
            "said": clip is not None,
            "clip_video": clip or "whatever",
            "clip_start_s": 0.0,
            "frames": [],
            "generation": generation.sha,
            **{name: getattr(generation, name) for name in shas},
        }
        for second, clip in enumerate(said)
    ]
    table = pa.Table.from_pylist(rows, schema=predict.PREDICTIONS)
    predict.write(table, home.predictions(video, generation.sha))


def test_diff_tells_what_changed(past: Past):
    watched(past.home, past.first, "visit", ["cup", "cup", None])
    watched(past.home, past.second, "visit", ["cup", "pen", "pen"])
    shown = aela("diff", past.first.sha[:8], past.second.sha[:8])
    assert shown.exit_code == 0, shown.exception
    newcomer, forgot = past.taught.videos[-1], past.taught.videos[0]
    for text in (
        "image_encoder:",
        "Silent above 0.500 → 0.400",
        f"1 added: {newcomer}",
        "80 moments that both learned from",
        forgot,
    ):
        assert text in shown.output
    [answers] = [line for line in shown.output.splitlines() if "visit" in line]
    assert answers.split()[1:3] == ["3", "2"]
    assert "1.0 s: as in cup at 0.0 s → as in pen at 0.0 s" in answers
    found = json.loads(aela("diff", past.first.sha, past.second.sha, "--json").output)
    assert found["added"] == [newcomer] and found["removed"] == []
    assert found["comparison"]["new"]["share"] < found["comparison"]["old"]["share"]
    changes = {
        video: found["comparison"]["new"]["videos"][video] - share
        for video, share in found["comparison"]["old"]["videos"].items()
    }
    assert past.taught.videos.index(min(changes, key=lambda video: changes[video])) % 10 < 2


def test_diff_of_equals_and_of_unknown(past: Past):
    same = aela("diff", past.first.sha, past.first.sha).output
    for text in ("The same models.", "The same memory.", "They watched no video in common."):
        assert text in same
    unknown = aela("diff", "f00", past.first.sha)
    assert isinstance(unknown.exception, UnknownGeneration)
    assert "no generation 'f00'" in str(unknown.exception)


def test_rollback_to_the_parent_and_forth_again(past: Past):
    done = aela("rollback")
    assert f"{past.first.sha[:12]} speaks again; {past.second.sha[:12]}" in done.output
    assert generations.required(past.home).sha == past.first.sha
    assert "withdrawn: Rolled back to" in aela("ls").output
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("generation"))
        assert event and event.asset_materialization
        tags = event.asset_materialization.tags or {}
        assert tags["dagster/data_version"] == past.first.sha
        assert event.asset_materialization.metadata["generation"].value == past.first.sha
    assert isinstance(aela("rollback").exception, NoWayBack)
    aela("rollback", past.second.sha[:8])
    assert generations.required(past.home).sha == past.second.sha


def test_rollback_refuses_what_leans_on_something_forgotten(past: Past):
    forget(past.home, past.taught.videos[0])
    refused = aela("rollback")
    assert refused.exit_code == 1
    assert "forgotten since" in str(refused.exception)
    assert generations.required(past.home).sha == past.second.sha


@pytest.mark.parametrize("command", ["ls", "diff", "rollback"])
def test_every_command_gives_an_example(command: str):
    assert f"Example: aela generations {command}" in aela(command, "--help").output.replace("`", "")


def test_errors_are_one_sentence(past: Past, capfd: pytest.CaptureFixture, monkeypatch: Any):
    from aela_dagster import cli

    monkeypatch.setattr("sys.argv", ["aela", "generations", "rollback", "f00"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capfd.readouterr().err.strip().startswith("aela: There is no generation 'f00'")
