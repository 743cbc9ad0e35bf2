"""`aela demo`, as a stranger runs it: does it learn to say the names of what it sees?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aela.evaluation.score import score
from aela.mimicry import generation as generations
from aela.storage import Home
from aela_dagster.scoring import read_labels

LEAST_MARGIN = 0.25  # above chance, in share of known segments named right


@pytest.mark.slow
def test_the_demo_learns_to_name_what_it_sees(tmp_path: Path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AELA", "DAGSTER"))}
    result = subprocess.run(
        [sys.executable, "-m", "aela_dagster.cli", "demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    home = Home.at(tmp_path / "demo" / "data")
    sha = generations.required(home).sha
    tables = [Path(str(path)) for path in home.all_predictions.glob(f"*/{sha}.parquet")]
    found = score(tables, read_labels(tmp_path / "demo" / "videos" / "labels.json"), home)
    named = found["remembered"]["word_accuracy_forced"]["all"]
    assert named >= found["chance"] + LEAST_MARGIN
    assert found["sound"]["nearest_saying"]["right_answers"] > 0
    for what in ("Report", "Spoken videos", "Sounds", "aela up", "untrained network"):
        assert what in result.stdout
    assert home.report(sha).exists()
