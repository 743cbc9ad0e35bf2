import copy
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, Clip
from aela.evaluation import score as scoring
from aela.evaluation import score_tables
from aela.memory import store
from aela.memory.videos import Video
from aela.storage import Home, write_bytes, write_json

LABELS = {
    "videos": [
        {
            "file": "train/cat a.mp4",  # a key spells the blank as "_"
            "segments": [{"start": 0, "end": 10, "kind": "known", "word": "signal"}],
            "utterances": [
                {"start": 1.0, "end": 1.8, "word": "signal"},
                {"start": 4.0, "end": 4.8, "word": "signal"},
            ],
        },
        {
            "file": "train/frog.mp4",
            "segments": [{"start": 0, "end": 10, "kind": "known", "word": "speech"}],
            "utterances": [{"start": 2.0, "end": 2.6, "word": "speech"}],
        },
        {
            "file": "test/mixed.mp4",
            "segments": [
                {"start": 0, "end": 8, "kind": "known", "word": "signal", "occluded": False},
                {"start": 8, "end": 12, "kind": "background", "word": None},
                {"start": 12, "end": 20, "kind": "known", "word": "speech", "occluded": True},
                {"start": 20, "end": 24, "kind": "unknown_object", "word": None},
                {"start": 24, "end": 26, "kind": "hand", "word": None},
                {"start": 26, "end": 30, "kind": "known", "word": "speech", "occluded": False},
            ],
            "utterances": [
                {"start": 6.0, "end": 6.7, "word": "signal"},
                {"start": 17.0, "end": 17.6, "word": "speech"},
                {"start": 29.0, "end": 29.6, "word": "speech"},
            ],
        },
    ]
}
SIGNAL = ("cat_a-01234567", 0.9, 1.9)
SPEECH = ("frog-89abcdef", 1.9, 2.7)
KNOCK = ("frog-89abcdef", 7.0, 7.2)  # no word was said there
VIDEO = "mixed-00112233"


def write_predictions(path, rows, video=VIDEO):
    """Rows are (time_s, said, clip, novelty, confidence, sound)."""
    table = pa.Table.from_pylist(
        [
            {
                "time_s": time_s,
                "said": said,
                "confidence": confidence,
                "novelty": novelty,
                "sound": sound if said else None,
                "clip_video": clip[0],
                "clip_start_s": clip[1],
                "clip_end_s": clip[2],
            }
            for time_s, said, clip, novelty, confidence, sound in rows
        ],
        schema=pa.schema(
            [
                ("time_s", pa.float64()),
                ("said", pa.bool_()),
                ("confidence", pa.float64()),
                ("novelty", pa.float64()),
                ("sound", pa.string()),
                ("clip_video", pa.string()),
                ("clip_start_s", pa.float64()),
                ("clip_end_s", pa.float64()),
            ]
        ),
    )
    pq.write_table(table.replace_schema_metadata({b"video": video.encode()}), path)
    return path


def row(time_s, clip, said=True, novelty=0.1, confidence=0.5, sound="signal.flac"):
    return time_s, said, clip, novelty, confidence, sound


MIXED = [
    row(0.2, SPEECH),  # too early to count for the word, but a wrong answer
    row(1.0, SIGNAL),
    row(2.0, SIGNAL, novelty=0.3),
    row(3.0, SPEECH),
    row(7.0, SPEECH),  # after the word was heard: wrong, and does not count for the word
    row(9.0, SIGNAL, said=False, novelty=0.8),
    row(11.0, SIGNAL, said=False, novelty=0.2),
    row(13.0, SPEECH, said=False, novelty=0.4),
    row(14.0, SPEECH, said=False, novelty=0.4),
    row(15.0, SIGNAL),
    row(21.0, SPEECH, novelty=0.9),
    row(22.0, SPEECH, said=False, novelty=0.9),
    row(25.0, SIGNAL, said=False, novelty=0.9),
    row(27.0, SPEECH, confidence=0.6),
    row(28.0, KNOCK, confidence=0.5),
]


@pytest.fixture
def mixed(tmp_path):
    return write_predictions(tmp_path / "mixed.parquet", MIXED)


def shares(accuracy, *parts):
    return [accuracy[part] for part in parts]


def test_a_segment_is_right_when_its_word_is_said_most_before_it_is_heard(mixed):
    remembered = scoring.score([mixed], LABELS, None)["remembered"]
    # First: signal 2 to 1. Second: said once, wrong. Third: a tie, won by confidence.
    assert shares(remembered["word_accuracy"], "all", "clear", "occluded") == [2 / 3, 1, 0]
    assert remembered["word_accuracy"]["by_video"] == {VIDEO: 2 / 3}
    assert remembered["recall"] == remembered["word_accuracy"]["all"]


