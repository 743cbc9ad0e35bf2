"""How large the report of a large memory is, and how soon a browser has opened it.

    python benchmarks/report.py [--moments 10000] [--runs 5] [--out report.html]

Makes up what `gather` would find in a memory of so many moments, 20 to a video, with as many
watched looks: pictures with the grain of filmed ones, sounds as long as spoken words, and as many
of each as a report holds at most. Writes the report, opens it in Chromium without a window, and
prints its size and when it was painted first and loaded as Markdown. Needs `chromium` on the path.
"""

import argparse
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from upath import UPath

from aela.evaluation import gather, pictures, silence, vocabulary, window
from aela.evaluation.evaluate import MOST_IN_MATRIX
from aela.evaluation.forgetting import MOST_GENERATIONS, Forgetting
from aela.evaluation.moment_map import MappedMoment
from aela.evaluation.report import Glance, ReportData, WatchedVideo, write_report
from aela.evaluation.silence import Novelties
from aela.evaluation.vocabulary import DiscoveredWord, Vocabulary
from aela.evaluation.window import Heard, Seen, Window
from aela.memory.store import Remembered

RATE_HZ = 44_100
MOMENTS_A_VIDEO = 20
SIDE = 96  # pixels of pictures that the mind draws
TIMES = """<script>addEventListener("load", () => setTimeout(() => {
  const {domInteractive, loadEventEnd} = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  document.title = "TIMES " + JSON.stringify({painted: paint ? paint.startTime : 0,
    read: domInteractive, loaded: loadEventEnd});
}, 0));</script>"""

random = np.random.default_rng(0)


