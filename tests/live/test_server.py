"""Who may come in, and what a page is told and given."""

import json
import queue
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from aela.live import server
from aela.live.door import Door
from aela.live.outbox import MOST_BYTES
from aela.live.session import MOST_TABS
from aela.live.watcher import Word
from aela.mimicry import generation as generations
from aela.storage import Home
from tests.capture.media import RATE_HZ, room, voice
from tests.live.pages import PATIENCE_S, free_port, page, served, until
from tests.live.speaking import jpeg

Speaking = tuple[Home, dict[str, str]]


def address(door: Door, path: str = "/") -> str:
    return f"http://127.0.0.1:{door.port}{path}"


# Who may come in


def test_the_page_and_its_files_come_with_headers_that_keep_others_out(home: Home):
    with served(home) as (_, door):
        found = httpx.get(address(door))
        assert found.status_code == 200 and "<html" in found.text
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
        assert "default-src 'self'" in found.headers["content-security-policy"]
        for path in ("/page/index.html", "/page/../server.py", "/page/%2e%2e%2fserver.py", "/x"):
            status = httpx.get(address(door, path)).status_code
            assert status == (200 if path == "/page/index.html" else 404)


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({"Host": "localhost:PORT"}, 200),
        ({"Host": "127.0.0.1:PORT"}, 200),
        ({"Host": "evil.example:PORT"}, 403),  # somebody else's name for this machine
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Host": "127.0.0.1:PORT@evil.example"}, 403),
        ({"Host": "[::1"}, 403),
    ],
)
def test_only_who_asks_by_its_own_name_is_answered(
    home: Home, headers: dict[str, str], answered: int
):
    with served(home) as (_, door):
        named = {name: value.replace("PORT", str(door.port)) for name, value in headers.items()}
        found = httpx.get(address(door), headers=named)
        assert found.status_code == answered
        if answered == 403:
            assert found.text.count(".") == 1 and "aela live" in found.text


def test_on_the_port_that_browsers_leave_out_it_is_called_by_its_name_alone():
    door = Door.at("127.0.0.1", 80)
    assert door.is_own("http://localhost", "localhost")
    assert not door.is_called("evil.example") and not door.is_called("localhost:8080")


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1:PORT", "null", None])
def test_another_page_opens_no_socket(home: Home, origin: str | None):
    with served(home) as (session, door):
        foreign = origin and origin.replace("PORT", str(door.port))
        with pytest.raises(InvalidStatus) as refused, page(door, origin=foreign):
            pass
        assert refused.value.response.status_code == 403
        assert not session.tabs


def test_from_elsewhere_one_comes_in_with_the_token_alone(speaking: Speaking):
    home, keys = speaking
    door = Door.at("0.0.0.0", free_port())
    assert door.token and door.token in door.link
    with served(home, door=door):
        paths = [
            "/",
            "/page/index.html",
            f"/moments/frame/{keys['disc']}/0",
            "/moments/open/1",
            "/report",
        ]
        for path in [*paths, "/?token=wrong", "/?token=", f"/page/index.html?token={door.token}"]:
            assert httpx.get(address(door, path)).status_code == 403, path
        with pytest.raises(InvalidStatus), page(door):
            pass
        entered = httpx.get(address(door, f"/?token={door.token}"))
        assert entered.status_code == 303 and entered.headers["location"] == "/"
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
        jar = {"aela": door.token}
        for path in paths[:3]:
            assert httpx.get(address(door, path), cookies=jar).status_code == 200
        odd = httpx.get(address(door), headers=[(b"cookie", b"aela=\xc3\xa9\xff")])
        assert odd.status_code == 403
        with page(door, additional_headers={"Cookie": f"aela={door.token}"}) as opened:
            assert opened.wait_for("state")["tabs"] == 1


def test_a_page_of_before_the_server_began_anew_is_told_to_open_the_new_link(home: Home):
    with served(home, door=Door.at("0.0.0.0", free_port())) as (session, door):
        with page(door, additional_headers={"Cookie": "aela=old"}) as opened:
            with pytest.raises(ConnectionClosed) as closed:
                opened.wait_for("state")
            assert "printed last" in str(closed.value)
        assert not session.tabs


