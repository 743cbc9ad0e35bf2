"""What a system that has learned sees, says and pictures, as small files to look at and listen to.

    python benchmarks/showcase.py --home HOME [--labels LABELS_JSON] [--out FOLDER]

HOME is a data folder in which `aela learn`, `aela watch` and the job `evaluate` have run, for
instance that of `make demo`. Writes ten remembered words as the system says them (FLAC), their
spectrograms beside those of the clips, what it pictures when it hears them, and distance
matrices and maps of images, words and predicted words. With labels, prints which word each listener
takes each sound for.
"""

import argparse
import io
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from aela.evaluation import pictures
from aela.evaluation.evaluate import evaluate
from aela.evaluation.labels import Labels
from aela.evaluation.listeners import LISTENERS
from aela.evaluation.moment_map import MappedMoment, map_moments
from aela.evaluation.vocabulary import discover
from aela.evaluation.window import Heard, look_through, place, required_image_decoder
from aela.memory import store
from aela.mimicry import generation as generations
from aela.mimicry.predict import predicted
from aela.mimicry.recall import Mimic
from aela.presets import DEFAULT_PRESET, preset
from aela.storage import Home, write_bytes

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

SHOWN_PX = 144  # side of an imagined picture
MAPPED_PX = 22  # height of a picture on the map


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/showcase"))
    arguments = parser.parse_args()
    home, out = Home.at(arguments.home), Home.at(arguments.out).root
    settings = preset(DEFAULT_PRESET)
    generation = generations.required(home)
    mimic = Mimic.load(home, generation, settings.mimicry)

    found = evaluate(home, mimic, settings.associator.window_s)
    for sense, distances in found.distances.items():
        picture = pictures.distance_matrix(distances, found.train, f"distances: {sense}")
        write_bytes(out / f"distances_{sense}.png", picture)
    write_bytes(out / "maps.png", _maps(map_moments(home, found, discover(home, mimic))))

    decoder = required_image_decoder(home, mimic)
    heard = look_through(home, mimic, decoder, predicted(home, generation.sha)).heard["remembered"]
    sounds = mimic.speak(np.stack([_code(mimic, clip) for clip in heard]))
    for number, sound in enumerate(sounds):
        write_bytes(out / f"said_{number}.flac", store.to_flac(sound))
    names = [f"{number} {kind}" for number in range(len(heard)) for kind in ("heard", "said")]
    both = [sound for clip, said in zip(heard, sounds, strict=True) for sound in (clip.clip, said)]
    write_bytes(out / "spectrograms.png", pictures.spectrograms(both, names))
    tiles = [tile for clip in heard for tile in (_large(clip.pictured), clip.like_frame)]
    names = [f"{number} {kind}" for number in range(len(heard)) for kind in ("pictured", "seen")]
    write_bytes(out / "pictured.png", pictures.contact_sheet(tiles, names))
    if arguments.labels:
        _listen(home, Labels(json.loads(arguments.labels.read_text())), heard, sounds)


def _maps(moments: list[MappedMoment]) -> bytes:
    """Each moment's picture where t-SNE puts it, by what is seen, heard and predicted."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 5.4), layout="constrained")
    titles = {"image": "what is seen", "word": "what is heard", "predicted": "what it would say"}
    for axis, (sense, title) in zip(axes, titles.items(), strict=True):
        axis.set(title=title, xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=[], yticks=[])
        for moment in moments:
            picture = Image.open(io.BytesIO(moment.picture))
            picture.thumbnail((4 * MAPPED_PX, 2 * MAPPED_PX))
            colour = "tab:red" if moment.watched else "0.6"
            frame = {"edgecolor": colour, "boxstyle": "square,pad=0.06"}
            image = OffsetImage(np.asarray(picture), zoom=0.5)
            axis.add_artist(AnnotationBbox(image, moment.places[sense], pad=0.06, bboxprops=frame))
    figure.suptitle("Moments remembered (grey frames) and only watched (red)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    plt.close(figure)
    drawn = Image.open(buffer).convert("RGB").quantize(256)
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _code(mimic: Mimic, clip: Heard) -> np.ndarray:
    """The word embedding of a remembered clip, by its name."""
    memory = mimic.remembering
    places = zip(memory.clip_videos, memory.clip_starts_s, strict=True)
    names = [place(video, start_s) for video, start_s in places]
    return memory.words[names.index(clip.name)]


def _large(picture: np.ndarray) -> bytes:
    large = Image.fromarray(picture).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC)
    return pictures.png(np.asarray(large))


def _listen(home: Home, labels: Labels, heard: list[Heard], sounds: list[np.ndarray]) -> None:
    references, words, of = [], [], {}
    for entry in store.remembered(home, role="learn"):
        for clip in store.read_clips(home, entry.video, ["start_s", "end_s", "flac"]).to_pylist():
            if word := labels.word((entry.video, clip["start_s"], clip["end_s"])):
                references.append(store.from_flac(clip["flac"]))
                words.append(word)
                of[place(entry.video, clip["start_s"])] = word
    named = {name: listener(sounds, references, words) for name, listener in LISTENERS.items()}
    print("| sound | word |", " | ".join(name.replace("_", " ") for name in named), "|")
    print("|---" * (len(named) + 2) + "|")
    for number, clip in enumerate(heard):
        print(f"| {number} | {of[clip.name]} |", " | ".join(n[number] for n in named.values()), "|")


if __name__ == "__main__":
    main()
