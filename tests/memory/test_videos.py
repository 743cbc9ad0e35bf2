import io

import pytest
from upath import UPath

from aela.memory import videos
from aela.memory.videos import UnknownVideo
from aela.storage import Home, sha256_file


def _file(folder: UPath, name: str, content: bytes = b"video") -> UPath:
    path = UPath(folder / name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_video_is_known_by_name_and_content(home: Home, tmp_path):
    video = videos.take_in(home, _file(tmp_path, "red cup.mp4"), "learn", move=False)
    assert video.video.startswith("red_cup-")
    assert videos.find(home, video.video) == video
    assert videos.media_of(home, video).read_bytes() == b"video"
    other = videos.take_in(home, _file(tmp_path, "b/red cup.mp4", b"other"), "learn", move=False)
    assert other.video != video.video
    assert [v.video for v in videos.known(home)] == [video.video, other.video]


def test_what_a_person_reads_of_a_key_names_one_video(home: Home, tmp_path):
    video = videos.take_in(home, _file(tmp_path, "red-cup.mp4"), "learn", move=False)
    assert videos.without_hash(video.video) == "red-cup"
    live = "live-20250101T120000Z-00003"
    assert videos.without_hash(live) == live


def test_the_same_content_again_is_the_same_video(home: Home, tmp_path):
    first = videos.take_in(home, _file(tmp_path, "cup.mp4"), "learn", move=False)
    again = videos.take_in(home, _file(tmp_path, "renamed.mp4"), "learn", move=True)
    assert again.video == first.video
    assert not (tmp_path / "renamed.mp4").exists()
    assert len(videos.known(home)) == 1


def test_the_same_content_with_another_ending_is_kept_once(home: Home, tmp_path):
    videos.take_in(home, _file(tmp_path, "cup.mp4"), "learn", move=True)
    again = videos.take_in(home, _file(tmp_path, "cup.mkv"), "learn", move=True)
    [file] = (home.videos / "files").iterdir()
    assert videos.media_of(home, again) == file


def test_a_read_error_does_not_change_the_hash(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(videos, "BLOCK_BYTES", 4)
    content = b"a video of many blocks"
    path, patient = _file(tmp_path, "cup.mp4", content), videos.PatientHash()
    with pytest.raises(videos.NotReadYet):
        patient(path)
    patient.deadline = float("inf")
    with monkeypatch.context() as broken:
        broken.setattr(UPath(path).__class__, "open", lambda *_: Failing(content))
        with pytest.raises(OSError, match="disk"):
            patient(path)
    assert patient(path) == sha256_file(path)


class Failing(io.BytesIO):
    """A file of which one more block can be read."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise OSError("the disk cannot be read")
        return super().read(size)


def test_a_video_can_have_both_roles_and_keeps_them(home: Home, tmp_path):
    learnt = videos.take_in(home, _file(tmp_path, "cup.mp4"), "learn", move=False)
    both = videos.take_in(home, _file(tmp_path, "cup.mp4"), "watch", move=False)
    assert (both.video, both.roles) == (learnt.video, ("learn", "watch"))
    for role in videos.ROLES:
        assert [video.video for video in videos.known(home, role)] == [learnt.video]


def test_what_is_copied_is_known_only_once_it_is_whole(home: Home, tmp_path, monkeypatch):
    known: list[int] = []

    def slowly(reader, writer, size: int) -> None:
        known.append(len(videos.known(home)))
        writer.write(reader.read())

    monkeypatch.setattr("aela.memory.videos.shutil.copyfileobj", slowly)
    taken = videos.take_in(home, _file(tmp_path, "cup.mp4"), "learn", move=False)
    assert (known, videos.known(home)) == ([0], [taken])


def test_a_file_that_looks_like_a_record_is_only_a_file(home: Home, tmp_path):
    taken = videos.take_in(home, _file(tmp_path, "labels.json", b"{}"), "learn", move=True)
    assert videos.known(home) == [taken]
    assert videos.media_of(home, taken).read_bytes() == b"{}"


NAMES = ["../../up.mp4", "a\nb.mp4", "-rf.mp4", "...mp4", "ä ö.mp4", "caf\udce9.mp4"]


@pytest.mark.parametrize("name", [*NAMES, "x" * 200 + ".mp4", "録" * 80 + ".mp4"])
def test_keys_are_safe_file_names(name: str):
    key = videos.key(name, "0123456789abcdef")
    assert key.endswith("-01234567")
    assert "/" not in key and "\n" not in key and not key.startswith((".", "-"))
    assert len(key.encode()) < 120


def test_an_empty_file_is_refused(home: Home, tmp_path):
    with pytest.raises(ValueError, match="empty"):
        videos.take_in(home, _file(tmp_path, "nothing.mp4", b""), "learn", move=False)


def test_an_unknown_role_is_refused(home: Home, tmp_path):
    with pytest.raises(ValueError, match="role"):
        videos.take_in(home, _file(tmp_path, "cup.mp4"), "train", move=False)  # type: ignore[arg-type]


def test_a_key_never_leaves_the_home(home: Home):
    with pytest.raises(UnknownVideo):
        videos.find(home, "../secrets")


def test_quarantine_keeps_the_file_and_the_reason(home: Home, tmp_path):
    video = videos.take_in(home, _file(tmp_path, "bad.mp4"), "learn", move=False)
    kept = videos.quarantine(home, video, "It is broken; record it again.")
    assert kept.read_bytes() == b"video"
    assert "broken" in UPath(f"{kept}.txt").read_text()
    assert videos.known(home) == []
