"""Ears only: which remembered clip does each word of a watched video sound most like?"""

import numpy as np

from aela.evaluation.score import Moment
from aela.memory import store
from aela.mimicry.generation import Generation
from aela.mimicry.recall import load_remembering
from aela.speech.speech import load_speech
from aela.storage import Home


def recognise(
    home: Home, generation: Generation, videos: list[str], device: str = "cpu"
) -> tuple[list[Moment], list[Moment]]:
    """The clips of `videos`, and for each the remembered one with the nearest word embedding.

    Embeddings are centred on memory and compared by cosine; neither labels nor pictures take part.
    """
    memory = load_remembering(
        home, generation.manifest, generation.image_encoder, generation.word_autoencoder
    )
    speech = load_speech(home, generation.word_autoencoder, device)
    mean = memory.words.mean(axis=0)
    known = _unit(memory.words - mean)
    heard: list[Moment] = []
    similar: list[Moment] = []
    for video in videos:
        clips = store.read_clips(home, video)
        if len(clips) == 0:
            continue
        nearest = (_unit(speech.embed(clips) - mean) @ known.T).argmax(axis=1)
        starts, ends = clips["start_s"].to_pylist(), clips["end_s"].to_pylist()
        heard += [(video, start, end) for start, end in zip(starts, ends, strict=True)]
        similar += [
            (
                str(memory.clip_videos[row]),
                float(memory.clip_starts_s[row]),
                float(memory.clip_ends_s[row]),
            )
            for row in nearest
        ]
    return heard, similar


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
