"""The words it has discovered: which remembered clips say the same, by ear alone.

Sayings are compared as the word autoencoder compares them (`aela.speech.likeness`), and put
together as long as each is more like all others of its word than not. No labels, no text, no
pictures.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from aela.association.pairs import read_pairs
from aela.evaluation.pictures import evenly
from aela.evaluation.window import place
from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry.recall import Mimic, rows_within
from aela.speech.likeness import likeness
from aela.speech.words import words_of
from aela.storage import Home

MOST_COMPARED = 200  # clips, in some ten seconds; the others join the word that they are nearest to
UNLIKE = 0.5  # unlikeness, 0 to 1, of the two most unlike sayings of one word
MOST_ASKED = 2000  # moments that are asked for their word
MOST_WORDS = 40
PICTURES = 4  # of one word


@dataclass(frozen=True)
class DiscoveredWord:
    """One word that was heard, and what became of it.

    Attributes:
        number: from 1, the most often heard first; name: where its middle saying was heard.
        clip, own_voice: that saying and what the system makes of it, mono samples [n] at 44.1 kHz.
        pictures: JPEGs of frames seen with it, from different videos where it was heard in several.
        heard: how often; videos: in how many.
        remembered: share, 0 to 1, of the frames seen with it that bring this word to mind by
            another saying than their own; None of what was heard once.
    """

    number: int
    name: str
    clip: np.ndarray
    own_voice: np.ndarray
    pictures: list[bytes]
    heard: int
    videos: int
    remembered: float | None


@dataclass(frozen=True)
class Vocabulary:
    """All words, and which remembered clip is of which.

    Attributes:
        words: the MOST_WORDS that were heard most often; found: how many there are.
        of_clips: the number of the word of each remembered clip, by its video and row there.
        middles: unit vectors [found, w] of words, about `mean` [w].
    """

    words: list[DiscoveredWord]
    found: int
    of_clips: dict[tuple[str, int], int]
    middles: np.ndarray
    mean: np.ndarray

    def of(self, words: np.ndarray) -> np.ndarray:
        """The numbers [n] of the words that word embeddings [n, w] are nearest to."""
        return _nearest(words - self.mean, self.middles)


def discover(home: Home, mimic: Mimic) -> Vocabulary:
    """The words in the memory of a generation, and how well it remembers them."""
    memory = mimic.remembering
    mean = memory.words.mean(axis=0)
    chosen = np.array(evenly(len(memory.words), MOST_COMPARED))
    kinds = _kinds(home, mimic, chosen)
    centred = embeddings.unit(memory.words - mean)
    middles = np.stack([centred[chosen[kinds == kind]].mean(axis=0) for kind in np.unique(kinds)])
    of_clips = _nearest(centred, middles)
    of_clips[chosen] = kinds
    counts = np.bincount(of_clips, minlength=len(middles) + 1)[1:]
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = np.arange(1, len(order) + 1)
    of_clips, middles = rank[of_clips - 1], middles[order]
    words = _described(home, mimic, of_clips, centred @ middles.T)
    places = zip(memory.clip_videos.tolist(), rows_within(memory.clip_videos).tolist(), strict=True)
    by_place = dict(zip(places, of_clips.tolist(), strict=True))
    return Vocabulary(words, len(middles), by_place, embeddings.unit(middles), mean)


def _kinds(home: Home, mimic: Mimic, chosen: np.ndarray) -> np.ndarray:
    """Which of some remembered clips say the same: numbers [chosen] from 1."""
    if len(chosen) < 2:
        return np.ones(len(chosen), int)
    memory = mimic.remembering
    rows = rows_within(memory.clip_videos)
    manifest = manifests.read(home, mimic.generation.manifest)
    entries = {entry.video: entry for entry in manifest.entries}
    words = []
    for video in dict.fromkeys(memory.clip_videos[chosen]):
        of_video = rows[chosen[memory.clip_videos[chosen] == video]]
        words += words_of(home, entries[video], of_video.tolist())
    unlike = 1 - likeness(words, np.random.default_rng(0)).astype(float)
    tree = linkage(squareform((unlike + unlike.T) / 2, checks=False), "complete")
    return fcluster(tree, UNLIKE, "distance")


def _nearest(words: np.ndarray, middles: np.ndarray) -> np.ndarray:
    return (words @ embeddings.unit(middles).T).argmax(axis=1) + 1


def _described(
    home: Home, mimic: Mimic, of_clips: np.ndarray, typical: np.ndarray
) -> list[DiscoveredWord]:
    """The words heard most often; `typical` [clips, words] is how near each clip is to a middle."""
    memory = mimic.remembering
    rows = rows_within(memory.clip_videos)
    moments = _moments(home, mimic)
    right = _brought_to_mind(mimic, of_clips, moments)
    found = []
    for number in range(1, min(of_clips.max(initial=0), MOST_WORDS) + 1):
        clips = np.flatnonzero(of_clips == number)
        middle = clips[typical[clips, number - 1].argmax()]
        video, row = str(memory.clip_videos[middle]), int(rows[middle])
        clip = store.read_row(home, video, "clip", row)
        [own_voice] = mimic.speak(memory.words[middle : middle + 1])
        asked = [right[clip] for clip in clips.tolist() if clip in right]
        found.append(
            DiscoveredWord(
                number,
                place(video, clip["start_s"]),
                store.from_flac(clip["flac"]),
                own_voice,
                _pictures(home, mimic, clips, moments),
                len(clips),
                len(set(memory.clip_videos[clips])),
                float(np.mean(asked)) if asked and len(clips) > 1 else None,
            )
        )
    return found


def _moments(home: Home, mimic: Mimic) -> dict[int, int]:
    """The row in memory of the frame nearest in time to each clip that has one near."""
    memory = mimic.remembering
    first_clip, first_frame = _first_rows(memory.clip_videos), _first_rows(memory.frame_videos)
    pairs = read_pairs(home, mimic.generation.pairs).to_pandas().sort_values("distance_s")
    nearest = pairs.drop_duplicates(["video", "clip"])
    return {
        first_clip[video] + clip: first_frame[video] + frame
        for video, clip, frame in zip(
            nearest["video"], nearest["clip"], nearest["frame"], strict=True
        )
        if video in first_clip and video in first_frame
    }


def _first_rows(videos: np.ndarray) -> dict[str, int]:
    """Where the rows of each video begin; videos follow each other."""
    found: dict[str, int] = {}
    for row, video in enumerate(map(str, videos)):
        found.setdefault(video, row)
    return found


def _brought_to_mind(
    mimic: Mimic, of_clips: np.ndarray, moments: dict[int, int]
) -> dict[int, bool]:
    """Of clips, whether the frame seen with each brings its word to mind, by another saying."""
    memory = mimic.remembering
    clips = np.array(sorted(moments))
    clips = clips[evenly(len(clips), MOST_ASKED)]
    if not len(clips) or len(memory.words) < 2:
        return {}
    frames = memory.images[[moments[clip] for clip in clips]]
    with torch.inference_mode():
        said = mimic.associator(torch.from_numpy(frames).to(mimic.device))
        heard = torch.from_numpy(memory.words).to(mimic.device)
        said, heard = (
            embeddings.unit(mimic.associator.standard_words(values).cpu().numpy())
            for values in (said, heard)
        )
    alike = said @ heard.T
    alike[np.arange(len(clips)), clips] = -np.inf
    right = of_clips[alike.argmax(axis=1)] == of_clips[clips]
    return dict(zip(clips.tolist(), right.tolist(), strict=True))


def _pictures(home: Home, mimic: Mimic, clips: np.ndarray, moments: dict[int, int]) -> list[bytes]:
    """Frames seen with some clips, from the middle of each of several videos first."""
    memory = mimic.remembering
    rows = rows_within(memory.frame_videos)
    by_video: dict[str, list[int]] = {}
    for clip in clips:
        if clip in moments:
            by_video.setdefault(str(memory.clip_videos[clip]), []).append(moments[clip])
    spread = [frames[len(frames) // 2] for frames in by_video.values()]
    spread = [spread[i] for i in evenly(len(spread), PICTURES)]
    others = [frame for frames in by_video.values() for frame in frames if frame not in spread]
    spread += [others[i] for i in evenly(len(others), PICTURES - len(spread))]
    return [
        store.read_row(home, memory.frame_videos[frame], "frame", int(rows[frame]), ["jpeg"])[
            "jpeg"
        ]
        for frame in spread
    ]
