"""What memory is made of: how long, how loud and how clear its clips are, how sharp its frames."""

import numpy as np

from aela.evaluation.pictures import evenly
from aela.memory import store
from aela.memory.store import Remembered
from aela.storage import Home

MOST_VIDEOS = 500  # that are read, spread evenly


def statistics(home: Home, memory: list[Remembered]) -> dict[str, np.ndarray]:
    """By what it measures, a value for each clip or frame [n] of the videos in memory."""
    clips, sharpness = [], []
    for number in evenly(len(memory), MOST_VIDEOS):
        video = memory[number].video
        table = store.read_clips(home, video, ["start_s", "end_s", "level_db", "snr_db"])
        clips.append(np.stack([column.to_numpy() for column in table.columns]))
        sharpness.append(store.read_frames(home, video, ["sharpness"])["sharpness"].to_numpy())
    if not clips:
        return {}
    start_s, end_s, level_db, snr_db = np.concatenate(clips, axis=1)
    return {
        "length of words, s": end_s - start_s,
        "level of words, dB full scale": level_db,
        "words above the noise, dB": snr_db,
        "sharpness of frames": np.concatenate(sharpness),
    }