def jpeg() -> bytes:
    """A frame as memory keeps them: 299 x 224, with detail and grain."""
    coarse = Image.fromarray(random.integers(0, 256, (28, 37, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((299, 224), Image.Resampling.BICUBIC))
    buffer = io.BytesIO()
    grainy = smooth + random.normal(0, 6, smooth.shape)
    Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def word() -> np.ndarray:
    """A word-like sound of about a second: a voice whose pitch and resonances move, in noise."""
    seconds = random.uniform(1.0, 1.4)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(5 * time_s)) / RATE_HZ
    voice = sum(np.sin(k * phase) * np.exp(-((k - 6 - 4 * time_s) ** 2) / 30) for k in range(1, 30))
    return (0.1 * voice * np.hanning(len(time_s)) + random.normal(0, 0.01, len(time_s))).astype(
        np.float32
    )


def drawn() -> np.ndarray:
    coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def glance(number: int) -> Glance:
    answer = "said" if number % 2 else "silent"
    sound = word() if answer == "said" else None
    return Glance(float(number), jpeg(), answer, 0.8, 0.3, "cup_a at 3.0 s", jpeg(), sound)


def made_up(moments: int) -> ReportData:
    """All that a report of so large a memory holds."""
    videos, looks = moments // MOMENTS_A_VIDEO, gather.MOST_GLANCES // gather.MOST_WATCHED
    shown = 2 * MOST_IN_MATRIX  # remembered and watched
    places = random.uniform(size=(shown, 3, 2))
    distances = random.uniform(0, 2, (shown, shown))
    seen = [Seen("cup_a at 3.0 s", jpeg(), drawn(), drawn()) for _ in range(window.MOST_SEEN)]
    heard = [
        Heard("cup_a at 3.0 s", word(), drawn(), "cup_b at 8.0 s", jpeg())
        for _ in range(window.MOST_HEARD)
    ]
    found = [
        DiscoveredWord(
            number,
            "cup_a at 3.0 s",
            word(),
            word(),
            [jpeg() for _ in range(vocabulary.PICTURES)],
            moments // 100,
            10,
            0.9,
        )
        for number in range(1, vocabulary.MOST_WORDS + 1)
    ]
    answers = [(float(i), "said" if i % 2 else "silent", 0.8) for i in range(MOMENTS_A_VIDEO)]
    return ReportData(
        "f" * 64,
        "e" * 64,
        "2025-01-01T12:00:00+00:00",
        memory=[
            Remembered(f"video_{i}-{i:08x}", ("learn",), "0", 20, 20, {"blurry": 4}, {"knock": 1})
            for i in range(videos)
        ],
        sizes={"frames": 15_000 * moments, "clips": 60_000 * moments},
        statistics={
            name: random.gamma(4, 0.2, moments)
            for name in ("length of words, s", "level", "above the noise", "sharpness")
        },
        vocabulary=Vocabulary(found, 100, {}, np.zeros((0, 0)), np.zeros(0)),
        moments=[
            MappedMoment(
                f"cup_a at {i}.0 s",
                jpeg(),
                word(),
                i % 40,
                i >= MOST_IN_MATRIX,
                dict(zip(("image", "word", "predicted"), map(tuple, places[i]), strict=True)),
            )
            for i in range(shown)
        ],
        curves={
            model: [
                {"step": float(s), "loss": 5 * 0.99**s, "entropy": 3.0, "deviation": 0.1 + s / 900}
                for s in range(300)
            ]
            for model in ("image_encoder", "mel_autoencoder", "word_autoencoder", "associator")
        },
        distances={
            title: pictures.distance_matrix(distances, MOST_IN_MATRIX, title)
            for title in gather.TITLES.values()
        },
        window=Window(
            {"remembered": seen, "watched": seen}, {"remembered": heard, "watched": heard}
        ),
        watched=[
            WatchedVideo(f"watched_{n}-{n:08x}", answers, [glance(i) for i in range(looks)])
            for n in range(gather.MOST_WATCHED)
        ],
        unshown=videos - gather.MOST_WATCHED,
        novelties=Novelties(
            0.4, {"remembered": random.beta(2, 6, 2048), "ground": random.beta(6, 2, 2048)}
        ),
        silent=[("watched-01234567", glance(2 * i)) for i in range(silence.MOST_SHOWN)],
        forgetting=Forgetting(
            {f"{i:064x}": 0.95 for i in range(MOST_GENERATIONS)},
            {f"video_{i}": 0.9 for i in range(128)},
        ),
    )


def opened(report: Path, chromium: str) -> dict[str, float]:
    """Milliseconds from the start of loading, as the page itself measures them."""
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        window = ["--window-size=1280,900", f"--user-data-dir={profile}", "--timeout=60000"]
        page = subprocess.run(
            [*command, *window, "--dump-dom", report.as_uri()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    found = re.search(r"<title>TIMES (\{.*?\})</title>", page)
    if found is None:
        raise RuntimeError("Chromium did not tell when the page was loaded; run it again.")
    return json.loads(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moments", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to keep the report")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("There is no chromium on the path; install it first.")
    with tempfile.TemporaryDirectory() as folder:
        report, timed = Path(folder) / "report.html", Path(folder) / "timed.html"
        data = made_up(arguments.moments)
        start = time.monotonic()
        write_report(data, UPath(report))
        took, size = time.monotonic() - start, report.stat().st_size / 1e6
        if arguments.out:
            shutil.copy(report, arguments.out)
        timed.write_text(report.read_text().replace("</body>", TIMES + "</body>"))
        times = [opened(timed, chromium) for _ in range(arguments.runs)]
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n")
    print("| moments | written in | size | painted first | read | loaded, median (most) |")
    print("|---|---|---|---|---|---|")
    of = {name: [found[name] / 1000 for found in times] for name in times[0]}
    print(
        f"| {arguments.moments:,} | {took:.1f} s | {size:.1f} MB "
        f"| {statistics.median(of['painted']):.2f} s | {statistics.median(of['read']):.2f} s "
        f"| {statistics.median(of['loaded']):.2f} s ({max(of['loaded']):.2f} s) |"
    )


if __name__ == "__main__":
    main()
