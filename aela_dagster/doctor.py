"""What `aela doctor` looks at."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from aela.memory import store
from aela.mimicry import generation as generations
from aela.storage import Home, write_bytes

NEEDED = ("torch", "torchvision", "torchaudio", "av", "librosa", "moviepy", "pyarrow", "dagster")
LEAST_FREE_BYTES = 2 << 30


@dataclass(frozen=True)
class Finding:
    ok: bool
    what: str
    found: str


def examine(home: Home) -> list[Finding]:
    """One finding per thing that the system needs."""
    return [
        Finding(True, "AELA", importlib.metadata.version("aela")),
        Finding(True, "Python", platform.python_version()),
        *(_package(name) for name in NEEDED),
        _voices(),
        _device(),
        _folder(home),
        *_space(home),
        _memory(home),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(True, name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(False, name, f"missing; run `pip install {name}`")


def _voices() -> Finding:
    there = importlib.util.find_spec("espeakng_loader") is not None
    found = "installed" if there else "not installed; only `aela demo` needs `aela[nursery]`"
    return Finding(True, "sample voices", found)


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding(True, "device", f"cuda: {torch.cuda.get_device_name()}")
    return Finding(True, "device", f"cpu, {torch.get_num_threads()} threads")


def _folder(home: Home) -> Finding:
    if not home.root.protocol and not home.root.exists():
        there = _nearest(home)
        if there.is_dir() and os.access(there, os.W_OK):
            return Finding(True, "data folder", f"{home.root} is not there yet; learning makes it")
        why = f"it is not there, nor can it be made in {there}"
        return Finding(False, "data folder", f"{home.root} cannot be written: {why}")
    probe = home.root / ".writable"
    try:
        write_bytes(probe, b"")
        probe.unlink()
    except OSError as error:
        return Finding(False, "data folder", f"{home.root} cannot be written: {error.strerror}")
    return Finding(True, "data folder", f"{home.root} is writable")


def _nearest(home: Home) -> Path:
    """The data folder on a disk, or of those that it would lie in the nearest that is there."""
    root = Path(str(home.root)).absolute()
    return next(folder for folder in (root, *root.parents) if folder.exists())


def _space(home: Home) -> list[Finding]:
    if home.root.protocol:
        return []
    free = shutil.disk_usage(_nearest(home)).free
    return [Finding(free > LEAST_FREE_BYTES, "free space", f"{free / 1e9:.1f} GB")]


def _memory(home: Home) -> Finding:
    entries = store.remembered(home)
    frames, clips = sum(e.frames for e in entries), sum(e.clips for e in entries)
    generation = generations.current(home)
    speaks = f"generation {generation.sha[:12]} speaks" if generation else "nothing learned yet"
    return Finding(
        True, "memory", f"{len(entries)} videos, {frames} frames, {clips} clips; {speaks}"
    )
