"""Whatever happens in whatever order, everything is learned, watched and reported in the end.

Real sensors on a real home; their runs are done by a worker that writes what the real ones write,
in an instant, and that fails and is killed. Hypothesis makes up the histories.
"""

import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import torch
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus
from dagster._core.events import DagsterEvent
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aela.learning import checkpoints, schedule
from aela.learning.checkpoints import MODELS, Card, Checkpoint
from aela.memory import forget, store, videos
from aela.memory import manifest as manifests
from aela.memory.videos import Role
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.mimicry.predict import predicted, spoken_over
from aela.storage import Home, write_bytes, write_json
from aela_dagster import abandoned, records
from aela_dagster.jobs import JOBS, TRAINING
from aela_dagster.plan import ADDED_TAG, GENERATION_TAG, TRAINING_TAG
from aela_dagster.records import MOST_TRIES
from aela_dagster.sensors import PREDICTED_TAG, SENSORS
from assets import common
from resources.compute import TRAINS_TAG
from resources.memory import Memory
from resources.schedule import Schedule

HISTORIES = 200
STEPS = 14
MOST_ROUNDS = 12  # of all sensors, until none asks for anything
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
NO_PROCESS = 2**22 + 1  # larger than any process id
CONTENTS = {"cup": (9, 3), "pen": (9, 2), "mute": (9, 0), "voice": (0, 3), "key": (9, 4)}
OUTCOMES = [
    "succeed",
    "succeed",
    "fail at once",
    "fail at the end",
    "die at once",
    "die at the end",
]
INSTANCE = dg.DagsterInstance.ephemeral()
FAILURE, SUCCESS = DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS


class Failed(Exception):
    """A run fails."""


