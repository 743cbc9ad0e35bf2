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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tests.browser import Browser, Tab
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
    live = ("live", "--no-learn", "--home", given.home, "--source", given.video)
    with opened(*live) as (tab, _):
        tab.click("#voice-on")
        tab.press("l")
        tab.wait("document.querySelector('#strip img')", PATIENCE_S)
        time.sleep(BEFORE_S)
        tab.wait("document.querySelector('#saying').checkVisibility()", PATIENCE_S)
        time.sleep(INTO_THE_WORD_S)
        save(tab, given.out, colours=256)


@contextmanager
def opened(*command: str | Path) -> Iterator[tuple[Tab, str]]:
    """A tab on the page that an `aela` command serves, and its address; both end afterwards."""
    port = free_port()
    aela = [sys.executable, "-m", "aela_dagster.cli", *command, "--port", str(port)]
    server = subprocess.Popen(aela)
    try:
        with Browser() as browser:
            address = f"http://127.0.0.1:{port}/"
            tab = browser.open_when_served(address, PATIENCE_S)
            tab.call("Emulation.setDeviceMetricsOverride", **SCREEN)
            yield tab, address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def save(tab: Tab, file: Path, colours: int) -> None:
    """What a tab shows, as a PNG with so many colours."""
    shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    shot.quantize(colours).save(file, optimize=True)


if __name__ == "__main__":
    main()
