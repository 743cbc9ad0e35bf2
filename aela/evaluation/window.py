"""A window into the system: what it pictures when it sees, and when it hears a word.

Pictures are drawn by the image decoder, which nothing that predicts uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from aela.association.pairs import read_pairs
from aela.evaluation.labels import Stretch
from aela.evaluation.pictures import evenly
from aela.learning import embeddings
from aela.learning.checkpoints import UnknownCheckpoint
from aela.memory import store
from aela.memory.videos import without_hash
from aela.mimicry.imagine import imagine
from aela.mimicry.recall import Mimic, rows_within
from aela.storage import Home
from aela.vision.decoder import (
    ImageDecoder,
    current_image_decoder,
    load_image_decoder,
    seen_on_grey,
)

MOST_SEEN = 12  # frames shown, of memory and of what was watched each
MOST_HEARD = 10  # clips shown, of memory and of what was watched each
MOST_SORTED = 2000  # remembered clips that are sorted by kind, which takes the square of that
MOST_COMPARED = 1000  # remembered frames that an imagined picture is compared with


@dataclass(frozen=True)
class Seen:
    """A frame (JPEG), what the eye takes of it, and what is pictured: uint8 [s, s, 3] both."""

    name: str
    frame: bytes
    looked_at: np.ndarray
    pictured: np.ndarray


@dataclass(frozen=True)
class Heard:
    """A clip (mono samples [n] at 44.1 kHz) and what it brings to mind, uint8 [s, s, 3].

    `like` names the remembered frame that the picture resembles most, `like_frame` is its JPEG.
    """

    name: str
    clip: np.ndarray
    pictured: np.ndarray
    like: str
    like_frame: bytes


@dataclass(frozen=True)
class Window:
    """What is pictured, by what it was ("remembered", "watched")."""

    seen: dict[str, list[Seen]]
    heard: dict[str, list[Heard]]


def required_image_decoder(home: Home, mimic: Mimic) -> ImageDecoder:
    """The decoder of the embeddings that this generation's memory consists of.

    Raises:
        UnknownCheckpoint: it was not trained.
    """
    generation = mimic.generation
    found = current_image_decoder(home, generation.image_encoder, generation.manifest)
    if found is None:
        raise UnknownCheckpoint(
            f"There is no image decoder for generation {generation.sha[:12]} yet; "
            "materialize the asset image_decoder first."
        )
    return load_image_decoder(home, found.sha, mimic.device)


def look_through(home: Home, mimic: Mimic, decoder: ImageDecoder, watched: list[str]) -> Window:
    """Frames and clips of memory and of watched videos, and what is pictured with them."""
    memory = mimic.remembering
    number = rows_within(memory.frame_videos)
    remembered = [
        (memory.frame_videos[row], int(number[row])) for row in _middles(memory.frame_videos)
    ]
    new = [(video, row) for video in watched for row in range(store.count(home, video, "frame"))]
    album = _Album.of(home, mimic)
    clips = rows_within(memory.clip_videos)
    known = [(memory.clip_videos[row], int(clips[row])) for row in _kinds_of_words(mimic)]
    return Window(
        {
            "remembered": _seen(home, mimic, decoder, remembered),
            "watched": _seen(home, mimic, decoder, [new[i] for i in evenly(len(new), MOST_SEEN)]),
        },
        {
            "remembered": _heard(home, mimic, decoder, album, known),
            "watched": _heard(home, mimic, decoder, album, _some_clips(home, watched)),
        },
    )


def pictured_moments(
    home: Home, mimic: Mimic, decoder: ImageDecoder, videos: Sequence[str]
) -> tuple[list[Stretch], list[Stretch]]:
    """The clips of `videos`, and for each the clip of the moment that is pictured when it is heard.

    That is the remembered clip said with the frame that the imagined picture resembles most, pixel
    by pixel: what the word brought to mind, told without asking any network.
    """
    album = _Album.of(home, mimic)
    heard: list[Stretch] = []
    pictured: list[Stretch] = []
    for video, clips in ((v, some) for v in videos for some in store.in_parts(home, v, "clip")):
        drawn = decoder.draw(imagine(mimic, mimic.speech.embed(clips)))
        starts, ends = clips["start_s"].to_pylist(), clips["end_s"].to_pylist()
        heard += [(video, start, end) for start, end in zip(starts, ends, strict=True)]
        pictured += [album.clips[row] for row in album.most_alike(drawn)]
    return heard, pictured


@dataclass(frozen=True)
class _Album:
    """Remembered frames of moments as the eye takes them, float [n, s, s, 3].

    `frames` holds video and row of each, `clips` the nearest clip said with it.
    """

    pictures: np.ndarray
    frames: list[tuple[str, int]]
    clips: list[Stretch]

    @classmethod
    def of(cls, home: Home, mimic: Mimic) -> "_Album":
        pairs = read_pairs(home, mimic.generation.pairs).to_pandas()
        nearest = pairs.sort_values("distance_s").drop_duplicates(["video", "frame"])
        nearest = nearest.sort_values(["video", "frame"])
        nearest = nearest.iloc[evenly(len(nearest), MOST_COMPARED)]
        pictures, frames, clips = [], [], []
        for video, rows in nearest.groupby("video"):
            video = str(video)
            taken = store.read_rows(home, video, "frame", rows["frame"].tolist())
            pictures.append(seen_on_grey(taken, mimic.encoder.settings))
            frames += [(video, int(row)) for row in rows["frame"]]
            said = store.read_clips(home, video, ["start_s", "end_s"]).to_pylist()
            clips += [(video, said[row]["start_s"], said[row]["end_s"]) for row in rows["clip"]]
        return cls(np.concatenate(pictures).astype(np.float32), frames, clips)

    def most_alike(self, drawn: np.ndarray) -> list[int]:
        """For each picture, uint8 [n, s, s, 3], the row with the least squared difference."""
        return [
            int(((self.pictures - picture) ** 2).sum(axis=(1, 2, 3)).argmin()) for picture in drawn
        ]


def _seen(
    home: Home, mimic: Mimic, decoder: ImageDecoder, places: list[tuple[str, int]]
) -> list[Seen]:
    """What is pictured at each place, a video and the row of a frame."""
    found = []
    for video, row in places:
        frame = store.read_rows(home, video, "frame", [row])
        [looked_at] = seen_on_grey(frame, mimic.encoder.settings)
        image = embeddings.read(home, mimic.generation.image_encoder, video)[row]
        [pictured] = decoder.draw(image[None])
        name = place(video, frame["time_s"][0].as_py())
        found.append(Seen(name, frame["jpeg"][0].as_py(), looked_at, pictured))
    return found


def _heard(
    home: Home, mimic: Mimic, decoder: ImageDecoder, album: _Album, places: list[tuple[str, int]]
) -> list[Heard]:
    """What each clip, a video and a row, brings to mind."""
    if not places:
        return []
    encoder = mimic.generation.word_autoencoder
    words = np.stack([embeddings.read(home, encoder, video)[row] for video, row in places])
    drawn = decoder.draw(imagine(mimic, words))
    found = []
    for (video, row), picture, alike in zip(places, drawn, album.most_alike(drawn), strict=True):
        clip = store.read_row(home, video, "clip", row)
        like_video, like_row = album.frames[alike]
        like = store.read_row(home, like_video, "frame", like_row)
        found.append(
            Heard(
                place(video, clip["start_s"]),
                store.from_flac(clip["flac"]),
                picture,
                place(like_video, like["time_s"]),
                like["jpeg"],
            )
        )
    return found


def place(video: str, time_s: float) -> str:
    """A place in a video for people, without the hash in its key."""
    return f"{without_hash(video)} at {time_s:.1f} s"


def _middles(videos: np.ndarray) -> list[int]:
    """One row from the middle of each video, of at most MOST_SEEN videos."""
    starts = np.flatnonzero(np.r_[True, videos[1:] != videos[:-1]])
    middles = (starts + np.r_[starts[1:], len(videos)]) // 2
    return [int(middles[i]) for i in evenly(len(middles), MOST_SEEN)]


def _kinds_of_words(mimic: Mimic) -> list[int]:
    """Remembered clips that sound as different as can be: the middle one of each kind of word."""
    words = mimic.remembering.words
    if len(words) <= MOST_HEARD:
        return list(range(len(words)))
    rows = np.array(evenly(len(words), MOST_SORTED))
    units = embeddings.unit(words[rows] - words.mean(axis=0))
    kinds = fcluster(linkage(units, "ward"), MOST_HEARD, "maxclust")
    middles = [units[kinds == kind].mean(axis=0) for kind in np.unique(kinds)]
    return sorted({int(rows[row]) for row in (units @ np.stack(middles).T).argmax(axis=0)})


def _some_clips(home: Home, videos: list[str]) -> list[tuple[str, int]]:
    places = [(video, row) for video in videos for row in range(store.count(home, video, "clip"))]
    return [places[i] for i in evenly(len(places), MOST_HEARD)]
