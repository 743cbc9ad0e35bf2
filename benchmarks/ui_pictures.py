"""Pictures of Dagster's UI on a home: those of `docs/ui.md`.

`PYTHONPATH=. python benchmarks/ui_pictures.py HOME [--out docs/ui]`

HOME is one that has learned. Use a copy: all of `aela up` is opened, which learns what was not yet.
Needs Chromium.
"""

import argparse
import time
from pathlib import Path

from live_picture import opened, save

DRAWN_S = 8.0  # until a page has drawn itself


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
    with opened("up", "--home", given.home) as (tab, address):
        for name, page in pages.items():
            tab.call("Page.navigate", url=address + page)
            time.sleep(DRAWN_S)
            save(tab, given.out / f"{name}.png", colours=64)


if __name__ == "__main__":
    main()
