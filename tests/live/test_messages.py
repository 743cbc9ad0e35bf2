"""What a page may say, and what is turned away in a sentence."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from aela.live import messages
from aela.live.messages import BadMessage
from tests.live.speaking import jpeg


def picture(data: bytes, stamp_s: float = 1.5) -> bytes:
    return struct.pack("<Bd", 1, stamp_s) + data


def sound(samples: int, rate_hz: int = 48_000, stamp_s: float = 1.5) -> bytes:
    return struct.pack("<BdI", 2, stamp_s, rate_hz) + bytes(2 * samples)


def as_jpeg(width: int, height: int, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(str(options.pop("mode", "RGB")), (width, height)).save(file, "JPEG", **options)
    return file.getvalue()


def claims(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(as_jpeg(64, 48))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_pictures_and_sound_are_read():
    found = messages.of_bytes(picture(jpeg("disc")))
    assert isinstance(found, messages.Picture)
    assert (found.stamp_s, found.width, found.height) == (1.5, 320, 240)
    heard = messages.of_bytes(struct.pack("<BdIhh", 2, 2.0, 44_100, -32768, 5))
    assert isinstance(heard, messages.Sound) and heard.rate_hz == 44_100
    np.testing.assert_array_equal(heard.samples, [-32768, 5])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x07" + bytes(40),
        picture(b"no picture"),
        picture(jpeg("disc"), float("nan")),
        picture(jpeg("disc"), -1.0),
        picture(jpeg("disc"), float("inf")),
        picture(jpeg("disc")[:40]),
        picture(claims(65_000, 65_000)),
        picture(claims(4, 4)),
        picture(as_jpeg(2000, 100)),
        picture(as_jpeg(64, 48, progressive=True)),
        picture(as_jpeg(64, 48, mode="CMYK")),
        picture(bytes(messages.MOST_BYTES)),
        sound(0),
        sound(960, rate_hz=0),
        sound(960, rate_hz=4_000_000_000),
        sound(960, stamp_s=float("nan")),
        sound(48_000),
        sound(960)[:-1],
    ],
)
def test_what_is_neither_is_turned_away_in_a_sentence(data: bytes):
    with pytest.raises(BadMessage) as error:
        messages.of_bytes(data)
    assert str(error.value).endswith(".") and len(str(error.value)) < 120


def test_texts_are_read():
    assert messages.of_text('{"type":"begin"}') == messages.Begin("begin")
    assert messages.of_text('{"type":"begin","take":true}') == messages.Begin("begin", True)
    assert messages.of_text('{"type":"learn","on":false}') == messages.Switch("learn", False)
    played = messages.of_text('{"type":"playing","word":null,"from_s":1,"to_s":2.5}')
    assert played == messages.Playing("playing", 1.0, 2.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"type":"nothing"}',
        '{"type":"learn"}',
        '{"type":"learn","on":"yes"}',
        '{"type":"playing","from_s":NaN,"to_s":1}',
        '{"type":"playing","from_s":1e999,"to_s":1}',
        '{"type":"playing","from_s":-1,"to_s":1}',
        '{"type":"dropped","pictures":-4}',
        json.dumps({"type": "ping", "at_s": "1"}),
        "[" * 4000,
        "x" * 5000,
        '{"type":"begin","take":1}',
    ],
)
def test_other_texts_are_turned_away_in_a_sentence(text: str):
    with pytest.raises(BadMessage) as error:
        messages.of_text(text)
    assert str(error.value).endswith(".")
