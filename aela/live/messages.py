"""What a page may say to the server: everything from outside is looked at here, and bounded.

Pictures and sound come as binary messages, all else as small JSON texts.
"""

import math
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

MOST_JPEG_BYTES = 512 << 10
MOST_SIDE_PX = 1280
RATES_HZ = range(8_000, 192_001)
MOST_SOUND_S = 0.5  # of one message
MOST_TEXT = 4 << 10  # characters
MOST_STAMP_S = 1e9  # a page that is open for thirty years
MOST_BYTES = MOST_JPEG_BYTES + 64  # of one message

PICTURE, SOUND = 1, 2
PICTURE_HEAD, SOUND_HEAD = struct.Struct("<Bd"), struct.Struct("<BdI")


class BadMessage(ValueError):
    """No message of a page; says in one sentence what is wrong with it."""


@dataclass(frozen=True)
class Picture:
    """A JPEG, its size looked at but not decoded, and when it was taken by the page's clock."""

    stamp_s: float
    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Sound:
    """int16 mono samples [n], and when the first was heard by the page's clock."""

    stamp_s: float
    rate_hz: int
    samples: np.ndarray


Stamp = Annotated[float, Field(ge=0, le=MOST_STAMP_S, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0, le=1 << 53)]


@checked(frozen=True)
class Begin:
    """This tab shows from now on; `take`: also if another one does."""

    type: Literal["begin"]
    take: bool = False


@checked(frozen=True)
class End:
    """This tab shows no more."""

    type: Literal["end"]


@checked(frozen=True)
class Switch:
    """Learn or do not; speak or do not."""

    type: Literal["learn", "speak"]
    on: bool


@checked(frozen=True)
class Forget:
    """Forget the last moment."""

    type: Literal["forget"]


@checked(frozen=True)
class Playing:
    """The page plays a sound, from when to when by its clock; `word` is none for a remembered
    one."""

    type: Literal["playing"]
    from_s: Stamp
    to_s: Stamp
    word: Number | None = None


@checked(frozen=True)
class Dropped:
    """So many more pictures were not sent, as the connection was too slow."""

    type: Literal["dropped"]
    pictures: Annotated[int, Field(ge=0, le=100_000)]


@checked(frozen=True)
class Ping:
    """Asks for an answer."""

    type: Literal["ping"]
    at_s: Stamp


Told = Begin | End | Switch | Forget | Playing | Dropped | Ping
_TOLD: TypeAdapter[Told] = TypeAdapter(Annotated[Told, Field(discriminator="type")])


def of_bytes(data: bytes) -> Picture | Sound:
    """A binary message.

    Raises:
        BadMessage: it is neither a picture nor sound, or larger than they may be.
    """
    if len(data) > MOST_BYTES:
        raise BadMessage(f"A message of {len(data)} bytes is larger than {MOST_BYTES}.")
    if data[:1] == bytes([PICTURE]) and len(data) > PICTURE_HEAD.size:
        _, stamp_s = PICTURE_HEAD.unpack_from(data)
        return _picture(_checked_stamp(stamp_s), data[PICTURE_HEAD.size :])
    if data[:1] == bytes([SOUND]) and len(data) > SOUND_HEAD.size:
        _, stamp_s, rate_hz = SOUND_HEAD.unpack_from(data)
        return _sound(_checked_stamp(stamp_s), rate_hz, data[SOUND_HEAD.size :])
    raise BadMessage("A binary message is a picture (1) or sound (2).")


def of_text(text: str) -> Told:
    """A JSON message.

    Raises:
        BadMessage: it is none that a page sends.
    """
    if len(text) > MOST_TEXT:
        raise BadMessage(f"A text of {len(text)} characters is longer than {MOST_TEXT}.")
    try:
        return _TOLD.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise BadMessage(f"This is no message of a page: {first['msg']}.") from None


def _checked_stamp(stamp_s: float) -> float:
    if not (math.isfinite(stamp_s) and 0 <= stamp_s <= MOST_STAMP_S):
        raise BadMessage("A time stamp is a number of seconds from 0 on.")
    return stamp_s


def _picture(stamp_s: float, jpeg: bytes) -> Picture:
    try:
        with Image.open(BytesIO(jpeg), formats=["JPEG"]) as picture:
            width, height = picture.size
            # Each pass of a progressive picture costs a decoding, and a small file has thousands.
            plain = "progressive" not in picture.info and picture.mode in ("RGB", "L")
    except Exception:  # Pillow raises much else than OSError where headers are made up.
        raise BadMessage("A picture is a JPEG.") from None
    if not plain or not 16 <= min(width, height) <= max(width, height) <= MOST_SIDE_PX:
        raise BadMessage(
            f"A picture is a baseline JPEG with sides of 16 to {MOST_SIDE_PX} pixels, not "
            f"{width} x {height}."
        )
    return Picture(stamp_s, jpeg, width, height)


def _sound(stamp_s: float, rate_hz: int, data: bytes) -> Sound:
    if rate_hz not in RATES_HZ:
        raise BadMessage(f"Sound has {RATES_HZ[0]} to {RATES_HZ[-1]} samples a second.")
    if len(data) % 2 or len(data) // 2 > MOST_SOUND_S * rate_hz:
        raise BadMessage(f"Sound comes as 16 bit samples, at most {MOST_SOUND_S} s at a time.")
    return Sound(stamp_s, rate_hz, np.frombuffer(data, "<i2"))
