"""How learning goes on, for pages: what memory holds, what trains, which generation speaks."""

import re
import threading
import time
from typing import Any

from aela.learning.checkpoints import MODELS
from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry import generation as generations
from aela_dagster import plan, records
from aela_dagster.runs import Runner
from resources.compute import TRAINS_TAG

EVERY_S = 4.0
EVENTS_LOOKED_AT = 20  # the newest of a run, for the last word on how far it is
PER_CENT = re.compile(r"\((\d+)%")


class Survey:
    """A thread that looks now and then; what it saw last is there at once, by calling it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.seconds: dict[str, tuple[str, float]] = {}  # of clips: by video, of which content
        self.last: dict[str, Any] = {
            "home": str(runner.home.root),
            "generation": None,
            "memory": {"videos": 0, "frames": 0, "clips": 0, "seconds": 0.0},
            "training": [],
        }
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="survey", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def __call__(self) -> dict[str, Any]:
        """What a page is told of learning, as it was a few seconds ago."""
        return dict(self.last)

    def _run(self) -> None:
        while not self.stopping.is_set():
            for name, look in (
                ("generation", self._generation),
                ("memory", self._memory),
                ("training", self._training),
            ):
                try:
                    self.last[name] = look()
                except Exception:  # As when a video is forgotten meanwhile: the next look tells.
                    continue
            self.stopping.wait(EVERY_S)

    def _generation(self) -> dict[str, Any] | None:
        home = self.runner.home
        generation = generations.current(home)
        if generation is None:
            return None
        history = generations.history(home, generation.sha)
        seen = manifests.read(home, generation.manifest)
        return {
            "sha": generation.sha,
            "published": history[-1].when if history else generation.created,
            "frames": seen.frames,
            "clips": seen.clips,
            "report": home.report(generation.sha).exists(),
        }

    def _memory(self) -> dict[str, Any]:
        home = self.runner.home
        entries = store.remembered(home, "learn")
        for entry in entries:
            if self.seconds.get(entry.video, ("", 0.0))[0] != entry.content:
                clips = store.read_clips(home, entry.video, ["start_s", "end_s"]).to_pylist()
                heard_s = sum(clip["end_s"] - clip["start_s"] for clip in clips)
                self.seconds[entry.video] = entry.content, heard_s
        return {
            "videos": len(entries),
            "frames": sum(entry.frames for entry in entries),
            "clips": sum(entry.clips for entry in entries),
            "seconds": round(sum(self.seconds[entry.video][1] for entry in entries), 1),
        }

    def _training(self) -> list[dict[str, Any]]:
        from aela_dagster.definitions import the_schedule

        instance = self.runner.instance
        runs = records.under_way(instance)
        conditions = the_schedule.conditions
        found = plan.standings(instance, self.runner.home, conditions, time.time(), runs)
        trained_in = {run.tags.get(TRAINS_TAG): run.run_id for run in runs}
        training: list[dict[str, Any]] = []
        for model in MODELS:
            share = self._share(trained_in[model]) if model in trained_in else None
            training.append({"model": model, "doing": found[model].why, "share": share})
        return training

    def _share(self, run_id: str) -> float:
        """How much of a training is done, 0 to 1, by its newest report."""
        newest = self.runner.instance.get_records_for_run(
            run_id, limit=EVENTS_LOOKED_AT, ascending=False
        )
        for record in newest.records:
            if spent := PER_CENT.search(record.event_log_entry.user_message):
                return int(spent[1]) / 100
        return 0.0
