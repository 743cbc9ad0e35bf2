from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.signal import lfilter
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, Clip
from aela.learning import embeddings
from aela.learning.checkpoints import Checkpoint, UnknownCheckpoint
from aela.learning.loop import Budget, Progress
from aela.memory import manifest, store
from aela.memory.manifest import EmptyMemory, Manifest
from aela.memory.store import from_flac
from aela.memory.videos import Video
from aela.speech import word_autoencoder
from aela.speech.likeness import likeness
from aela.speech.mel import HOP_S, log_mel
from aela.speech.mel_autoencoder import MelAutoencoder, train_mel_autoencoder
from aela.speech.settings import (
    ARTICLE_MEL,
    ARTICLE_WORD,
    QUICK_MEL,
    QUICK_WORD,
    MelAutoencoderSettings,
    WordAutoencoderSettings,
)
from aela.speech.speech import Speech, load_speech
from aela.speech.trial import HELD_OUT_SHARE, UNTIL_SPENT
from aela.speech.voice import to_sound
from aela.speech.word_autoencoder import train_word_autoencoder
from aela.speech.words import lesson, remembered_words
from aela.storage import Home, write_json

# Words as sequences of vowels: formants in Hz.
VOWELS = {"a": (800, 1200), "i": (300, 2300), "u": (320, 800), "e": (500, 1900)}
WORDS = ("aui", "ia", "ue")
VOICES = {"low": 110.0, "high": 180.0}
SAYINGS = 4
PRE_ROLL_S = 0.1

MEL = replace(QUICK_MEL, budget=Budget(100), width=16, batch=8, crop_s=0.32)
WORD = replace(QUICK_WORD, budget=Budget(250), size=96, batch=24, other_voices=2, code_noise=0.1)


def say(word: str, pitch_hz: float, seconds: float) -> np.ndarray:
    """A word by a buzz through two resonances for each of its vowels, float32 [n]."""
    sounds = []
    for vowel in word:
        count = round(seconds / len(word) * SAMPLE_RATE_HZ)
        sound = (np.arange(count) * pitch_hz / SAMPLE_RATE_HZ % 1.0) - 0.5
        for formant in VOWELS[vowel]:
            radius = np.exp(-np.pi * 90 / SAMPLE_RATE_HZ)
            angle = 2 * np.pi * formant / SAMPLE_RATE_HZ
            sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
        sounds.append(sound / np.abs(sound).max())
    return (0.3 * np.concatenate(sounds)).astype(np.float32)


def clip_of(sound: np.ndarray, start_s: float, rng: np.random.Generator) -> Clip:
    seconds = len(sound) / SAMPLE_RATE_HZ
    roll = round(PRE_ROLL_S * SAMPLE_RATE_HZ)
    samples = np.pad(sound, (roll, max(roll, SAMPLE_RATE_HZ - roll - len(sound))))
    samples = samples + rng.normal(0, 1e-3, len(samples)).astype(np.float32)
    return Clip(start_s, start_s + seconds, samples.astype(np.float32), PRE_ROLL_S, -20.0, 40.0)


def remember(home: Home, name: str, sounds: list[np.ndarray]) -> None:
    rng = np.random.default_rng(len(name))
    clips = [clip_of(sound, 3.0 * i, rng) for i, sound in enumerate(sounds)]
    video = Video(name, ("learn",), (name,), name, "", 1, "")
    write_json(home.videos / f"{name}.json", asdict(video))
    store.remember(home, video, clips)


