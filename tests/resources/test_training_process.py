"""The process of a training."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.devices import UnknownDevice, torch_device

STARTS_A_TRAINER = """
import os, subprocess, sys, time
code = f"from resources.trainer import end_with; end_with({os.getpid()})"
print(subprocess.Popen([sys.executable, "-c", code]).pid, flush=True)
time.sleep(60)
"""


def test_a_trainer_ends_when_its_run_is_killed():
    run = subprocess.Popen([sys.executable, "-c", STARTS_A_TRAINER], stdout=subprocess.PIPE)
    assert run.stdout
    trainer = int(run.stdout.readline())
    time.sleep(1)
    assert _runs(trainer)
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 30
    while _runs(trainer):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _runs(pid: int) -> bool:
    if Path("/proc").exists():  # Nobody may be there to bury it.
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_with_several_devices_sight_and_hearing_train_on_different_ones(
    monkeypatch: pytest.MonkeyPatch,
):
    import torch

    assert torch_device("cpu", "image_encoder") == "cpu"
    with pytest.raises(UnknownDevice, match="use cpu, cuda or auto"):
        torch_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == "cpu"
    with pytest.raises(UnknownDevice, match="No CUDA device"):
        torch_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert torch_device("auto", "word_autoencoder") == "cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    seen, heard, words = (
        torch_device("auto", model)
        for model in ("image_encoder", "mel_autoencoder", "word_autoencoder")
    )
    assert seen != heard == words
    assert torch_device("cuda") == "cuda"
