"""The senses, measured: how well they choose, how fast they are, and what memory they take.

    python benchmarks/capture.py BENCH_FOLDER

Runs `capture_quality.py` on the videos of BENCH_FOLDER, then `capture_speed.py` on videos made on
the spot; their heads tell what each figure means.
"""

import argparse
from pathlib import Path

from capture_quality import print_quality
from capture_speed import print_memory, print_speed

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bench_folder", type=Path, help="folder with labels.json and the videos")
    print_quality(parser.parse_args().bench_folder)
    print()
    print_speed()
    print_memory()
