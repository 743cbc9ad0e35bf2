"""Finds spoken words in a stream of sound.

Each 10 ms hop gets one number: how far its spectrum stands above the background noise, averaged
over mel-spaced bands after each was divided by its own noise floor (the whitening of likelihood
ratio voice activity detection: Sohn, Kim, Sung 1999, "A statistical model-based voice activity
detection", section II; the floor as a low quantile of the recent past: Stahl, Fischer, Bippus
2000, "Quantile based noise estimation"). Two thresholds with hysteresis turn that into sounds. They
are low where the background is steady, so that faint words are heard, and rise with its unrest, so
that music is none. Sounds without a voice are left out and logged.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aela.capture.records import SAMPLE_RATE_HZ, Clip, Reason, Rejection
from aela.capture.settings import CaptureSettings

HOP = 441  # samples: 10 ms
WINDOW = 1024  # samples: 23 ms
HOP_S = HOP / SAMPLE_RATE_HZ
HOP_SHIFT = WINDOW // 2 - HOP // 2  # from a window's first sample to the hop it stands for

BANDS = 16
LOWEST_HZ, HIGHEST_HZ = 120.0, 8000.0

PUSHED_SAMPLES = SAMPLE_RATE_HZ  # sound waits for this much
BLOCK_HOPS = 50  # sound is looked at, and the noise floor measured anew, every half second
# The floor is that of the 10 s before or of the 5 s after, whichever is louder, so that it rises at
# once where a fan starts; both reach a little over to the other side.
PAST_HOPS, AHEAD_HOPS, OVERLAP_HOPS = 1000, 500, 75
EVERY = 3  # hop; neighbours overlap and tell much the same
FLOOR_QUANTILE = 0.25
QUIET_QUANTILE, MIDDLE_QUANTILE = 0.1, 0.4  # between them the background moves: its unrest, ...
MOST_UNREST_DB = 8.0  # ... up to this, since more than that is speech without a pause
NEAR_HOPS = 150  # what is louder even in the pauses of the nearest 1.5 s counts as noise, too ...
NEAR_QUANTILE = 0.1
MOST_LIFT_DB = 6.0  # ... up to this, since speech may have no pause there
SILENCE_POWER = 1e-12  # per band; digital silence tells nothing about the room's noise

LOW_DB = 1.5  # a sound lasts while its score is above this in a steady background, ...
LOW_PER_UNREST = 0.6  # ... and above this much more for each dB of its unrest
HIGH_PER_UNREST = 0.75  # the same for `least_snr_db`, which it must somewhere be above
LEAST_SOUND_HOPS = 3  # even a click is heard longer than that

# What is this far below the loudest hop from a second before to 0.3 s after, or below this share of
# its height, is not heard as part of a word: echoes, coding noise, where the background is silent.
MASKED_DB, MASKED_SHARE = 35.0, 1 / 8
MASK_AFTER_HOPS, MASK_BEFORE_HOPS = 100, 30

# What words have and other sounds lack. Measured on recorded and synthetic words of 13 languages
# from 0.15 s on, and on knocks, claps, bursts, rustling, slams, beeps and chirps; each limit lies
# in the gap between the two.
# The loud part: within this distance of the loudest hop, and above a third of its height and the
# background's unrest, or above this.
NUCLEUS_DB, PROMINENT_DB = 20.0, 8.0
LEAST_NUCLEUS_S = 0.08  # knocks in a row fall apart into shorter ones
HIT_PEAK_S = 0.035  # hits are loudest at once ...
HIT_NUCLEUS_S = 0.15  # ... and then die away, or keep their timbre, or ring in a few bands
HIT_BANDS = 5
BAND_DB = 2.5  # a band stands out of the noise
TONE_BANDS = 3  # a beep, whistle or chirp fills at most this many bands
LEAST_CHANGE_DB = 3.0  # of the timbre; less in sounds that stand ...
CLEAR_DB = 20.0  # ... less than this above the noise, which blurs it
LEAST_VOICED_S = 0.05  # words without a voice (whispers) must last and change their timbre
LEAST_WHISPER_S = 0.25
LEAST_WHISPER_CHANGE_DB = 3.6
FAINT_DB = 10.0  # so close to the noise, whispers cannot be told from it, ...
FAINT_VOICED_S = 0.07  # ... and it is periodic for a moment by chance
VOICED = 0.6  # harmonicity
OVERSUBTRACTED = 1.5  # times the background's mean power spectrum
QUIET_AROUND_HOPS = 50  # the background is heard this far around a sound

FADE_SAMPLES = 441  # 10 ms


def _mel_edges() -> np.ndarray:
    """First FFT bin of each band, and one past the last, int [BANDS + 1]."""
    mel = np.linspace(math.log1p(LOWEST_HZ / 700), math.log1p(HIGHEST_HZ / 700), BANDS + 1)
    return np.round(700 * np.expm1(mel) / SAMPLE_RATE_HZ * WINDOW).astype(int)


EDGES = _mel_edges()
TAPER = np.hanning(WINDOW).astype(np.float32)


def band_powers(samples: np.ndarray) -> np.ndarray:
    """Mean power per hop and band, float32 [hops, BANDS], of samples [n]."""
    views = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(views * TAPER, axis=1)[:, : EDGES[-1]]) ** 2
    sums = np.add.reduceat(spectrum, EDGES[:-1], axis=1)
    return (sums / np.diff(EDGES) / (TAPER**2).sum()).astype(np.float32)


def quantile(values: np.ndarray, share: float) -> np.ndarray:
    """The values that `share` of the rows lie below, [...] of [n, ...]; np.quantile is slower."""
    rank = int(share * (len(values) - 1))
    return np.partition(np.ascontiguousarray(values.T), rank, axis=-1)[..., rank]


@dataclass(frozen=True)
class Sound:
    """What tells a word from another sound."""

    duration_s: float
    peak_db: float
    """Loudest score."""
    above_rest_db: float
    """Loudest score above the background that follows; about 0 where a fan starts."""
    peak_s: float
    """Time from the start to the loudest hop."""
    nucleus_s: float
    """Longest stretch of its loud part."""
    voiced_s: float
    """Longest stretch with a periodic signal of 70 to 450 Hz in its loud part."""
    bands: int
    """How many bands stand out of the noise in its loud part, at most 25 dB below the strongest."""
    change_db: float
    """How much the timbre changes over its loud part: mean over the bands of each one's standard
    deviation, after the level was taken out of each hop."""


def harmonicity(samples: np.ndarray, hops: int, quiet: np.ndarray) -> np.ndarray:
    """Height of the pitch peak of the normalised autocorrelation, [hops], 0 to about 1.

    Samples [n] at 44,100 Hz, `hops * HOP` long or longer. Boersma 1993, "Accurate short-term
    analysis of the fundamental frequency", section 3: the autocorrelation of the tapered window
    over that of the taper. What sounds in the hops `quiet`, bool [hops], a hum for instance, is
    subtracted from the power spectrum first (Boll 1979, "Suppression of acoustic noise in speech
    using spectral subtraction").
    """
    from scipy.signal import resample_poly  # slow to import

    rate = SAMPLE_RATE_HZ / 4
    window = round(0.04 * rate)
    step = HOP / 4
    low = resample_poly(samples, 1, 4)
    low = np.pad(low, (window // 2, window))
    starts = np.round(np.arange(hops) * step).astype(int)
    pieces = low[starts[:, None] + np.arange(window)]
    pieces = pieces - pieces.mean(axis=1, keepdims=True)
    taper = np.hanning(window)
    size = 2 * window
    power = np.abs(np.fft.rfft(pieces * taper, size, axis=1)) ** 2
    if quiet.any():
        power = np.maximum(power - OVERSUBTRACTED * power[quiet].mean(axis=0), 0)
    auto = np.fft.irfft(power, axis=1)
    own = np.fft.irfft(np.abs(np.fft.rfft(taper, size)) ** 2)
    shortest, longest = round(rate / 450), round(rate / 70)
    ratio = auto[:, : longest + 1] / np.maximum(auto[:, :1], 1e-12) / (own[: longest + 1] / own[0])
    # A peak, not the slope that every low-pass signal has around lag zero.
    inner = ratio[:, shortest:longest]
    peak = (inner >= ratio[:, shortest - 1 : longest - 1]) & (
        inner >= ratio[:, shortest + 1 : longest + 1]
    )
    return np.where(peak, inner, 0).max(axis=1)


def runs(mask: np.ndarray) -> np.ndarray:
    """Starts and ends (one past the last) of the stretches where mask [n] holds, int [k, 2]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def audible(scores: np.ndarray, unrest: np.ndarray) -> np.ndarray:
    """Which hops stand out of the noise and are not masked by a louder one near them, bool [n]."""
    from scipy.ndimage import maximum_filter1d  # slow to import

    width = MASK_AFTER_HOPS + MASK_BEFORE_HOPS + 1
    shift = (MASK_AFTER_HOPS - MASK_BEFORE_HOPS) // 2
    loudest = maximum_filter1d(scores, width, origin=shift, mode="nearest")
    masked = np.maximum(loudest - MASKED_DB, loudest * MASKED_SHARE)
    return scores > np.maximum(LOW_DB + LOW_PER_UNREST * unrest, masked)


def longest_run(mask: np.ndarray) -> int:
    """Length of the longest stretch where mask [n] holds."""
    return int(np.diff(runs(mask), axis=1).max(initial=0))


class WordFinder:
    """Takes sound in pieces of any size and yields clips and rejections in time order.

    Holds at most about half a minute of sound. `start_s` is the time of the first sample.
    """

    def __init__(self, settings: CaptureSettings, start_s: float) -> None:
        self.settings = settings
        self.start_s = start_s
        self.first = 0  # hop number of the first sample and of the first row of `powers`
        self.samples = np.zeros(0, np.float32)
        self.waiting: list[np.ndarray] = []  # not yet part of `samples`
        self.waiting_samples = 0
        self.powers = np.zeros((0, BANDS), np.float32)
        self.scores = np.zeros(0, np.float32)  # dB above the noise; shorter by the look-ahead
        self.unrest = np.zeros(0, np.float32)  # dB the background moves by; as long as the scores
        self.floors = np.zeros((0, BANDS), np.float32)  # power of the noise; as long as the scores
        self.decided = 0  # row up to which every sound was yielded

    def push(self, samples: np.ndarray) -> Iterator[Clip | Rejection]:
        """Takes float32 mono samples [n] at 44,100 Hz."""
        self.waiting.append(samples)
        self.waiting_samples += len(samples)
        if self.waiting_samples < PUSHED_SAMPLES:
            return
        self._join()
        while len(self.samples) >= self._samples_for(len(self.powers) + BLOCK_HOPS):
            self._measure(BLOCK_HOPS)
            if len(self.powers) - AHEAD_HOPS >= len(self.scores) + BLOCK_HOPS:
                self._score(len(self.scores) + BLOCK_HOPS)
                yield from self._decide(final=False)
                self._forget()

    def flush(self) -> Iterator[Clip | Rejection]:
        """Yields what is left at the end of the sound."""
        self._join()
        hops = max(0, (len(self.samples) - WINDOW) // HOP + 1)
        if hops > len(self.powers):
            self._measure(hops - len(self.powers))
        while len(self.scores) < len(self.powers):
            self._score(min(len(self.scores) + BLOCK_HOPS, len(self.powers)))
        yield from self._decide(final=True)

    @property
    def settled_s(self) -> float:
        """Nothing that starts before this time will be yielded any more."""
        return self._time_s(self.decided)

    def _join(self) -> None:
        if not self.waiting:
            return
        piece = np.concatenate(self.waiting)
        # Files with float samples may hold anything.
        piece = np.nan_to_num(piece, copy=False).clip(-1, 1)
        self.samples = np.concatenate([self.samples, piece])
        self.waiting.clear()
        self.waiting_samples = 0

    @staticmethod
    def _samples_for(hops: int) -> int:
        return (hops - 1) * HOP + WINDOW

    def _measure(self, hops: int) -> None:
        """Appends the band powers of the next hops."""
        start = len(self.powers)
        piece = self.samples[start * HOP : self._samples_for(start + hops)]
        self.powers = np.concatenate([self.powers, band_powers(piece)])

    def _score(self, end: int) -> None:
        """Appends the scores of the rows up to end, measured against one noise floor."""
        start = len(self.scores)
        before = self.powers[max(0, start - PAST_HOPS) : end + OVERLAP_HOPS]
        after = self.powers[max(0, start - OVERLAP_HOPS) : start + AHEAD_HOPS]
        near = self.powers[max(0, start - NEAR_HOPS) : end + NEAR_HOPS]
        # Digital silence far away (a muted start, a gap) says nothing about the noise here; close
        # by, between words, it is the background.
        if (near.max(axis=1) <= SILENCE_POWER).mean() < FLOOR_QUANTILE:
            before = before[before.max(axis=1) > SILENCE_POWER]
            after = after[after.max(axis=1) > SILENCE_POWER]
        sides = [side[::EVERY] for side in (before, after) if len(side) >= OVERLAP_HOPS] or [near]
        floor = np.max([quantile(side, FLOOR_QUANTILE) for side in sides], axis=0)
        floor = np.maximum(floor, SILENCE_POWER)
        # The quantile lies below the mean, in narrow bands more than in wide ones, and the
        # background may move: the score's own quantiles put its zero on the middle of the noise.
        levels = []
        for side in sides:
            score = (side / floor).mean(axis=1)
            quiet, middle = (
                10 * math.log10(max(quantile(score, share), 1e-3))
                for share in (QUIET_QUANTILE, MIDDLE_QUANTILE)
            )
            unrest = min(middle - quiet, MOST_UNREST_DB)
            levels.append((quiet + unrest, unrest))
        level, unrest = max(levels)
        zero = 10 ** (level / 10)
        # Noise that swells within seconds lifts it further.
        lift = quantile((near / floor).mean(axis=1), NEAR_QUANTILE) / zero
        zero *= np.clip(lift, 1, 10 ** (MOST_LIFT_DB / 10))
        self.unrest = np.concatenate([self.unrest, np.full(end - start, unrest, np.float32)])
        # One hop of context each side smooths the score without moving its edges.
        rows = self.powers[max(0, start - 1) : end + 1]
        score = np.maximum((rows / floor).mean(axis=1) / zero, 1e-3)
        padded = np.pad(score, (int(start == 0), int(end == len(self.powers))), mode="edge")
        smooth = np.convolve(padded, np.full(3, 1 / 3), mode="valid")
        self.scores = np.concatenate([self.scores, 10 * np.log10(smooth).astype(np.float32)])
        noise = np.broadcast_to((floor * zero).astype(np.float32), (end - start, BANDS))
        self.floors = np.concatenate([self.floors, noise])

    def _decide(self, final: bool) -> Iterator[Clip | Rejection]:
        """Yields every sound that is certainly over."""
        pause = round(self.settings.longest_pause_s / HOP_S)
        longest = int(self.settings.clip_seconds_max / HOP_S)
        while self.decided < len(self.scores):
            scores, unrest = self.scores[self.decided :], self.unrest[self.decided :]
            low = runs(audible(scores, unrest))
            sound = self._next_sound(scores - HIGH_PER_UNREST * unrest, low, pause)
            if sound is None:
                # A low run at the very end may still become loud.
                open_end = len(low) > 0 and low[-1, 1] == len(scores) < low[-1, 0] + longest
                self.decided += int(low[-1, 0]) if open_end else len(scores)
                return
            start, end = sound
            if end - start > longest:
                end = start + self._cut(scores[start : start + longest])
            elif not final and len(scores) - end <= pause:
                self.decided += start
                return
            yield self._judge(self.decided + start, self.decided + end)
            self.decided += end

    def _next_sound(
        self, heights: np.ndarray, low: np.ndarray, pause: int
    ) -> tuple[int, int] | None:
        least_db = self.settings.least_snr_db
        loud = [
            (a, b) for a, b in low if b - a >= LEAST_SOUND_HOPS and heights[a:b].max() > least_db
        ]
        if not loud:
            return None
        start, end = loud[0]
        for a, b in loud[1:]:
            if a - end > pause:
                break
            end = b
        return int(start), int(end)

    @staticmethod
    def _cut(scores: np.ndarray) -> int:
        """The quietest place in the later two thirds."""
        smooth = np.convolve(scores, np.full(15, 1 / 15), mode="same")
        skip = len(scores) // 3
        return skip + int(smooth[skip:-8].argmin())

    def _describe(self, start: int, end: int) -> Sound:
        scores = self.scores[start:end]
        peak = int(scores.argmax())
        prominent = min(scores[peak] / 3 + self.unrest[start], PROMINENT_DB)
        loud = scores > max(scores[peak] - NUCLEUS_DB, prominent)
        pitch = self._pitch(start, end)
        powers = self.powers[start:end][loud]
        floor = self.floors[start:end][loud].mean(axis=0)
        above_db = 10 * np.log10((powers.mean(axis=0) + SILENCE_POWER) / (floor + SILENCE_POWER))
        timbre = 10 * np.log10(powers + SILENCE_POWER)
        timbre -= timbre.mean(axis=1, keepdims=True)
        rest = self.floors[min(end, len(self.floors) - 1)]
        above_rest = (self.powers[start:end] / (rest + SILENCE_POWER)).mean(axis=1)
        above_rest = np.convolve(above_rest, np.full(3, 1 / 3), mode="same").max()
        return Sound(
            duration_s=(end - start) * HOP_S,
            peak_db=float(scores[peak]),
            above_rest_db=10 * math.log10(max(above_rest, 1e-3)),
            peak_s=peak * HOP_S,
            nucleus_s=longest_run(loud) * HOP_S,
            voiced_s=longest_run(loud & (pitch > VOICED)) * HOP_S,
            bands=int((above_db > max(above_db.max() - 25, BAND_DB)).sum()),
            change_db=float(timbre.std(axis=0).mean()),
        )

    def _pitch(self, start: int, end: int) -> np.ndarray:
        """Harmonicity of rows start to end, [end - start], without the background's."""
        first = max(0, start - QUIET_AROUND_HOPS)
        last = min(end + QUIET_AROUND_HOPS, len(self.scores))
        quiet = self.scores[first:last] < LOW_DB
        quiet[start - first : end - first] = False
        samples = self.samples[first * HOP : last * HOP + WINDOW]
        return harmonicity(samples, last - first, quiet)[start - first : end - first]

    def _judge(self, start: int, end: int) -> Clip | Rejection:
        """The sound of rows start to end as a clip, or why it is none."""
        start_s, end_s = self._time_s(start), self._time_s(end)
        sound = self._describe(start, end)
        level_db = 10 * math.log10(float(self._piece(start, end).var()) + 1e-12)
        left_out = self._reason(sound, level_db)
        if left_out:
            return Rejection("clip", start_s, end_s, *left_out)
        noise = float(self.floors[start:end].sum())
        snr_db = 10 * math.log10(max(float(self.powers[start:end].sum()) / noise, 1e-3))
        samples, word_start_s = self._cut_out(start, end)
        return Clip(start_s, end_s, samples, word_start_s, level_db, snr_db)

    def _reason(self, sound: Sound, level_db: float) -> tuple[Reason, float] | None:
        settings = self.settings
        if level_db < settings.least_level_db:
            return "too quiet", level_db
        if sound.above_rest_db < settings.least_snr_db:
            return "noise", sound.duration_s
        hit = sound.peak_s < HIT_PEAK_S and (
            sound.nucleus_s < HIT_NUCLEUS_S
            or sound.change_db < LEAST_CHANGE_DB * min(1, sound.peak_db / CLEAR_DB)
            or sound.bands <= HIT_BANDS
        )
        if hit or sound.nucleus_s < LEAST_NUCLEUS_S:
            return "knock", sound.duration_s
        if sound.duration_s < settings.shortest_word_s:
            return "too short", sound.duration_s
        if sound.bands <= TONE_BANDS:
            return "tone", sound.duration_s
        faint = sound.peak_db < FAINT_DB
        whisper = (
            sound.change_db >= LEAST_WHISPER_CHANGE_DB
            and sound.duration_s >= LEAST_WHISPER_S
            and not faint
        )
        if sound.voiced_s < (FAINT_VOICED_S if faint else LEAST_VOICED_S) and not whisper:
            return "noise", sound.duration_s
        return None

    def _piece(self, start: int, end: int) -> np.ndarray:
        return self.samples[start * HOP + HOP_SHIFT : end * HOP + HOP_SHIFT]

    def _cut_out(self, start: int, end: int) -> tuple[np.ndarray, float]:
        """Word with its rolls, faded, and zeros up to the least length; where the word starts."""
        settings = self.settings
        word_start, word_end = start * HOP + HOP_SHIFT, end * HOP + HOP_SHIFT
        before = min(word_start, round(settings.pre_roll_s * SAMPLE_RATE_HZ))
        after = round(settings.post_roll_s * SAMPLE_RATE_HZ)
        samples = self.samples[word_start - before : word_end + after].copy()
        fade = np.sin(np.linspace(0, np.pi / 2, FADE_SAMPLES, dtype=np.float32)) ** 2
        fade = fade[: len(samples) // 2]
        samples[: len(fade)] *= fade
        samples[len(samples) - len(fade) :] *= fade[::-1]
        missing = round(settings.clip_seconds_min * SAMPLE_RATE_HZ) - len(samples)
        return np.pad(samples, (0, max(0, missing))), before / SAMPLE_RATE_HZ

    def _time_s(self, row: int) -> float:
        return self.start_s + ((self.first + row) * HOP + HOP_SHIFT) / SAMPLE_RATE_HZ

    def _forget(self) -> None:
        """Drops what neither the noise floor nor an undecided sound needs."""
        roll = math.ceil(self.settings.pre_roll_s / HOP_S) + 2
        drop = min(len(self.scores) - PAST_HOPS, self.decided - roll)
        if drop <= 0:
            return
        self.first += drop
        self.decided -= drop
        self.samples = self.samples[drop * HOP :]
        self.powers = self.powers[drop:]
        self.scores = self.scores[drop:]
        self.unrest = self.unrest[drop:]
        self.floors = self.floors[drop:]