def test_forced_answers_also_count_where_it_was_silent(mixed):
    forced = scoring.score([mixed], LABELS, None)["remembered"]["word_accuracy_forced"]
    assert shares(forced, "all", "clear", "occluded") == [1, 1, 1]


def test_precision_counts_every_answer_anywhere(mixed):
    scored = scoring.score([mixed], LABELS, None)
    # Right: 1.0, 2.0, 27.0 s. Wrong: 0.2, 3.0, 7.0, 15.0, 21.0 (unknown object), 28.0 (a knock).
    assert scored["remembered"]["precision"] == 3 / 9
    assert (scored["answers"], scored["frames"], scored["chance"]) == (9, 15, 0.5)
    assert scored["remembered"]["per_word"] == {
        "signal": {
            "segments": 1,
            "right": 1,
            "answers": 3,
            "right_answers": 2,
            "taken_for": {},
        },
        "speech": {
            "segments": 2,
            "right": 1,
            "answers": 5,
            "right_answers": 1,
            "taken_for": {"signal": 1},
        },
    }


def test_silence_is_counted_by_segment_and_by_frame(mixed):
    silence = scoring.score([mixed], LABELS, None)["silence"]
    assert {kind: s["silent_segments"] for kind, s in silence.items()} == {
        "all": pytest.approx(2 / 3),
        "background": 1.0,
        "hand": 1.0,
        "unknown_object": 0.0,
    }
    assert silence["unknown_object"] == {
        "segments": 1,
        "silent_segments": 0.0,
        "frames": 2,
        "silent_frames": 0.5,
    }


def test_novelty_tells_known_frames_from_others(mixed):
    areas = scoring.score([mixed], LABELS, None)["novelty_auroc"]
    assert areas["unknown_object"] == 1.0  # 0.9 is above every known frame
    # 0.8 and 0.9 beat all ten known frames, 0.2 beats seven of them.
    assert areas["background_and_hand"] == pytest.approx((10 + 10 + 7) / 30)


def test_no_answer_at_all_is_wrong_everywhere_and_precise_nowhere(tmp_path):
    path = write_predictions(tmp_path / "p", [row(1.0, SIGNAL, said=False)])
    scored = scoring.score([path], LABELS, None)
    assert shares(scored["remembered"]["word_accuracy"], "all") == [0]
    assert scored["remembered"]["precision"] is None
    assert scored["novelty_auroc"]["unknown_object"] is None
    assert "–" in score_tables.markdown(scored)


def test_videos_without_labels_are_named_and_left_out(mixed, tmp_path):
    other = write_predictions(tmp_path / "o", [row(1.0, SIGNAL)], video="holiday-76543210")
    scored = scoring.score([mixed, other], LABELS, None)
    assert scored["unlabelled"] == ["holiday-76543210"]
    assert scored["frames"] == len(MIXED)
    assert "holiday-76543210" in score_tables.markdown(scored)
    assert scoring.score([other], LABELS, None)["videos"] == []


def test_a_clip_comes_from_the_training_video_of_that_name(tmp_path):
    labels = copy.deepcopy(LABELS)
    labels["videos"].append(
        {
            "file": "test/frog.mp4",
            "segments": [{"start": 0, "end": 10, "kind": "known", "word": "signal"}],
            "utterances": [{"start": 2.0, "end": 2.6, "word": "signal"}],
        }
    )
    path = write_predictions(tmp_path / "p", [row(1.0, SPEECH)], video="frog-00000000")
    remembered = scoring.score([path], labels, None)["remembered"]
    assert remembered["per_word"]["speech"]["answers"] == 1
    assert remembered["per_word"]["signal"] == {
        "segments": 1,
        "right": 0,
        "answers": 0,
        "right_answers": 0,
        "taken_for": {"speech": 1},
    }


def spoken(word, level=1.0):
    """Half a second of a voice-like sound that glides in its own way for each word."""
    time = np.arange(22_050) / SAMPLE_RATE_HZ
    start, end = {"signal": (700, 2600), "speech": (2400, 500)}[word]
    formant = start + (end - start) * time / time[-1]
    pitch = 130
    sound = sum(
        np.exp(-(((pitch * k - formant) / 300) ** 2)) * np.sin(2 * np.pi * pitch * k * time)
        for k in range(1, 40)
    )
    return (0.1 * level * sound * np.hanning(len(time))).astype(np.float32)


