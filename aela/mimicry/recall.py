"""Recall: from what is seen to the word that was heard with it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from aela.association.associator import Associator, load_associator
from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.memory.manifest import EmptyMemory
from aela.mimicry.generation import Generation
from aela.mimicry.novelty import few_at_a_time, nearest, novelty
from aela.mimicry.settings import MimicrySettings
from aela.mimicry.steady import steadied
from aela.speech.speech import Speech, load_speech
from aela.storage import Home
from aela.vision.encoder import ImageEncoder, load_image_encoder


@dataclass(frozen=True)
class Remembering:
    """What of memory one generation can recall, row for row: videos in which something was said.

    Attributes:
        images: float32 [frames, d], L2-normalised; ground: float32 [g, d], what was seen beside the
            things, too; words: float32 [clips, w].
        frame_videos, ground_videos, clip_videos: object arrays of partition keys.
        frame_times_s, clip_starts_s, clip_ends_s: float64, seconds in their video.
    """

    images: np.ndarray
    ground: np.ndarray
    frame_videos: np.ndarray
    ground_videos: np.ndarray
    frame_times_s: np.ndarray
    words: np.ndarray
    clip_videos: np.ndarray
    clip_starts_s: np.ndarray
    clip_ends_s: np.ndarray


def rows_within(videos: np.ndarray) -> np.ndarray:
    """The row of each frame or clip within its own video, int [n], by their videos [n], one block
    for each.
    """
    starts = np.flatnonzero(np.r_[True, videos[1:] != videos[:-1]])
    return np.arange(len(videos)) - np.repeat(starts, np.diff(np.r_[starts, len(videos)]))


def load_remembering(
    home: Home, manifest_sha: str, image_encoder: str, word_autoencoder: str
) -> Remembering:
    """Read the embeddings and times of what a manifest names and was not forgotten.

    Silent videos have taught the image encoder, but their frames bring no word to mind.

    Raises:
        ChangedMemory: memory holds other rows than the manifest names.
        EmptyMemory: no frame or no clip of it is left.
    """
    manifest = manifests.remaining(home, manifests.read(home, manifest_sha)).named
    if not manifest.frames or not manifest.clips:
        raise EmptyMemory(
            "All that the current generation had learned from was forgotten; learn from other "
            "videos first."
        )
    frames, clips = [], []
    for video, table in manifests.rows(home, manifest, "frame", ["time_s"]):
        frames.append(table.append_column("video", pa.array([video] * len(table))))
    for video, table in manifests.rows(home, manifest, "clip", ["start_s", "end_s"]):
        clips.append(table.append_column("video", pa.array([video] * len(table))))
    frame, clip = pa.concat_tables(frames), pa.concat_tables(clips)
    ground, first = embeddings.gather(home, image_encoder, manifest, "ground")
    counts = np.diff([*first.values(), len(ground)])
    return Remembering(
        embeddings.gather(home, image_encoder, manifest, "frame")[0],
        ground,
        np.array(frame["video"].to_pylist(), dtype=object),
        np.repeat(np.array([*first], dtype=object), counts),
        frame["time_s"].to_numpy(),
        embeddings.gather(home, word_autoencoder, manifest, "clip")[0],
        np.array(clip["video"].to_pylist(), dtype=object),
        clip["start_s"].to_numpy(),
        clip["end_s"].to_numpy(),
    )


@dataclass(frozen=True)
class Recollection:
    """What n frames bring to mind.

    Attributes:
        codes: float32 [n, w] predicted word embeddings.
        clips: int [n] row of the nearest remembered clip.
        confidence: float [n], 0 to 1: cosine between prediction and that clip, centred.
        novelty: float [n], 0 (a thing seen before) to 1 (bare ground).
        frames: int [n, k] rows of the nearest remembered frames, `similarity` [n, k] theirs.
    """

    codes: np.ndarray
    clips: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray
    frames: np.ndarray
    similarity: np.ndarray


class Mimic:
    """One generation, loaded: sees frames, remembers words, speaks."""

    def __init__(
        self,
        generation: Generation,
        settings: MimicrySettings,
        remembering: Remembering,
        encoder: ImageEncoder,
        associator: Associator,
        speech: Speech,
        device: str,
    ) -> None:
        self.generation = generation
        self.settings = settings
        self.remembering = remembering
        self.encoder = encoder
        self.associator = associator
        self.speech = speech
        self.device = device

    @classmethod
    def load(
        cls, home: Home, generation: Generation, settings: MimicrySettings, device: str = "cpu"
    ) -> "Mimic":
        return cls(
            generation,
            settings,
            load_remembering(
                home, generation.manifest, generation.image_encoder, generation.word_autoencoder
            ),
            load_image_encoder(home, generation.image_encoder, device),
            load_associator(home, generation.associator, device),
            load_speech(home, generation.word_autoencoder, device),
            device,
        )

    def recall(self, images: np.ndarray, times_s: np.ndarray) -> Recollection:
        """What the frames of one video bring to mind, each in the light of those just before.

        Args:
            images: float32 [n, d], their embeddings by `encoder`.
            times_s: float [n], rising.
        """
        memory, neighbours = self.remembering, self.settings.neighbours
        with torch.inference_mode():
            single = self.associator(torch.from_numpy(images).to(self.device)).cpu().numpy()
        strange = novelty(images, memory.images, memory.ground, neighbours)
        steady = steadied(
            np.column_stack([single, strange]),
            images,
            times_s,
            self.settings.steady_s,
        )
        codes, strange = steady[:, :-1], steady[:, -1]
        said, heard = (embeddings.unit(self._standard(values)) for values in (codes, memory.words))
        words = [nearest(some @ heard.T, 1) for some in few_at_a_time(said)]
        clips, sure = (np.concatenate(part)[:, 0] for part in zip(*words, strict=True))
        frames = [nearest(some @ memory.images.T, neighbours) for some in few_at_a_time(images)]
        frame_rows, similarity = (np.concatenate(part) for part in zip(*frames, strict=True))
        return Recollection(codes, clips, sure.clip(0, 1), strange, frame_rows, similarity)

    @torch.inference_mode()
    def _standard(self, words: np.ndarray) -> np.ndarray:
        return self.associator.standard_words(torch.from_numpy(words).to(self.device)).cpu().numpy()

    def speak(self, codes: np.ndarray) -> list[np.ndarray]:
        """Word embeddings [n, w] as n sounds: float32 at 44.1 kHz."""
        return self.speech.speak(codes)
