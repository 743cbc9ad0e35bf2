"""Pictures of Dagster's UI on a home: those of `docs/ui.md`.

`PYTHONPATH=. python benchmarks/ui_pictures.py HOME [--out docs/ui]`

HOME is one that has learned. Use a copy: all of `aela up` is opened, which learns what was not yet.
Needs Chromium.
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

PATIENCE_S = 300.0
DRAWN_S = 8.0  # until a page has drawn itself
SCREEN = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/ui"))
    given = parser.parse_args()
    pages = {
        "checkpoint": "assets/image_encoder",
        "learning": "locations/aela_dagster.definitions/sensors/learning",
    }
    given.out.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "aela_dagster.cli", "up", "--home", given.home]
    server = subprocess.Popen([*command, "--port", str(port)])
    try:
        with Browser() as browser:
            tab = browser.open_when_served(f"http://127.0.0.1:{port}/", PATIENCE_S)
            tab.call("Emulation.setDeviceMetricsOverride", **SCREEN)
            for name, page in pages.items():
                tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/{page}")
                time.sleep(DRAWN_S)
                shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
                shot.quantize(64).save(given.out / f"{name}.png", optimize=True)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


if __name__ == "__main__":
    main()
