"""One training in a process of its own: `python -m resources.trainer`, started through Pipes.

A crash or an exhausted memory ends this process alone; the code location stays light.
Whatever ended it, the same training started again goes on at its bookmark.
"""

import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from dagster_pipes import PipesContext, open_dagster_pipes
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from aela.learning import checkpoints
from aela.learning import loop as training
from aela.learning.checkpoints import Checkpoint
from aela.memory import manifest as manifests
from aela.memory.forget import marked
from aela.memory.manifest import EmptyMemory
from aela.mimicry import generation as generations
from aela.presets import preset
from aela.ranges import WrongSetting
from aela.storage import DiskFull, Home
from resources.devices import torch_device

TRAINED = "trained"  # key of the message that tells the checkpoint's hash
FAILED = "failed"  # key of the message that says in one sentence why a training stopped
LOG_EVERY_S = 10.0
PARENT_EVERY_S = 1.0


def main() -> None:
    with open_dagster_pipes() as pipes:
        said = logging.getLogger("aela")
        said.setLevel(logging.INFO)
        for handler in pipes.log.handlers:  # into the event log
            said.addHandler(handler)
        try:
            _train(pipes)
        except (
            DiskFull,
            EmptyMemory,
            manifests.ChangedMemory,
            manifests.UnknownManifest,
            checkpoints.UnknownCheckpoint,
            FloatingPointError,
            WrongSetting,
        ) as error:
            pipes.report_custom_message({FAILED: str(error)})
        except Exception as error:
            model, device = pipes.extras["model"], pipes.extras["device"]
            if _out_of_memory(error):
                sentence = (
                    f"The {model} trainer ran out of memory on {device}; free memory and try "
                    "again, so that it goes on where it was, or train on a smaller preset."
                )
            else:
                traceback.print_exc()
                sentence = (
                    f"The {model} trainer stopped with an error ({type(error).__name__}: {error}); "
                    "where, is told at the end of the run's stderr."
                )
            pipes.report_custom_message({FAILED: sentence})


def _out_of_memory(error: Exception) -> bool:
    """Whether Python, torch, or a library of its devices found no memory."""
    import torch

    said = ("can't allocate memory", "ALLOC_FAILED")  # by torch's CPU allocator; by cuBLAS, cuDNN
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error) for words in said)


def end_with(run_pid: int) -> None:
    """End this process once that of its run, which started it, is gone: another takes over."""
    while os.getppid() == run_pid:
        time.sleep(PARENT_EVERY_S)
    os._exit(1)


def _train(pipes: PipesContext) -> None:
    import torch

    from aela.trainers import train

    extras = pipes.extras
    threading.Thread(target=end_with, args=[extras["run_pid"]], daemon=True).start()
    torch.set_num_threads(extras["threads"])
    home, model = Home.at(extras["home"]), extras["model"]
    settings = preset(extras["preset"], extras["effort"])
    manifest = manifests.read(home, extras["manifest"])
    parent = parent_of(home, model, getattr(settings, model)) if extras["resume"] else None
    with _bar(model, shown=extras["bars"]) as draw:
        checkpoint = train(
            home,
            model,
            manifest,
            settings,
            seed=extras["seed"],
            device=torch_device(extras["device"], model),
            parent=parent,
            inputs=extras["inputs"],
            report=_reporter(pipes, draw),
        )
    checkpoints.set_current(home, checkpoint)
    pipes.report_custom_message({TRAINED: checkpoint.sha})


def parent_of(home: Home, model: str, settings: object) -> Checkpoint | None:
    """The checkpoint that speaks now, if it was built with the same settings.

    Whether it was `centred` aside, which each training decides for itself, and its budget if that
    was no smaller: who asks for a longer training than the last gets all of it. Not simply the last
    checkpoint: that may have failed its checks. And none that learned from what was forgotten
    since.
    """
    generation = generations.current(home)
    if generation is None or model not in checkpoints.MODELS:
        return None
    parent = checkpoints.read(home, model, getattr(generation, model))
    if marked(home, model, parent.sha, parent.card.manifest):
        return None
    wanted = checkpoints.settings_dict(settings)
    if parent.card.settings["budget"]["steps"] < wanted["budget"]["steps"]:
        return None
    own = {name: wanted[name] for name in ("budget", "centred") if name in wanted}
    return parent if {**parent.card.settings, **own} == wanted else None


def _reporter(
    pipes: PipesContext, draw: Callable[[training.Progress], None]
) -> Callable[[training.Progress], None]:
    last = -LOG_EVERY_S

    def report(progress: training.Progress) -> None:
        nonlocal last
        draw(progress)
        now = time.monotonic()
        if now - last >= LOG_EVERY_S or progress.spent >= 1:
            pipes.log.info(str(progress))
            last = now

    return report


@contextlib.contextmanager
def _bar(model: str, *, shown: bool) -> Iterator[Callable[[training.Progress], None]]:
    """Draw one progress bar on a terminal; print a line now and then where there is none."""
    console = Console(file=sys.stderr)
    if not shown:
        yield lambda progress: None
        return
    if not console.is_terminal:
        last = -LOG_EVERY_S

        def line(progress: training.Progress) -> None:
            nonlocal last
            if progress.elapsed_s - last >= LOG_EVERY_S or progress.spent >= 1:
                console.print(f"  {progress}", highlight=False, soft_wrap=True)
                last = progress.elapsed_s

        yield line
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(model, total=1.0, losses="")

        def draw(progress: training.Progress) -> None:
            losses = " ".join(f"{name} {value:.3g}" for name, value in progress.losses.items())
            bars.update(task, completed=progress.spent, losses=losses)

        yield draw


if __name__ == "__main__":
    main()
