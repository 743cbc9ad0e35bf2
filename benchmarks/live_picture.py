"""A picture of the live page while it says a word, from a real run: the README's.

`PYTHONPATH=. python benchmarks/live_picture.py HOME VIDEO [--out live.png]`

HOME is one that speaks; use a copy, as what is shown is remembered in it. Needs Chromium.
"""

import argparse
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from tests.browser import Browser
from tests.live.pages import free_port

PATIENCE_S = 600.0
BEFORE_S = 15.0  # so that something was kept and heard
INTO_THE_WORD_S = 0.2
SCREEN = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/live.png"))
    given = parser.parse_args()
    port = free_port()
    command = [sys.executable, "-m", "aela_dagster.cli", "live", "--no-learn"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--home", given.home, "--source", given.video]
    )
    try:
        with Browser() as browser:
            tab = browser.open_when_served(f"http://127.0.0.1:{port}/", PATIENCE_S)
            tab.call("Emulation.setDeviceMetricsOverride", **SCREEN)
            tab.click("#voice-on")
            tab.press("l")
            tab.wait("document.querySelector('#strip img')", PATIENCE_S)
            time.sleep(BEFORE_S)
            tab.wait("document.querySelector('#saying').checkVisibility()", PATIENCE_S)
            time.sleep(INTO_THE_WORD_S)
            shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
        shot.quantize(256).save(given.out, optimize=True)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


if __name__ == "__main__":
    main()