def test_a_long_answer_is_not_cut_off(speaking: Speaking, monkeypatch: pytest.MonkeyPatch):
    """Somebody far away reads slowly; who asks for nothing is still not waited for."""
    monkeypatch.setattr(server, "HTTP_S", 0.5)
    home, _ = speaking
    report = home.report(generations.required(home).sha)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(b"x" * 20_000_000)
    with served(home) as (_, door):
        with socket.create_connection(("127.0.0.1", door.port)) as reader:
            host = f"127.0.0.1:{door.port}".encode()
            reader.sendall(b"GET /report HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            time.sleep(1.5)
            count = 0
            while count < 20_000_000 and (data := reader.recv(1 << 16)):
                count += len(data)
            assert count >= 20_000_000
        with socket.create_connection(("127.0.0.1", door.port)) as silent:
            silent.settimeout(PATIENCE_S)
            assert silent.recv(1) == b""
    report.unlink()
    report.parent.rmdir()


def test_a_word_sounds_on_this_machine_where_no_page_plays_it(home: Home):
    with served(home) as (session, door):
        spoken: queue.Queue[Word] = queue.Queue()
        session.speaker = spoken.put
        assert httpx.get(address(door)).status_code == 200
        word = Word(1, b"RIFF")
        session.watcher.says(word, 0.0)
        assert spoken.get(timeout=PATIENCE_S) == word


def test_behind_a_reverse_proxy_its_address_is_the_origin(home: Home):
    door = Door.at("127.0.0.1", free_port(), "https://aela.example/")
    assert door.link.startswith("https://aela.example/?token=")
    cookie = {"Cookie": f"aela={door.token}"}
    with served(home, door=door):
        with page(door, origin="https://aela.example", additional_headers=cookie) as opened:
            opened.wait_for("state")
        with (
            pytest.raises(InvalidStatus),
            page(door, origin="https://other.example", additional_headers=cookie),
        ):
            pass


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://Aela.example:443/", "https://aela.example"),
        ("http://aela.example:80", "http://aela.example"),
        ("https://b\u00fccher.example:8443", "https://xn--bcher-kva.example:8443"),
        ("https://[fd00::5]", "https://[fd00::5]"),
    ],
)
def test_an_address_is_what_browsers_say(address: str, origin: str):
    assert Door.at("127.0.0.1", 8600, address).address == origin


@pytest.mark.parametrize(
    "address",
    ["aela.example", "ftp://a.example", "https://", "https://a.example/b", "https://me@a.example"],
)
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(ValueError, match="write it like https"):
        Door.at("127.0.0.1", 8600, address)


# What is remembered


def test_remembered_moments_are_given_by_known_keys_alone(speaking: Speaking):
    home, keys = speaking
    with served(home) as (_, door):
        picture = httpx.get(address(door, f"/moments/frame/{keys['box']}/3"))
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:2] == b"\xff\xd8"
        sound = httpx.get(address(door, f"/moments/clip/{keys['box']}/0"))
        assert sound.headers["content-type"] == "audio/flac" and sound.content[:4] == b"fLaC"
        for path in (
            f"/moments/frame/{keys['box']}/99",
            f"/moments/frame/{keys['box']}/-1",
            f"/moments/frame/{keys['box']}/{'9' * 4000}",
            f"/moments/rejection/{keys['box']}/0",
            "/moments/frame/nobody/0",
            "/moments/frame/..%2f..%2fvideos%2fx/0",
            "/moments/open/7",
        ):
            assert httpx.get(address(door, path)).status_code == 404, path


# What a page shows


def test_the_report_of_who_speaks_is_shown_and_may_fetch_nothing(
    speaking: Speaking, tmp_path: Path
):
    home = Home.at(shutil.copytree(str(speaking[0].root), tmp_path / "home"))
    with served(home) as (_, door):
        missing = httpx.get(address(door, "/report"))
        assert missing.status_code == 404 and "`aela report`" in missing.text
        report = home.report(generations.required(home).sha)
        report.parent.mkdir(parents=True)
        report.write_text("<title>what it learned</title>")
        shown = httpx.get(address(door, "/report"))
        assert "what it learned" in shown.text and "text/html" in shown.headers["content-type"]
        assert shown.headers.get_list("content-security-policy")[0].startswith("default-src 'none'")
        assert len(shown.headers.get_list("content-security-policy")) == 1


