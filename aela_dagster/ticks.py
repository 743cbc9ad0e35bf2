"""Sensors that look again at once, and whose ticks cost little.

A tick costs Dagster some 70 ms of processor, whatever it finds. So one that has nothing to ask for
stays a while, as long as there may be something soon, instead of many that look in vain.
"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.instance.ref import InstanceRef
from dagster_shared.serdes import deserialize_value, serialize_value

AWAITED_S = 13.0  # that a tick waits at most for what it can ask for
LOOK_S = 0.5  # between looks at whether it is there

Again = Callable[[dg.SensorEvaluationContext], bool]
"""Waits, for some seconds at most, until a tick may find something to ask for; whether it may."""


class Sensor(dg.SensorDefinition):
    """One whose ticks share an open instance, and that looks again when `again` says so.

    Left alone, Dagster opens its instance anew for each tick and reads all its database migrations
    to do so, which takes three times as long as looking in vain.
    """

    def __init__(self, tick: Callable[..., Any], again: Again | None, **settings: Any) -> None:
        super().__init__(tick.__name__, evaluation_fn=tick, **settings)
        self.again = again

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        if context.instance_ref is not None:
            context._instance = _opened(serialize_value(context.instance_ref))
        found = super().evaluate_tick(context)
        if self.again and not found.run_requests and self.again(context):
            return super().evaluate_tick(context)
        return found


def sensor(
    *, again: Again | None = None, **settings: Any
) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """As `dagster.sensor`, by the name of the function."""
    return lambda tick: Sensor(tick, again, **settings)


def looks() -> Iterator[None]:
    """Yields whenever a tick that waits is to look again; no longer once the process is to end."""
    end = time.monotonic() + AWAITED_S
    while time.monotonic() < end and threading.main_thread().is_alive():
        time.sleep(LOOK_S)
        yield


@lru_cache(maxsize=1)
def _opened(ref: str) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(deserialize_value(ref, InstanceRef))
