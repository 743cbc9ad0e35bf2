"""Ears only: which remembered clip does each word of a watched video sound most like?"""

from aela.evaluation.labels import Stretch
from aela.learning import embeddings
from aela.memory import store
from aela.mimicry.recall import Mimic
from aela.storage import Home


def recognise(home: Home, mimic: Mimic, videos: list[str]) -> tuple[list[Stretch], list[Stretch]]:
    """The clips of `videos`, and for each the remembered one with the nearest word embedding.

    Embeddings are centred on memory and compared by cosine; neither labels nor pictures take part.
    """
    memory = mimic.remembering
    mean = memory.words.mean(axis=0)
    known = embeddings.unit(memory.words - mean)
    heard: list[Stretch] = []
    similar: list[Stretch] = []
    for video, clips in ((v, some) for v in videos for some in store.in_parts(home, v, "clip")):
        words = mimic.speech.embed(clips)
        nearest = (embeddings.unit(words - mean) @ known.T).argmax(axis=1)
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