def sayings(word: str, voice: str) -> list[np.ndarray]:
    rng = np.random.default_rng([len(word), len(voice)])
    return [
        say(word, VOICES[voice] * rng.uniform(0.95, 1.05), rng.uniform(0.4, 0.7))
        for _ in range(SAYINGS)
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A memory of three words, each said four times by each of two voices."""
    home = Home.at(UPath(tmp_path_factory.mktemp("home")))
    for word in WORDS:
        for voice in VOICES:
            remember(home, f"{word}-{voice}", sayings(word, voice))
    return home


@pytest.fixture(scope="module")
def memory(home: Home) -> Manifest:
    return manifest.take(home)


@pytest.fixture(scope="module")
def mel(home: Home, memory: Manifest) -> Checkpoint:
    return train_mel_autoencoder(home, memory, MEL, seed=1)


@pytest.fixture(scope="module")
def word(home: Home, memory: Manifest, mel: Checkpoint) -> Checkpoint:
    return train_word_autoencoder(home, memory, mel, WORD, seed=1)


@pytest.fixture(scope="module")
def speech(home: Home, word: Checkpoint) -> Speech:
    return load_speech(home, word.sha)


def test_features_do_not_depend_on_the_level():
    sound = say("aui", 120.0, 0.5)
    assert np.allclose(log_mel(sound), log_mel(0.05 * sound), atol=1e-3)
    assert abs(len(log_mel(sound)) - 50) <= 1


def test_features_of_a_word_are_those_of_its_clip():
    sound = say("ia", 120.0, 0.5)
    clip = clip_of(sound, 0.0, np.random.default_rng(0))
    inside = log_mel(clip.samples, clip.word_start_s, clip.end_s - clip.start_s)
    alone = log_mel(sound)
    assert inside.shape == alone.shape
    assert np.abs(inside - alone)[5:-5].mean() < 0.25


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1000), np.ones(1), np.zeros(44_100)])
def test_silence_and_scraps_have_finite_features(samples: np.ndarray):
    features = log_mel(samples.astype(np.float32))
    assert len(features) >= 1
    assert np.isfinite(features).all()


def test_sound_made_from_features_has_these_features():
    features = log_mel(say("aui", 120.0, 0.6))
    again = log_mel(to_sound(features))
    assert again.shape == features.shape
    assert np.abs(again - features)[3:-3].mean() < 0.1 * features.mean()


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_even_the_shortest_word_can_be_said(frames: int):
    features = log_mel(say("a", 120.0, 0.5))[20 : 20 + frames]
    sound = to_sound(features)
    assert len(sound) == round(frames * HOP_S * SAMPLE_RATE_HZ)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.1


def test_same_words_are_alike_across_voices(home: Home, memory: Manifest):
    words = remembered_words(home, memory)
    alike = likeness(words, np.random.default_rng(0))
    said = np.array([word.video.split("-")[0] for word in words])
    voice = np.array([word.video.split("-")[1] for word in words])
    other_voice = voice[:, None] != voice
    same_word = said[:, None] == said
    assert alike[other_voice & same_word].mean() > 2 * alike[~same_word].mean()
    assert 0 <= alike.min() <= alike.max() <= 1


@pytest.mark.parametrize("count", [2, 3])
def test_alike_words_are_found_without_knowing_how_many_there_are(
    home: Home, memory: Manifest, count: int
):
    words = [w for w in remembered_words(home, memory) if w.video.split("-")[0] in WORDS[:count]]
    alike = likeness(words, np.random.default_rng(0))
    said = np.array([word.video.split("-")[0] for word in words])
    same_word = said[:, None] == said
    assert (alike[same_word] > 0.3).mean() > 0.9
    assert (alike[~same_word] > 0.3).mean() < 0.1


def test_cards_tell_how_training_went(word: Checkpoint, mel: Checkpoint, memory: Manifest):
    assert mel.card.metrics["last_mel"] < 0.5 * mel.card.metrics["first_mel"]
    metrics = word.card.metrics
    assert metrics["last_reconstruction"] < 0.6 * metrics["first_reconstruction"]
    assert metrics["seen_length_error"] < 0.1
    assert {"held_out_reconstruction", "held_out_length_error"} <= metrics.keys()
    assert word.card.inputs == {"mel_autoencoder": mel.sha}
    assert word.card.manifest == memory.sha
    assert word.card.curve[-1]["step"] == WORD.budget.steps


def test_codes_tell_words_apart(home: Home, memory: Manifest, speech: Speech):
    codes, said = [], []
    for video, clips in manifest.rows(home, memory, "clip"):
        codes.append(speech.embed(clips))
        said += [video.split("-")[0]] * len(clips)
    codes, said = np.concatenate(codes), np.array(said)
    assert codes.shape == (len(said), 32)
    assert codes.dtype == np.float32
    distances = np.linalg.norm(codes[:, None] - codes, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (said[distances.argmin(1)] == said).mean() > 0.9


def test_a_word_is_said_as_long_as_it_was(home: Home, memory: Manifest, speech: Speech):
    for _, clips in manifest.rows(home, memory, "clip"):
        seconds = clips["end_s"].to_numpy() - clips["start_s"].to_numpy()
        spoken = [len(s) / SAMPLE_RATE_HZ for s in speech.speak(speech.embed(clips))]
        assert np.median(np.abs(spoken / seconds - 1)) < 0.15


def test_spoken_words_are_clean_and_the_same_each_time(speech: Speech):
    codes = speech.embed(sayings("ue", "low")[:2])
    for sound, again in zip(speech.speak(codes), speech.speak(codes), strict=True):
        assert sound.dtype == np.float32
        assert 0.3 < np.abs(sound).max() <= 0.95 or np.isclose(np.sqrt(np.mean(sound**2)), 0.1)
        assert np.abs(sound[[0, -1]]).max() < 1e-3
        assert np.array_equal(sound, again)


def test_a_spoken_word_is_heard_as_that_word(speech: Speech):
    codes = speech.embed([sayings(word, "low")[0] for word in WORDS])
    heard = speech.embed(speech.speak(codes))
    assert (np.linalg.norm(heard[:, None] - codes, axis=2).argmin(1) == np.arange(3)).all()
    assert ((heard > 0) == (codes > 0)).mean() > 0.8


def test_a_code_does_not_depend_on_the_other_words(speech: Speech):
    short, long = say("ia", 120.0, 0.3), say("aui", 120.0, 1.7)
    assert np.allclose(speech.embed([short]), speech.embed([short, long])[:1], atol=1e-5)
    assert speech.embed([]).shape == (0, 32)
    assert speech.speak(np.zeros((0, 32), np.float32)) == []


def test_any_code_can_be_spoken(speech: Speech):
    codes = np.random.default_rng(0).normal(0, 3, (3, 32)).astype(np.float32)
    lengths = [len(s) for s in speech.speak(codes) if np.isfinite(s).all()]
    assert len(lengths) == 3
    assert min(lengths) > 0


def test_same_seed_same_checkpoints(home: Home, memory: Manifest, mel: Checkpoint):
    short_mel, short_word = replace(MEL, budget=Budget(3)), replace(WORD, budget=Budget(3))
    mels = [train_mel_autoencoder(home, memory, short_mel, seed=s).sha for s in (5, 5, 6)]
    assert mels[0] == mels[1] != mels[2]
    words = [train_word_autoencoder(home, memory, mel, short_word, seed=s).sha for s in (5, 5, 6)]
    assert words[0] == words[1] != words[2]


def test_held_out_words_are_not_trained_on_until_they_are_let_in(
    home: Home, memory: Manifest, mel: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[set[int]] = []
    measured = word_autoencoder.likeness_error

    def watched(codes: torch.Tensor, picked: torch.Tensor, alike: torch.Tensor) -> torch.Tensor:
        drawn.append(set(picked.tolist()))
        return measured(codes, picked, alike)

    monkeypatch.setattr(word_autoencoder, "likeness_error", watched)
    train_word_autoencoder(home, memory, mel, replace(WORD, budget=Budget(40)), seed=1)
    words = len(WORDS) * len(VOICES) * SAYINGS
    assert len(set.union(*drawn[: int(UNTIL_SPENT * 40)])) == words - int(words * HELD_OUT_SHARE)
    assert len(set.union(*drawn)) == words


def test_training_goes_on_from_a_parent(
    home: Home, memory: Manifest, mel: Checkpoint, word: Checkpoint
):
    reports: list[Progress] = []
    more = train_word_autoencoder(
        home,
        memory,
        mel,
        replace(WORD, budget=Budget(2)),
        seed=2,
        parent=word,
        report=reports.append,
    )
    assert more.card.parent == word.sha
    start = reports[0].losses["reconstruction"]
    assert start < 0.7 * word.card.metrics["first_reconstruction"]


def test_in_a_round_old_words_stay_where_they_lay_and_the_card_tells(
    home: Home, memory: Manifest, mel: Checkpoint, word: Checkpoint
):
    embeddings.refresh(home, word.sha, memory, "clip", load_speech(home, word.sha).embed)
    clips = pa.concat_tables([store.read_clips(home, entry.video) for entry in memory.entries])
    before, kept = _about_nought(load_speech(home, word.sha).embed(clips)), {}
    for weight in (0.0, 10.0):
        settings = replace(WORD, budget=Budget(40), kept=weight)
        child = train_word_autoencoder(home, memory, mel, settings, seed=5, parent=word)
        now = _about_nought(load_speech(home, child.sha).embed(clips))
        kept[weight] = child.card.metrics["kept"]
        assert kept[weight] == pytest.approx((now * before).sum(axis=1).mean(), abs=1e-3)
    assert kept[0.0] < kept[10.0] - 0.005
    assert "kept" not in word.card.metrics


def _about_nought(codes: np.ndarray) -> np.ndarray:
    return embeddings.unit(codes - codes.mean(axis=0))


def test_of_what_is_old_only_the_words_that_are_drawn_are_listened_to(
    home: Home, memory: Manifest, word: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    heard = remembered_words(home, memory)
    entries = [(entry, clip) for entry in memory.entries for clip in range(entry.clips)]
    listened = []
    monkeypatch.setattr(
        "aela.speech.words.from_flac", lambda flac: listened.append(flac) or from_flac(flac)
    )
    few = replace(QUICK_WORD, replayed=3)
    learned = lesson(home, memory, word, few, np.random.default_rng(0))
    assert len(listened) == len(learned.words) == 3 < len(heard)
    places = [(entry, clip) for entry, clips in learned.again for clip in clips]
    for one, place in zip(learned.words, places, strict=True):
        before = heard[entries.index(place)]
        assert (one.video, one.start_s) == (before.video, before.start_s)
        assert np.array_equal(one.features, before.features)


def test_of_a_memory_too_large_some_words_of_all_videos_are_learned(home: Home, memory: Manifest):
    few = replace(QUICK_WORD, clips_most=len(memory.entries) * 2)
    learned = lesson(home, memory, None, few, np.random.default_rng(0))
    assert len(learned.words) == learned.new == few.clips_most < learned.remembered
    assert learned.remembered == memory.clips
    assert len({word.video for word in learned.words}) > len(memory.entries) / 2
    places = [(word.video, word.start_s) for word in learned.words]
    assert len(set(places)) == len(places) and places == sorted(places)


def test_article_preset_codes_each_second_on_its_own(home: Home, memory: Manifest):
    network = MelAutoencoder(replace(ARTICLE_MEL, width=8)).eval()
    features = torch.from_numpy(log_mel(say("aui", 120.0, 1.7)))[None]
    changed = features.clone()
    changed[:, 100:] = 0
    assert torch.equal(network(features)[:, :100], network(changed)[:, :100])
    assert network(features).shape == features.shape
    mel = train_mel_autoencoder(
        home, memory, replace(ARTICLE_MEL, budget=Budget(2), width=8), seed=0
    )
    word = train_word_autoencoder(
        home, memory, mel, replace(ARTICLE_WORD, budget=Budget(2), size=32), seed=0
    )
    speech = load_speech(home, word.sha)
    sound = say("aui", 120.0, 1.7)
    assert len(speech.speak(speech.embed([sound]))[0]) > 0
    assert len(speech.mel([sound])[0]) == round(len(sound) / SAMPLE_RATE_HZ / HOP_S)


def test_two_clips_are_enough_and_fewer_are_refused(tmp_path):
    home = Home.at(UPath(tmp_path))
    with pytest.raises(EmptyMemory, match="at least two"):
        train_mel_autoencoder(home, manifest.take(home), MEL, seed=0)
    remember(home, "one", [say("ia", 120.0, 0.5)])
    with pytest.raises(EmptyMemory, match="at least two"):
        train_mel_autoencoder(home, manifest.take(home), MEL, seed=0)
    remember(home, "two", [say("ue", 120.0, 0.3)])
    both = manifest.take(home)
    mel = train_mel_autoencoder(home, both, replace(MEL, budget=Budget(2)), seed=0)
    word = train_word_autoencoder(home, both, mel, replace(WORD, budget=Budget(2)), seed=0)
    speech = load_speech(home, word.sha)
    assert len(speech.speak(speech.embed(store.read_clips(home, "one")))[0]) > 0


def test_unknown_checkpoint_is_named(home: Home):
    with pytest.raises(UnknownCheckpoint, match="word_autoencoder"):
        load_speech(home, "0" * 64)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (MelAutoencoderSettings, {"code": 2}),
        (MelAutoencoderSettings, {"width": 30}),
        (MelAutoencoderSettings, {"learning_rate": float("nan")}),
        (WordAutoencoderSettings, {"code": 16}),
        (WordAutoencoderSettings, {"size": 0}),
        (WordAutoencoderSettings, {"code_noise": -0.1}),
    ],
)
def test_settings_out_of_range_are_refused(kind: type, wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(Budget(1), **wrong)