def test_each_listener_names_generated_sounds_by_the_remembered_clips(tmp_path):
    home = Home.at(tmp_path / "home")
    for (video, start, end), word in ((SIGNAL, "signal"), (SPEECH, "speech")):
        clip = Clip(start, end, spoken(word), 0.1, -20.0, 30.0)
        record = Video(video, ("learn",), (video,), video, "", 1, "")
        write_json(home.videos / f"{video}.json", asdict(record))
        store.remember(home, record, [clip])
    # The watched video's own words; the last one is another than its label says.
    own = Video(VIDEO, ("watch",), (VIDEO,), VIDEO, "", 1, "")
    write_json(home.videos / f"{VIDEO}.json", asdict(own))
    said = ((6.0, "signal"), (17.0, "speech"), (29.0, "signal"))
    clips = [Clip(start, start + 0.7, spoken(word), 0.1, -20.0, 30.0) for start, word in said]
    store.remember(home, own, clips)
    for word in ("signal", "speech"):
        write_bytes(home.root / f"sounds/{word}.flac", store.to_flac(spoken(word, level=0.3)))
    rows = [
        # The nearest clip says one thing, the generated sound another.
        row(1.0, SPEECH, sound="sounds/signal.flac"),
        row(2.0, SPEECH, sound="sounds/signal.flac"),
        row(13.0, SPEECH, sound="sounds/signal.flac"),
        row(27.0, SPEECH, sound="sounds/speech.flac"),
    ]
    path = UPath(write_predictions(tmp_path / "p", rows))
    scored = scoring.score([path], LABELS, home)
    assert list(scored["sound"]) == ["nearest_saying", "classifier"]
    for sound in scored["sound"].values():
        assert shares(sound["word_accuracy"], "all", "occluded") == [2 / 3, 0]
        assert sound["precision"] == 0.75
        assert sound["per_word"]["speech"]["taken_for"] == {"signal": 1}
        assert sound["survival"] == 0.25  # only the last sound says what the clip says
        assert sound["real_words"] == 2 / 3
    assert scored["remembered"]["precision"] == 0.5
    text = score_tables.markdown(scored)
    assert "| sound, by nearest saying | 75% | 25% | 67% |" in text
    assert "| all | 3 | 67% | 67% | 67% | 67% |" in text


def test_words_are_recognised_by_ear():
    heard = [(VIDEO, 5.9, 6.8), (VIDEO, 17.0, 17.7), ("holiday-76543210", 1.0, 2.0)]
    videos = {moment[0] for moment in heard}
    recognised = scoring.word_recognition(videos, heard, [SIGNAL, SIGNAL, SIGNAL], LABELS)
    # The third utterance, at 29 s, was not caught at all.
    assert recognised["all"] == 1 / 3
    assert list(recognised["by_video"]) == [VIDEO]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: [], 'a list "videos"'),
        (lambda labels: {"videos": [{"segments": []}]}, r"videos\[0\].*file"),
        (lambda labels: {"videos": [{"file": "a.mp4"}]}, r'videos\[0\].*"segments"'),
        (lambda labels: labels["videos"][2]["segments"][1].update(kind="sky") or labels, "sky"),
        (lambda labels: labels["videos"][2]["segments"][0].pop("word") and labels, r"\[0\].*word"),
        (
            lambda labels: labels["videos"][0]["utterances"][1].update(end=None) or labels,
            r"videos\[0\].utterances\[1\].*start",
        ),
        (
            lambda labels: labels["videos"][0]["segments"][0].update(end=-1) or labels,
            '"start" before "end"',
        ),
    ],
)
def test_malformed_labels_are_refused_with_their_place(mixed, change, message):
    with pytest.raises(ValueError, match=message):
        scoring.score([mixed], change(copy.deepcopy(LABELS)), None)


def test_what_is_no_prediction_table_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"time_s": [1.0]}), path)
    with pytest.raises(ValueError, match=r"lacks .*clip_end_s"):
        scoring.score([path], LABELS, None)


def test_a_video_is_scored_once(mixed):
    with pytest.raises(ValueError, match="2 prediction tables"):
        scoring.score([mixed, mixed], LABELS, None)


def test_the_table_shows_the_figures(mixed):
    text = score_tables.markdown(scoring.score([mixed], LABELS, None))
    assert "| all | 3 | 67% | 100% |" in text
    assert "| speech | 1 of 2 | 1 of 5 | signal 1× |" in text
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines()}
        assert len(widths) == 1  # or Markdown shows no table


def test_segments_tell_what_was_shown_and_said(mixed):
    labels = copy.deepcopy(LABELS)
    labels["videos"][2]["segments"][0]["object"] = "cat"
    rows = scoring.segments([mixed], labels)
    assert [(row["shown"], row["said"], row["right"]) for row in rows] == [
        ("cat", "signal", True),
        ("background", None, True),
        ("speech", "signal", False),
        ("unknown object", "speech", False),
        ("hand", None, True),
        ("speech", "speech", True),
    ]
    assert (rows[1]["video"], rows[1]["start"], rows[1]["end"]) == (VIDEO, 8, 12)