def test_a_page_is_told_of_levels_looks_and_what_is_kept(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("aela.live.session.MOST_LATE_S", 60.0)  # all is shown at once
    samples = room(12.0, {1.0: voice(0.6)})
    with served(home, remembering=True) as (session, door), page(door) as opened:
        assert opened.wait_for("state")["showing"] is False
        opened.say("begin")
        assert opened.wait_for("state", lambda state: state["showing"])["source"] == "page"
        for number in range(120):
            opened.picture(50 + number / 10, jpeg("disc"))
            piece = samples[number * RATE_HZ // 10 : (number + 1) * RATE_HZ // 10]
            opened.sound(50 + number / 10, piece, RATE_HZ)
        level = opened.wait_for("level")
        assert level["level_db"] > -90 and level["floor_db"] < 0
        look = opened.wait_for("look")
        assert look["sharp"] and look["seen"] is None  # nothing was learned yet
        kept = opened.wait_for("kept", lambda kept: kept["kind"] == "clip")
        assert abs(kept["at_s"] - 51) < 0.4 and kept["to_s"] > kept["at_s"]
        assert httpx.get(address(door, kept["sound"])).content[:4] == b"fLaC"
        opened.say("forget")
        gone = opened.wait_for("forgotten")
        assert gone["ids"] and "forgotten" in gone["sentence"]
        assert kept["id"] not in session.memory.kept
        assert httpx.get(address(door, kept["sound"])).status_code == 404


def test_one_page_shows_at_a_time_and_the_others_look_on(home: Home):
    with served(home) as (session, door), page(door) as first, page(door) as second:
        first.say("begin")
        first.wait_for("state", lambda state: state["showing"])
        second.say("begin")
        second.wait_for("busy")
        second.picture(1.0, jpeg("disc"))
        second.say("ping", at_s=1.5)
        assert second.wait_for("pong")["at_s"] == 1.5
        assert session.watcher.left_out == 0 and not session.feed.pieces  # type: ignore[union-attr]
        second.say("begin", take=True)
        first.wait_for("taken")
        second.wait_for("state", lambda state: state["showing"])
        first.wait_for("state", lambda state: state["taken"] and not state["showing"])
        second.say("end")
        first.wait_for("state", lambda state: not state["taken"])


def test_switches_are_told_to_all_pages(home: Home):
    with served(home) as (session, door), page(door) as first, page(door) as second:
        first.say("learn", on=False)
        first.say("speak", on=False)
        told = second.wait_for("state", lambda state: not state["speak"])
        assert told["learn"] is False and not session.memory.learning
        second.say("learn", on=True)
        first.wait_for("state", lambda state: state["learn"])


def test_so_many_pages_and_no_more(home: Home):
    with served(home) as (_, door):
        opened: list[Any] = [page(door) for _ in range(MOST_TABS)]
        pages = [one.__enter__() for one in opened]
        for one in pages:
            one.wait_for("state")
        with pytest.raises(ConnectionClosed, match="pages are open already"), page(door) as more:
            more.wait_for("state")
        for one in opened:
            one.__exit__(None, None, None)
        with page(door) as again:
            again.wait_for("state")


def test_a_page_that_does_not_read_is_sent_away(home: Home, monkeypatch: pytest.MonkeyPatch):
    """As one whose phone has left the network: it must not show for ever."""
    monkeypatch.setattr("aela.live.server.SEND_S", 1.0)
    with served(home) as (session, door), page(door, max_queue=1, ping_interval=None) as deaf:
        deaf.say("begin")
        until(lambda: session.shows is not None)
        [tab] = session.tabs
        for _ in range(400):
            session.tell({"type": "notice", "sentence": "x" * 100_000})
        assert tab.outbox.waiting_bytes < 2 * MOST_BYTES
        with page(door) as meanwhile:  # It holds up nobody.
            meanwhile.say("ping", at_s=3.0)
            meanwhile.wait_for("pong")
        until(lambda: session.shows is None and not session.tabs)
        with page(door) as other:
            other.say("begin")
            other.wait_for("state", lambda state: state["showing"])
        with pytest.raises(ConnectionClosed):
            while True:
                deaf.socket.recv(PATIENCE_S)


def test_what_is_refused_is_told_in_any_alphabet(home: Home):
    with served(home) as (_, door), page(door) as opened:
        opened.socket.send(json.dumps({"type": "\N{SNOWMAN}" * 60}, ensure_ascii=False))
        with pytest.raises(ConnectionClosed, match="no message of a page"):
            opened.wait_for("nothing")


def test_the_clock_of_a_page_that_jumps_ends_its_socket_alone(home: Home):
    with served(home) as (_, door), page(door) as other, page(door) as opened:
        opened.say("begin")
        opened.sound(5.0, np.zeros(960))
        opened.sound(500.0, np.zeros(960))
        with pytest.raises(ConnectionClosed, match="clock of this page jumped"):
            opened.wait_for("pong")
        other.say("ping", at_s=1.0)
        other.wait_for("pong")


def test_told_messages_are_json_without_nan(home: Home):
    with served(home) as (session, door), page(door) as opened:
        opened.wait_for("state")
        with pytest.raises(ValueError, match="JSON"):
            session.tabs[0].outbox.put({"type": "level", "at_s": float("nan")})
        assert json.dumps(opened.told)
