import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aela.evaluation.thresholds import precision_recall

LABELS = {
    "videos": [
        {
            "file": "train/cat.mp4",
            "segments": [{"start": 0, "end": 10, "kind": "known", "word": "signal"}],
            "utterances": [{"start": 1.0, "end": 1.8, "word": "signal"}],
        },
        {
            "file": "test/mixed.mp4",
            "segments": [
                {"start": 0, "end": 10, "kind": "known", "word": "signal"},
                {"start": 10, "end": 20, "kind": "background", "word": None},
            ],
        },
    ]
}


@pytest.fixture
def table(tmp_path):
    """A known thing looks ever newer until, at 10 s, there is nothing but a new room."""
    times = np.arange(0.5, 20)
    columns = {
        "time_s": times,
        "said": [False] * 20,
        "confidence": [0.9] * 20,
        "novelty": times / 20,
        "sound": pa.nulls(20, pa.string()),
        "clip_video": ["cat-01234567"] * 20,
        "clip_start_s": [1.0] * 20,
        "clip_end_s": [1.8] * 20,
    }
    path = tmp_path / "mixed.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata({"video": "mixed-00112233"}), path)
    return path


def test_the_more_is_said_the_less_of_it_is_right(table):
    points, used = precision_recall([table], LABELS, 0.5)
    assert used and (used.precision, used.recall) == (1.0, 1.0)
    precisions = [p.precision for p in points]
    assert precisions[0] == 1.0
    assert precisions[-1] == pytest.approx(0.5)
    thresholds = [p.threshold for p in points]
    assert thresholds == sorted(thresholds)


def test_a_threshold_below_everything_is_mute(table):
    _, used = precision_recall([table], LABELS, 0.0)
    assert used and used.precision is None and used.recall == 0.0


def test_without_labels_there_is_no_curve(table):
    assert precision_recall([table], {"videos": []}, 0.5) == ([], None)
