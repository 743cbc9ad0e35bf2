"""When a model is trained, on what, and what it waits for: from what is known alone."""

from dataclasses import replace

import pytest

from aela.learning import schedule
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.schedule import Conditions, Known, Speaking, Training
from aela.memory.manifest import Entry, Manifest

NOW_S = 1000.0
AT_ONCE = Conditions()
CUP, PEN, KEY = (Entry(name, f"content of {name}", 30, 6) for name in ("cup", "pen", "key"))
MUTE = Entry("mute", "content of mute", 30, 0)


def known(
    memory: list[Entry], seen: list[Entry] | None = None, heard: list[Entry] | None = None
) -> Known:
    """A memory of which sight and hearing have learned parts, if anything."""
    learned, current = {}, {}
    for model, entries in {
        "image_encoder": seen,
        "mel_autoencoder": heard,
        "word_autoencoder": heard,
    }.items():
        if entries is not None:
            learned[model] = Manifest(tuple(entries))
            inputs = {"mel_autoencoder": "mel"} if model == "word_autoencoder" else {}
            card = Card(model, {}, 0, learned[model].sha, inputs=inputs)
            current[model] = Checkpoint(model[:3], card)
    landed = {entry.video: NOW_S for entry in memory}
    return Known(Manifest(tuple(memory)), landed, current=current, learned=learned)


def speaking(of: Known, entries: list[Entry], image_encoder: str = "ima") -> Known:
    return replace(of, speaking=Speaking(image_encoder, "wor", "ass", Manifest(tuple(entries))))


def asked(model: str, of: Known, conditions: Conditions = AT_ONCE, **more: float) -> Training:
    found = schedule.next_training(model, of, conditions, more.get("now_s", NOW_S))
    assert isinstance(found, Training), found
    return found


def waits(
    model: str,
    of: Known,
    conditions: Conditions = AT_ONCE,
    coming: tuple[str, ...] = (),
    **more: float,
) -> str:
    found = schedule.next_training(model, of, conditions, more.get("now_s", NOW_S), coming)
    assert isinstance(found, str), found
    assert found.endswith(".") and found.count(".") == 1
    return found


@pytest.mark.parametrize("model", ["image_encoder", "mel_autoencoder"])
def test_the_first_video_is_learned_at_once_and_so_is_each_new_one(model: str):
    first = asked(model, known([CUP]))
    assert first.manifest.entries == (CUP,) and first.replaces is None
    assert "1 video" in waits(model, known([CUP], [CUP], [CUP]))
    again = asked(model, known([CUP, PEN], [CUP], [CUP]))
    assert again.manifest.entries == (CUP, PEN) and again.replaces == model[:3]
    assert again.key != first.key and "of 1 video are new" in again.why


def test_a_memory_too_small_is_told_with_its_size():
    conditions = Conditions(least_frames=128, least_clips=12)
    assert "30 frames to learn from; it begins with 128" in waits(
        "image_encoder", known([CUP]), conditions
    )
    assert "6 clips to learn from; it begins with 12" in waits(
        "mel_autoencoder", known([CUP]), conditions
    )
    asked("mel_autoencoder", known([CUP, PEN]), conditions)


def test_little_that_is_new_is_learned_once_it_has_waited_long():
    of, conditions = known([CUP, PEN], [CUP], [CUP]), Conditions(new_frames=60, patience_s=90)
    assert "waits for 60, or 80 s more" in waits("image_encoder", of, conditions, now_s=NOW_S + 10)
    asked("image_encoder", of, conditions, now_s=NOW_S + 90)
    asked("image_encoder", known([CUP, PEN, KEY], [CUP], [CUP]), conditions)


def test_what_is_dropped_together_is_learned_together_within_bounds():
    of = replace(known([CUP]), arriving=2)
    assert "2 more videos" in waits("image_encoder", of)
    asked("image_encoder", of, now_s=NOW_S + 60)


def test_what_is_new_is_new_by_content_and_only_to_the_sense_that_it_has():
    assert "learned" in waits("mel_autoencoder", known([CUP, MUTE], [CUP], [CUP]))
    asked("image_encoder", known([CUP, MUTE], [CUP], [CUP]))
    captured_anew = replace(CUP, content="another")
    assert "gone or changed" in asked("image_encoder", known([captured_anew], [CUP], [CUP])).why
    assert "gone" in asked("mel_autoencoder", known([CUP], [CUP, PEN], [CUP, PEN])).why


