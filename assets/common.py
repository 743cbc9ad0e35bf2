"""What all assets share: partitions, owners, retries, plain failures, pictures in metadata."""

import base64
import contextlib
from collections.abc import Iterator

import dagster as dg

from aela.capture import UnreadableVideo
from aela.learning.checkpoints import UnknownCheckpoint
from aela.memory.manifest import ChangedMemory, EmptyMemory, UnknownManifest
from aela.memory.videos import UnknownVideo
from aela.mimicry.generation import UnknownGeneration
from aela.ranges import WrongSetting
from aela.storage import DiskFull

videos = dg.DynamicPartitionsDefinition(name="videos")

OWNERS = ["team:aela"]
RETRY_STORAGE = dg.RetryPolicy(max_retries=2, delay=2)
MANIFEST_TAG = "aela/manifest"
"""On a run: the manifest that it is to learn from."""
PLAIN_ERRORS = (
    ChangedMemory,
    DiskFull,
    UnreadableVideo,
    EmptyMemory,
    UnknownCheckpoint,
    UnknownGeneration,
    UnknownManifest,
    UnknownVideo,
    WrongSetting,
)


def checkpoint_tag(model: str) -> str:
    """The tag of a run that names the checkpoint of `model` which it is to build on."""
    return f"aela/{model}"


@contextlib.contextmanager
def plain_failures() -> Iterator[None]:
    """Errors that speak to the user fail the step with their one sentence, without retries."""
    try:
        yield
    except PLAIN_ERRORS as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG as metadata that the UI shows."""
    return dg.MetadataValue.md(f"![](data:image/png;base64,{base64.b64encode(png).decode()})")


def columns(schema: dict[str, tuple[str, str]]) -> dg.TableSchema:
    """A column schema from `{name: (type, description)}`."""
    return dg.TableSchema(
        [dg.TableColumn(name, kind, description) for name, (kind, description) in schema.items()]
    )
