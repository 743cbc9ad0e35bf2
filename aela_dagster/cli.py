"""The command line `aela`: a thin skin over the jobs and the science."""

import contextlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aela.capture import UnreadableVideo
from aela.learning.checkpoints import UnknownCheckpoint
from aela.memory.manifest import ChangedMemory, EmptyMemory, UnknownManifest
from aela.memory.videos import UnknownVideo
from aela.mimicry.generation import UnknownGeneration
from aela.mimicry.trace import UnknownPrediction
from aela.storage import Home
from aela_dagster import generations_cli, memory_cli
from aela_dagster.options import HomeOption, existing
from aela_dagster.runs import NoInstance, RunFailed, Runner, check_compute, prepare_dagster

app = typer.Typer(
    help="AELA learns, from scratch and from video alone, to say the name of what it sees.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(memory_cli.app, name="memory")
app.add_typer(generations_cli.app, name="generations")
console = Console()

USER_ERRORS = (
    ChangedMemory,
    EmptyMemory,
    NoInstance,
    OSError,
    RunFailed,
    UnknownCheckpoint,
    UnknownGeneration,
    UnknownManifest,
    UnknownPrediction,
    UnknownVideo,
    UnreadableVideo,
    ValueError,
)

PresetOption = Annotated[
    str,
    typer.Option(
        help="`aela1` (default), `aela0` (the article's) or `quick`.", envvar="AELA_PRESET"
    ),
]
EffortOption = Annotated[
    float,
    typer.Option(
        help="Share of the preset's training steps and minutes to spend.",
        min=0.001,
        envvar="AELA_EFFORT",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(help="`cpu`, `cuda`, or `auto`: cuda if there is one.", envvar="AELA_DEVICE"),
]
SeedOption = Annotated[int, typer.Option(help="Seed of all randomness in training.", min=0)]
Videos = Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.")]


def main() -> None:
    """Entry point: what a user can mend is said in one sentence, without a traceback."""
    try:
        app()
    except Exception as error:
        # What an S3 client says of credentials and connections is one sentence, too.
        of_store = type(error).__module__ == "botocore.exceptions"
        if os.environ.get("AELA_DEBUG") or not (of_store or isinstance(error, USER_ERRORS)):
            raise
        sentence = str(error)
        if isinstance(error, OSError) and error.strerror:
            sentence = f"{error.filename}: {error.strerror}." if error.filename else error.strerror
        Console(stderr=True).print(
            f"[bold red]aela:[/] {escape(sentence)}", highlight=False, soft_wrap=True
        )
        sys.exit(1)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(importlib.metadata.version("aela"))
        raise typer.Exit


def _check_variables() -> None:
    """Before the processes of Dagster do it, whose words nobody reads.

    Raises:
        ValueError: a variable of the environment holds what its setting cannot be.
    """
    import aela_dagster.definitions  # noqa: F401


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_tell_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    videos: Annotated[
        Path | None, typer.Option(help="Your own videos to learn from, instead of samples.")
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(help="A video, or a folder of them, to watch afterwards.")
    ] = None,
    home: Annotated[
        str | None,
        typer.Option(
            help="Data folder; without it one below `demo` for each folder of videos, whatever "
            "`$AELA_HOME` says."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Whatever `$AELA_PRESET` says: `quick` for the samples, `aela1` for your own "
            "videos."
        ),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> None:
    """Make sample videos, learn from them, watch others, and show what it said.

    Example: `aela demo` or `aela demo --videos my/learn --watch my/watch`
    """
    from aela_dagster import demo as demonstration

    demonstration.run(console, home, videos, watch, preset, device, seed)


@app.command()
def learn(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(help="Videos, or folders of videos; none to learn from memory as it is."),
    ] = None,
    home: HomeOption = None,
    preset: PresetOption = "aela1",
    effort: EffortOption = 1.0,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> None:
    """Remember videos and train on everything remembered, or without any on what is.

    A video with more than AELA_MAX_PIXELS a picture (40 million) is refused, and what comes after
    AELA_MAX_SECONDS (43200) is left out.

    Example: `aela learn kitchen.mp4 garden/`
    """
    from aela_dagster import stages

    runner = Runner.at(
        Home.at(home), preset=preset, effort=effort, device=device, seed=seed, bars=True
    )
    sources = stages.files(videos) if videos else []
    ingested = stages.ingest(console, runner, sources, "learn") if sources else []
    stages.learn(console, runner)
    stages.require_all(sources, ingested)


@app.command()
def watch(
    videos: Videos,
    home: HomeOption = None,
    volume: Annotated[
        float | None,
        typer.Option(
            help="Share of the recorded sound that stays in the spoken video: 0 for none, 1 for "
            "all; AELA_ORIGINAL_VOLUME or 0.3 without it.",
            min=0,
            max=1,
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Look at videos and say what is seen; nothing is learned from them.

    Example: `aela watch afternoon.mp4 --volume 0`
    """
    from aela.mimicry import generation as generations
    from aela_dagster import stages

    runner = Runner.at(Home.at(home), device=device)
    sources = stages.files(videos)
    generations.required(runner.home)
    watched = stages.ingest(console, runner, sources, "watch")
    stages.watch(console, runner, watched, original_volume=volume)
    stages.require_all(sources, watched)


@app.command()
def add(
    videos: Videos,
    role: Annotated[str, typer.Option(help="`learn` or `watch`.")] = "learn",
    home: HomeOption = None,
) -> None:
    """Make videos partitions without running anything; prints one partition key a line.

    Example: `export DAGSTER_HOME=$PWD/data/dagster`, then
    `dagster asset materialize -m aela_dagster.definitions --select frames,clips
    --partition "$(aela add kitchen.mp4)"`
    """
    from aela.memory.videos import ROLES
    from aela_dagster import stages

    if role not in ROLES:
        raise ValueError(f"A video's role is one of {', '.join(ROLES)}, not {role!r}.")
    runner = Runner.at(Home.at(home))
    for file in stages.files(videos):
        print(runner.take_in(file, role).video)


@app.command()
def record(
    source: Annotated[
        str,
        typer.Argument(
            help="Devices (`v4l2:/dev/video0+alsa:plughw:0`, `avfoundation:0:0?framerate=30`, "
            "FFmpeg's options after `?`), an `rtsp://` or `https://` stream, a named pipe, or a "
            "file with `--replay`."
        ),
    ],
    role: Annotated[str, typer.Option(help="`learn` or `watch`.")] = "learn",
    minutes: Annotated[
        int | None, typer.Option(help="Stop after so many minutes; else at Ctrl+C.", min=1)
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Play a file at its own speed as if it were live.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Remember what a camera sees and a microphone hears, minute by minute.

    Each minute is a video of its own, `live-<start>-<number>`, known about 6 s after it is over;
    `aela up` learns from it, or watches it. No film is kept, only frames and clips.

    Example: `aela record v4l2:/dev/video0?video_size=1280x720+alsa:plughw:0 --minutes 10`
    """
    from aela_dagster import recording

    recording.run(console, Runner.at(Home.at(home)), source, role, minutes, replay)


@app.command()
def live(
    host: Annotated[
        str, typer.Option(help="Address to listen at; other than this machine's, with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65535)] = 8600,
    address: Annotated[
        str | None,
        typer.Option(help="What people open, where a reverse proxy stands before the page."),
    ] = None,
    camera: Annotated[
        int | None,
        typer.Option(help="Number of a camera of this machine, instead of the browser's.", min=0),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="What `aela record` follows, or a video that is played at its own speed, instead "
            "of the browser's camera."
        ),
    ] = None,
    learn: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Remember and learn from what is shown.")
    ] = True,
    home: HomeOption = None,
    preset: PresetOption = "aela1",
    effort: EffortOption = 1.0,
    device: DeviceOption = "auto",
) -> None:
    """Show things to a camera and name them; a few minutes later it says their names itself.

    Opens a page with your camera and microphone. Each minute of it is remembered as a video of its
    own, frames and clips alone, and learned from in the background, by the stack of `aela up` where
    that runs already. "Forget that" on the page forgets the last moment for good.

    Example: `aela live`, then open the link it prints; `aela live --camera 0` without a browser's
    camera; `aela live --source kitchen.mp4` to see it at work on a video
    """
    from aela.live.door import Door
    from aela_dagster import live as living

    if camera is not None and source is not None:
        raise ValueError("Give either --camera or --source, not both.")
    if camera is not None:
        source = living.camera_source(camera)
    os.environ |= {"AELA_PRESET": preset, "AELA_EFFORT": str(effort), "AELA_DEVICE": device}
    runner = Runner.at(Home.at(home), preset=preset, effort=effort, device=device)
    _check_variables()
    living.run(console, runner, Door.at(host, port, address), source, learn)


@app.command()
def up(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="Port of the UI.", min=1, max=65535)] = 3000,
    preset: PresetOption = "aela1",
    effort: EffortOption = 1.0,
    device: DeviceOption = "auto",
) -> None:
    """Open the UI, and learn from and watch whatever is dropped into the inbox.

    A video with more than AELA_MAX_PIXELS a picture (40 million) is set aside, and what comes after
    AELA_MAX_SECONDS (43200) is left out.

    Example: `aela up --port 3000`, then copy videos into `data/inbox/learn` and
    `data/inbox/watch`
    """
    from aela.live.door import listening
    from aela.memory.videos import ROLES
    from aela_dagster.learner import lock_for_exec

    check_compute(preset, effort, device)
    _check_variables()
    where = Home.at(home)
    folder = prepare_dagster(where)
    with contextlib.closing(listening("127.0.0.1", port)):
        pass  # It can be had.
    for role in ROLES:
        where.inbox(role).mkdir(parents=True, exist_ok=True)
    console.print(
        f"UI on [bold]http://127.0.0.1:{port}[/] (this machine only); stop with Ctrl+C.\n"
        f"Drop videos to learn from into {where.inbox('learn')}\n"
        f"and videos to watch into       {where.inbox('watch')}",
        highlight=False,
        soft_wrap=True,
    )
    where_to = ["-m", "aela_dagster.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.environ |= {"AELA_PRESET": preset, "AELA_EFFORT": str(effort), "AELA_DEVICE": device}
    dagster = ["dagster", "dev"]
    if not lock_for_exec(folder):  # A second daemon would ask for the same again.
        dagster = ["dagster_webserver"]
        console.print(
            "`aela up` or `aela live` runs on this home and learns: this is the UI alone. When the "
            "other ends, start `aela up` again."
        )
    # Replaced, not started: Ctrl+C reaches Dagster, which ends its processes in order.
    os.execv(sys.executable, [sys.executable, "-m", *dagster, *where_to])


@app.command()
def status(home: HomeOption = None) -> None:
    """Say what is being done, what each model waits for, and which generation speaks.

    Example: `aela status`
    """
    from aela_dagster import status as told

    told.run(console, Runner.at(existing(home)))


@app.command()
def trace(
    what: Annotated[
        str, typer.Argument(help="`VIDEO@SECONDS` or `VIDEO`; VIDEO may be shortened.")
    ],
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Write a page about the prediction instead: an HTML file.")
    ] = None,
    look: Annotated[bool, typer.Option("--open", help="Open the page, too.")] = False,
) -> None:
    """Follow a prediction back: generation, checkpoints, manifest, frames and clip it leans on.

    Of a video without a time, it shows what depends on it: checkpoints, generations, predictions.

    Example: `aela trace afternoon-1a2b3c4d@12.5 --page trace.html --open` or `aela trace kitchen`
    """
    from aela_dagster import tracing

    tracing.run(console, Home.at(home), what, as_json=as_json, page=page, look=look)


@app.command()
def report(
    home: HomeOption = None,
    preset: PresetOption = "aela1",
    effort: EffortOption = 1.0,
    device: DeviceOption = "auto",
    look: Annotated[bool, typer.Option("--open", help="Open the report, too.")] = False,
) -> None:
    """Measure the generation that speaks and write its report: one HTML file, for any browser.

    `aela up` does it by itself when there is nothing to learn or watch. With labels,
    `aela score` adds what they tell.

    Example: `aela report --open`
    """
    from aela_dagster import stages

    runner = Runner.at(Home.at(home), preset=preset, effort=effort, device=device, bars=True)
    written = stages.report(console, runner)
    if look:
        typer.launch(str(written))


@app.command()
def reproduce(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's hash, or the start of it.")],
    home: HomeOption = None,
) -> None:
    """Train a checkpoint again from its card and manifest, and compare the weights bit by bit.

    Equal weights are to be expected on the same machine, on the CPU; else it is said what differs.
    Nothing that was learned changes.

    Example: `aela reproduce 1a2b3c4d`
    """
    from aela.reproduce import reproduce as again

    with console.status("Training it again …") as status:
        found = again(Home.at(home), checkpoint, lambda progress: status.update(str(progress)))
    card, sha = found.checkpoint.card, found.checkpoint.sha
    if found.equal:
        said = f"{found.weights} tensors have the same weights, bit by bit ({found.seconds:.0f} s)."
    elif found.trained:
        said = (
            f"{len(found.apart)} of {found.weights} tensors have other weights, at most "
            f"{max(found.apart.values()):.2g} apart ({found.seconds:.0f} s)."
        )
    else:
        said = "It cannot be trained again as it was."
    console.print(f"{card.model} {sha}: {said}", highlight=False, soft_wrap=True)
    for sentence in found.differs:
        console.print(f"  {escape(sentence)}", highlight=False, soft_wrap=True)
    if not found.equal:
        raise typer.Exit(1)


@app.command()
def score(
    predictions: Annotated[
        Path, typer.Argument(help="A predictions table (.parquet), or a folder of them.")
    ],
    labels: Annotated[Path, typer.Argument(help="labels.json, used for scoring only.")],
    home: HomeOption = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the JSON.")] = None,
    untrained: Annotated[
        bool, typer.Option(help="Score the same system with an untrained image encoder beside it.")
    ] = False,
    preset: PresetOption = "aela1",
    seed: SeedOption = 0,
) -> None:
    """Score predictions against labels: word accuracy, precision, recall, silence, sign accuracy.

    Example: `aela score data/predictions labels.json --out score.json`
    """
    from aela_dagster import scoring

    scoring.run(console, Home.at(home), predictions, labels, out, untrained, preset, seed)


@app.command()
def doctor(home: HomeOption = None) -> None:
    """Check the installation, the device and the data folder.

    Example: `aela doctor`
    """
    from aela_dagster.doctor import examine

    table = Table("", "what", "found")
    examined = examine(Home.at(home))
    for finding in examined:
        table.add_row("[green]ok[/]" if finding.ok else "[red]no[/]", finding.what, finding.found)
    console.print(table)
    if not all(finding.ok for finding in examined):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