def test_words_follow_the_mel_autoencoder():
    assert "first mel_autoencoder" in waits("word_autoencoder", known([CUP]))
    of = known([CUP, PEN], [CUP], [CUP])
    assert "6 clips" in waits("word_autoencoder", of)
    newer = Checkpoint("newer", of.current["mel_autoencoder"].card)
    of = replace(of, current={**of.current, "mel_autoencoder": newer})
    training = asked("word_autoencoder", of)
    assert training.inputs == {"mel_autoencoder": "newer"}
    assert training.manifest.entries == (CUP,)  # Not PEN, which its mel autoencoder never heard.


def test_nothing_builds_on_a_model_that_failed_its_checks_which_is_trained_again():
    of = known([CUP], [CUP], [CUP])
    for model, builds_on_it in [
        ("mel_autoencoder", "word_autoencoder"),
        ("image_encoder", "associator"),
        ("word_autoencoder", "associator"),
    ]:
        loss = {"mel_autoencoder": "mel", "word_autoencoder": "reconstruction"}.get(model, "loss")
        card = replace(of.current[model].card, metrics={f"first_{loss}": 1.0, f"last_{loss}": 2.0})
        bad = replace(of, current={**of.current, model: Checkpoint(model[:3], card)})
        assert f"{model} passes its checks" in waits(builds_on_it, bad)
        assert "did not pass" in asked(model, bad).why
        # However often that goes wrong, it is the same work, and so it is set aside in the end.
        worse = replace(of, current={**of.current, model: Checkpoint("another", card)})
        assert asked(model, worse).key == asked(model, bad).key


def test_an_associator_that_does_not_come_to_speak_leaves_the_same_work_to_be_done():
    of = speaking(known([CUP, PEN], [CUP, PEN], [CUP, PEN]), [CUP])
    mute = Checkpoint("mute", Card("associator", {}, 0, "shared"))
    tried = replace(of, current={**of.current, "associator": mute})
    assert asked("associator", tried).key == asked("associator", of).key
    assert asked("associator", of).replaces == "ass"


def test_what_a_bounded_memory_leaves_out_is_neither_new_nor_gone():
    within = known([PEN], [CUP, PEN], [CUP, PEN])
    assert "gone" in asked("image_encoder", within).why
    of = replace(within, left_out=frozenset([CUP]))
    for model in ("image_encoder", "mel_autoencoder"):
        assert "It has learned from all" in waits(model, of)
    assert "joins all 1 video" in waits("associator", speaking(of, [CUP, PEN]))
    # While sight learns from what came in its place, what both know is joined.
    later = replace(known([PEN, KEY], [CUP, PEN], [CUP, PEN]), left_out=frozenset([CUP]))
    assert asked("image_encoder", later).manifest.entries == (PEN, KEY)
    assert asked("associator", speaking(later, [CUP])).manifest.entries == (PEN,)


def test_the_associator_joins_what_sight_and_hearing_share():
    assert "first image_encoder" in waits("associator", known([CUP]))
    assert "no video together" in waits("associator", known([CUP, PEN], [CUP], [PEN]))
    training = asked("associator", known([CUP, PEN, KEY], [CUP, PEN], [CUP, KEY]))
    assert training.manifest.entries == (CUP,)
    assert training.inputs == {"image_encoder": "ima", "word_autoencoder": "wor"}
    of = known([CUP, PEN, MUTE], [CUP, PEN, MUTE], [CUP, PEN])
    assert asked("associator", of).manifest.entries == (CUP, PEN, MUTE)
    assert "joins all 3 videos" in waits("associator", speaking(of, [CUP, PEN, MUTE]))
    assert "sight and hearing: 1 video" in asked("associator", speaking(of, [CUP, PEN])).why


def test_the_associator_does_not_join_the_same_memory_while_more_is_coming():
    of = speaking(known([CUP, PEN], [CUP], [CUP, PEN]), [CUP], image_encoder="older")
    assert "until image_encoder have" in waits("associator", of, coming=("image_encoder",))
    assert "trained anew" in asked("associator", of).why
    of = speaking(known([CUP, PEN], [CUP, PEN], [CUP, PEN]), [CUP])
    assert schedule.next_training("associator", of, Conditions(), NOW_S, ("image_encoder",)) == (
        asked("associator", of)  # There is something new to both.
    )


def test_what_was_refused_or_rolled_back_is_not_joined_again_but_after_forgetting():
    of = replace(speaking(known([CUP], [CUP], [CUP]), [CUP], "older"), withdrawn=True)
    assert "rolled back" in waits("associator", of)
    asked("associator", speaking(of, [CUP, PEN]))  # PEN was forgotten.
    seen_pen = known([CUP], [CUP, PEN], [CUP])
    assert "what is gone" in waits("associator", seen_pen)


def test_conditions_check_themselves():
    with pytest.raises(ValueError, match="least_frames must lie between"):
        Conditions(least_frames=0)
