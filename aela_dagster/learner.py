"""The learning stack beside a live session: the daemon that is there, or one of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from aela_dagster.recording import locked

NICENESS = 10  # trainings wait for the live session, not the other way round
ALIVE_S = 75.0  # daemons say each 30 s that they run
LOOK_S = 5.0
STOP_S = 20.0
LOCK = "daemon.lock"  # in Dagster's folder, held for as long as a daemon of ours runs


class Learner:
    """A thread that sees to it that the sensors run, and what they ask for.

    A daemon that looks after the home already, as that of `aela up`, is left to it; where there is
    none, or no more, one is started.
    """

    def __init__(self, instance: dg.DagsterInstance, tell: Callable[[str], None]) -> None:
        self.instance, self.tell = instance, tell
        self.process: subprocess.Popen[bytes] | None = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="learner", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End what was started, and all that it has begun; trainings go on at the next start."""
        self.stopping.set()
        self.thread.join()
        if self.process is not None:
            _end(self.process)
            self.instance.wipe_daemon_heartbeats()  # The next start need not wait for this one.

    def _run(self) -> None:
        while not self.stopping.is_set():
            ended = self.process is None or self.process.poll() is not None
            try:
                if ended and not is_looked_after(self.instance):
                    self.process = _started() or self.process
            except Exception as error:  # Dagster's database is busy, or no process to be had.
                self.tell(f"Learning could not be started ({error}); trying again.")
            self.stopping.wait(LOOK_S)


def is_looked_after(instance: dg.DagsterInstance) -> bool:
    """Whether some daemon runs the sensors."""
    heartbeats = instance.get_daemon_heartbeats().values()
    return any(time.time() - heartbeat.timestamp < ALIVE_S for heartbeat in heartbeats)


def lock_for_exec(dagster_home: Path) -> bool:
    """Lock the home for the daemon that this process is about to become; False if there is one."""
    handle = os.open(dagster_home / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    os.set_inheritable(handle, True)
    return locked(handle)


def _started() -> subprocess.Popen[bytes] | None:
    folder = Path(os.environ["DAGSTER_HOME"])
    with (folder / "live.log").open("ab") as file, (folder / LOCK).open("ab") as lock:
        if not locked(lock.fileno()):  # Another daemon has only just begun.
            return None
        process = subprocess.Popen(
            [sys.executable, "-m", "aela_dagster.learner", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl+C is for the live session, which ends it in order.
            pass_fds=[lock.fileno()],  # Locked for as long as it runs, whatever ends the session.
        )
    os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    # Where Linux shares the processor among sessions first, only this tells it among them.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS))
    return process


def main() -> None:
    """Be the daemon of a live session, whose process number is given, and end when it is gone."""
    from dagster._daemon.cli import cli

    threading.Thread(target=_end_after, args=[int(sys.argv[1])], daemon=True).start()
    cli(["run", "-m", "aela_dagster.definitions"])


def _end_after(session: int) -> None:
    while os.getppid() == session:
        time.sleep(1)
    os.killpg(0, signal.SIGINT)  # the daemon and all that it has begun


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those it has started, more and more firmly."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, ending)
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


if __name__ == "__main__":
    main()