class Life(RuleBasedStateMachine):
    """A home, its Dagster instance, and the runs that were asked for and not begun yet."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=SHM)
        self.home = Home.at(Path(self.folder.name) / "home")
        self.instance = INSTANCE
        # Made once: most of a tick would go into making it.
        self.context = dg.build_sensor_context(
            self.instance,
            resources={
                "memory": Memory(location=str(self.home.root)),
                "schedule": Schedule(least_frames=1, least_clips=1),
            },
        )
        self.cursor: str | None = None
        self.failures = Counter[tuple[str, ...]]()
        self.done = Counter[tuple[str, ...]]()
        self.patches = [
            mock.patch.object(records, "BACKOFF_S", 0.0),
            mock.patch.object(abandoned, "DefaultRunLauncher", object),
        ]
        for patch in self.patches:
            patch.start()

    # What happens

    @rule(name=st.sampled_from(sorted(CONTENTS)), role=st.sampled_from(videos.ROLES))
    def drop(self, name: str, role: Role) -> None:
        path = Path(str(self.home.inbox(role))) / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, (time.time() - 60, time.time() - 60))

    @rule(sensor=st.sampled_from(SENSORS))
    def tick(self, sensor: dg.SensorDefinition) -> None:
        """Tick one sensor as the daemon does."""
        self._tick(sensor)

    @rule(outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4))
    def a_minute_passes(self, outcomes: list[str]) -> None:
        """All sensors tick, and some runs are done."""
        for sensor in SENSORS:
            self._tick(sensor)
        for outcome in outcomes:
            if self.queued():
                self.work(0, outcome)

    @precondition(lambda self: bool(self.queued()))
    @rule(place=st.integers(0, 3), outcome=st.sampled_from(OUTCOMES))
    def work(self, place: int, outcome: str) -> None:
        """Do one of the runs that were asked for, well or not."""
        queued = self.queued()
        run = queued[place % len(queued)]
        start = DagsterEventType.RUN_START.value
        pid = NO_PROCESS if outcome.startswith("die") else os.getpid()
        self.instance.report_dagster_event(
            DagsterEvent(start, run.job_name, message="", pid=pid), run.run_id
        )
        # What always fails is set aside; here it may only fail as often as it is tried again.
        if outcome.startswith("fail") and any(
            self.failures[work] >= MOST_TRIES - 1 for work in self._works(run)
        ):
            outcome = "succeed"
        try:
            if not outcome.endswith("at once"):
                self._do(run, half=outcome != "succeed")
        except Failed:
            outcome = "fail at the end"
        if outcome == "succeed":
            self.done.update(self._works(run))
            self._end(run, SUCCESS)
        elif outcome.startswith("fail"):
            self.failures.update(self._works(run))
            self._end(run, FAILURE)

    @rule()
    def learn_by_hand(self) -> None:
        manifest = manifests.take(self.home)
        if manifest.frames and manifest.clips:
            made: dict[str, Checkpoint] = {}
            for model in MODELS:
                made[model] = self._train(model, manifest.sha, {m: c.sha for m, c in made.items()})
            self._publish(made["associator"])

    @precondition(lambda self: bool(store.remembered(self.home)))
    @rule(place=st.integers(0, 3))
    def forget(self, place: int) -> None:
        entries = store.remembered(self.home)
        video = entries[place % len(entries)].video
        if video not in records.busy_with(records.under_way(self.instance)):
            forget.forget(self.home, video)
            self.done.clear()  # What was learned with it is learned anew without it.

    @rule()
    def restart(self) -> None:
        """The sensors have lost their cursors."""
        self.cursor = None

    # What must hold

    @invariant()
    def nothing_is_done_twice(self) -> None:
        assert not [work for work, times in self.done.items() if times > 1]

    def teardown(self) -> None:
        try:
            self._come_to_rest()
        finally:
            for patch in self.patches:
                patch.stop()
            self.instance.wipe()
            self.folder.cleanup()

    def _come_to_rest(self) -> None:
        for _ in range(MOST_ROUNDS):
            asked = 0
            for sensor in SENSORS:
                asked += self._tick(sensor)
                while self.queued():
                    self.work(0, "succeed")
                    asked += 1
            self.nothing_is_done_twice()
            if not asked:
                break
        else:
            raise AssertionError("The sensors never came to rest.")
        home = self.home
        assert not [path for role in videos.ROLES for path in home.inbox(role).iterdir()]
        known = {video.video for video in videos.known(home)}
        assert {entry.video for entry in store.remembered(home)} == known
        memory = manifests.of_now(home)
        current = {model: checkpoints.current(home, model) for model in MODELS}
        for model, rows in schedule.SENSES.items():
            there = {entry for entry in memory.entries if getattr(entry, rows)}
            found = current[model]
            if there:
                assert found
                learned = manifests.read(home, found.card.manifest)
                assert {entry for entry in learned.entries if getattr(entry, rows)} == there
        if any(entry.frames and entry.clips for entry in memory.entries):
            generation = generations.required(home)
            assert generation.manifest == memory.sha
            for model, found in current.items():
                assert found and getattr(generation, model) == found.sha
            watched = sorted(entry.video for entry in store.remembered(home, "watch"))
            assert predicted(home, generation.sha) == watched
            assert spoken_over(home, generation.sha) == watched
            metrics = home.evaluation(generation.sha) / "metrics.json"
            assert json.loads(metrics.read_text())["predicted"] == watched

    # The worker

    def _tick(self, sensor: dg.SensorDefinition) -> int:
        """How many runs a sensor asked for."""
        self.context.update_cursor(self.cursor)
        result: Any = sensor(self.context)
        asked = result
        if isinstance(result, dg.SensorResult):
            if sensor.name == "inbox":
                self.cursor = result.cursor
            asked = result.run_requests or dg.SkipReason("")
        if isinstance(asked, dg.SkipReason):
            return 0
        requests = [asked] if isinstance(asked, dg.RunRequest) else asked
        for request in requests:
            self._launch(request, request.job_name or sensor.job_name or "")
        return len(requests)

    def queued(self) -> list[DagsterRun]:
        asked = dg.RunsFilter(statuses=[DagsterRunStatus.NOT_STARTED])
        return list(self.instance.get_runs(asked))

    def _launch(self, request: dg.RunRequest, job: str) -> None:
        key = request.run_key or ""
        if self.instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: key}), limit=1):
            return  # As the daemon does.
        definition = next(found for found in JOBS if found.name == job)
        tags = {**(definition.tags or {}), **request.tags, RUN_KEY_TAG: key}
        if request.partition_key:
            tags[PARTITION_NAME_TAG] = request.partition_key
        run = DagsterRun(job, tags=tags, status=DagsterRunStatus.NOT_STARTED)
        under_way = self.instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
        for other in under_way:
            assert not set(self._works(run)) & set(self._works(other)), "the same work twice"
            trains = run.tags.get(TRAINS_TAG)
            assert not trains or trains != other.tags.get(TRAINS_TAG), "two of a kind"
        self.instance.add_run(run)

    def _works(self, run: DagsterRun) -> list[tuple[str, ...]]:
        tags = run.tags
        if tags.get(ADDED_TAG):
            return [("ingest", tags[PARTITION_NAME_TAG], tags[ADDED_TAG])]
        if tags.get(TRAINING_TAG):
            inputs = (tags.get(common.checkpoint_tag(model), "") for model in MODELS)
            return [(run.job_name, tags[common.MANIFEST_TAG], *inputs)]
        if tags.get(GENERATION_TAG):
            return [("watch", tags[GENERATION_TAG], video) for video in records.videos_of(run)]
        return [("evaluate", tags[PREDICTED_TAG])]

    def _end(self, run: DagsterRun, status: DagsterRunStatus) -> None:
        end = DagsterEventType.RUN_SUCCESS if status == SUCCESS else DagsterEventType.RUN_FAILURE
        event = DagsterEvent(end.value, run.job_name, message="")
        self.instance.report_dagster_event(event, run.run_id)

    def _watch(self, video: str, generation: Generation, *, half: bool) -> None:
        """Look at a video and, unless half-way, speak over it."""
        write_bytes(self.home.predictions(video, generation.sha), b"")
        if not half:
            write_bytes(self.home.spoken_video(video, generation.sha), b"")

    def _do(self, run: DagsterRun, *, half: bool) -> None:
        home, tags = self.home, run.tags
        generation = generations.current(home)
        if run.job_name in ("ingest", "ingest_and_watch"):
            video = videos.find(home, tags[PARTITION_NAME_TAG])
            if half and run.job_name == "ingest":
                return
            content = videos.media_of(home, video).read_text()
            frames, clips = CONTENTS[content]
            entry = {"video": video.video, "content": content, "frames": frames, "clips": clips}
            rejections = {"frame_rejections": {}, "clip_rejections": {}}
            write_json(home.index / f"{video.video}.json", {**entry, **rejections})
            if run.job_name == "ingest_and_watch" and generation:
                self._watch(video.video, generation, half=half)
        elif run.job_name == "watch" and generation:
            wanted = records.videos_of(run)
            for video in wanted[: len(wanted) // 2] if half else wanted:
                self._watch(video, generation, half=half)
        elif run.job_name == "evaluate" and generation and not half:
            shown = {"predicted": predicted(home, generation.sha)}
            write_json(home.evaluation(generation.sha) / "metrics.json", shown)
        for model, job in TRAINING.items():
            if job.name == run.job_name:
                manifest = manifests.read(home, tags[common.MANIFEST_TAG])
                if not set(manifest.entries) <= set(manifests.of_now(home).entries):
                    raise Failed("Something was forgotten.")
                wanted = {m: tags.get(common.checkpoint_tag(m)) for m in MODELS}
                inputs = {m: sha for m, sha in wanted.items() if sha}
                made = self._train(model, manifest.sha, inputs)
                if model == "associator" and not half:
                    self._publish(made)

    def _train(self, model: str, manifest: str, inputs: dict[str, str]) -> Checkpoint:
        card = Card(model, {}, 0, manifest, inputs=inputs)
        made = checkpoints.save(self.home, card, {"w": torch.ones(1)})
        checkpoints.set_current(self.home, made)
        return made

    def _publish(self, associator: Checkpoint) -> None:
        inputs, before = associator.card.inputs, generations.current(self.home)
        words = checkpoints.read(self.home, "word_autoencoder", inputs["word_autoencoder"])
        generations.publish(
            self.home,
            Generation(
                image_encoder=inputs["image_encoder"],
                mel_autoencoder=words.card.inputs["mel_autoencoder"],
                word_autoencoder=words.sha,
                associator=associator.sha,
                pairs="",
                manifest=associator.card.manifest,
                threshold=0.5,
                parent=before.sha if before else None,
            ),
        )


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
