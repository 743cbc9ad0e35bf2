"""A bookmark: where an unfinished training stands, so that it goes on there after an interruption.

One file per training, written anew every half minute between two steps: safetensors for all
tensors, and JSON in its metadata for everything else. It holds all that the rest of the training
depends on, and so whatever ends a training, it ends with the weights that it would have had. What a
training makes of its settings before the first step is made again and therefore not in it.
"""

import copy
import json
import logging
import math
import time
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from upath import UPath

from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from aela.ranges import environment_number
from aela.storage import Home, canonical_json, sha256, write_bytes

SAVE_EVERY = "AELA_SAVE_EVERY_S"  # environment variable: another time than SAVE_EVERY_S
SAVE_EVERY_S = 30.0
KEPT = 3  # bookmarks of other trainings of a model
KEPT_DAYS = 3.0
NAME_DIGITS = 16
LENGTH_BYTES = 8  # of a safetensors file: how long its header is
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What networks, optimisers and generators raise of a state that is not theirs."""

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """A state of tensors, arrays, numbers and texts, in dicts and lists."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


Part = Stateful | torch.Generator | np.random.Generator


class Damaged(ValueError):
    """A file is no bookmark, or is not the one that was written."""


class Bookmark:
    """Of the training that makes a checkpoint with this card.

    Torch's own random numbers are always part of it; what else is, `hold` says.

    Args:
        attempt: which one it is, in a training that starts again with other settings.

    Raises ValueError when `$AELA_SAVE_EVERY_S` is no number of seconds.
    """

    def __init__(self, home: Home, card: Card, device: str, attempt: int = 1) -> None:
        self.origin = {
            **checkpoints.origin(card),
            "code_version": checkpoints.code_version(),
            "device": torch.device(device).type,
            "attempt": attempt,
        }
        name = sha256(canonical_json(self.origin))[:NAME_DIGITS]
        self.path = home.unfinished(card.model) / f"{card.manifest}-{name}.safetensors"
        self.device = device
        self.every_s = _every_s()
        self._parts: dict[str, Part] = {"torch": _Chance(device)}
        self._written = True  # until it could not be

    def hold(self, **parts: Part) -> None:
        """Make these parts of it, beside those that are already."""
        self._parts |= parts

    def exists(self) -> bool:
        return self.path.exists()

    def load(self) -> bool:
        """Bring all parts to where they stood, if there is a bookmark of just this training.

        One that is damaged or does not fit is passed over, and the parts stay as they are. Old
        bookmarks of other trainings, which nobody went on with, are deleted.
        """
        self._sweep()
        if not self.exists():
            return False
        try:
            origin, states = _read(self.path, self.device)
        except Damaged as error:
            log.warning("%s; the training starts anew.", error)
            return False
        if origin != self.origin:
            log.warning("%s is of another training; this one starts anew.", self.path)
            return False
        before = {name: copy.deepcopy(_state(part)) for name, part in self._parts.items()}
        try:
            self._bring(states)
        except UNFIT as error:
            self._bring(before)
            log.warning("%s does not fit (%s); the training starts anew.", self.path, error)
            return False
        return True

    def save(self) -> None:
        """Write down where all parts stand. That there is no room for it stops no training."""
        tensors: dict[str, torch.Tensor] = {}
        states = {name: _packed(_state(part), name, tensors) for name, part in self._parts.items()}
        text = canonical_json({"origin": self.origin, "states": states}).decode()
        metadata = {"bookmark": text, "checksum": str(_checksum(text, tensors))}
        try:
            write_bytes(self.path, to_bytes(tensors, metadata))
        except OSError as error:
            if self._written:
                log.warning("The training goes on without a bookmark: %s", error)
            self._written = False
        else:
            self._written = True

    def delete(self) -> None:
        """Once the training is over, together with what a killed process has left of writing it."""
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
            path.unlink(missing_ok=True)

    def _bring(self, states: Mapping[str, Any]) -> None:
        for name, part in self._parts.items():
            state = states[name]
            if isinstance(part, torch.Generator):
                part.set_state(state)
            elif isinstance(part, np.random.Generator):
                part.bit_generator.state = state
            else:
                part.load_state_dict(state)

    def _sweep(self) -> None:
        if not self.path.parent.exists():
            return
        others = [path for path in self.path.parent.iterdir() if self.path.name not in path.name]
        ages = {path: time.time() - path.stat().st_mtime for path in others}
        for number, path in enumerate(sorted(ages, key=lambda path: ages[path])):
            if number >= KEPT or ages[path] > KEPT_DAYS * 24 * 3600:
                path.unlink(missing_ok=True)


class _Chance:
    """Torch's global random numbers, on the CPU and on one device."""

    def __init__(self, device: str) -> None:
        self.cuda = device if torch.device(device).type == "cuda" else None

    def state_dict(self) -> dict[str, torch.Tensor]:
        state = {"cpu": torch.get_rng_state()}
        return {**state, "cuda": torch.cuda.get_rng_state(self.cuda)} if self.cuda else state

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.cuda:
            torch.cuda.set_rng_state(state["cuda"], self.cuda)


def _every_s() -> float:
    return environment_number(
        SAVE_EVERY, SAVE_EVERY_S, lambda s: 0 <= s < math.inf, "a number of seconds, 0 or more"
    )


def _state(part: Part) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, np.random.Generator):
        return part.bit_generator.state
    return part.state_dict()


def _packed(value: Any, at: str, tensors: dict[str, torch.Tensor]) -> Any:
    """A state as JSON; its tensors go among `tensors` under names that begin with `at`.

    JSON knows only keys that are texts, so that a dict becomes a list of keys and values.
    """
    if isinstance(value, np.ndarray):
        tensors[at] = torch.from_numpy(value).clone(memory_format=torch.contiguous_format)
        return {"array": at}
    if isinstance(value, torch.Tensor):
        tensors[at] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": at, "on_device": value.device.type != "cpu"}
    if isinstance(value, Mapping):
        return {"dict": [[key, _packed(v, f"{at}/{key}", tensors)] for key, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(v, f"{at}/{i}", tensors) for i, v in enumerate(value)]
    return value


def _unpacked(value: Any, tensors: dict[str, torch.Tensor], device: str) -> Any:
    if isinstance(value, list):
        return [_unpacked(v, tensors, device) for v in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return tensors[value["array"]].numpy()
    if "tensor" in value:
        return tensors[value["tensor"]].to(device if value["on_device"] else "cpu")
    return {key: _unpacked(v, tensors, device) for key, v in value["dict"]}


def _checksum(text: str, tensors: dict[str, torch.Tensor]) -> int:
    checksum = zlib.crc32(text.encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum


def _read(path: UPath, device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of which training it is, and the states of its parts.

    Raises:
        Damaged: it is none, or was cut short or changed.
    """
    data = path.read_bytes()
    try:
        tensors = from_bytes(data)
        length = int.from_bytes(data[:LENGTH_BYTES], "little")
        metadata = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"]
        sound = str(_checksum(metadata["bookmark"], tensors)) == metadata["checksum"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise Damaged(f"The bookmark {path} is damaged ({error})") from None
    if not sound:
        raise Damaged(f"The bookmark {path} is damaged (its checksum is another one)")
    held = json.loads(metadata["bookmark"])
    states = {name: _unpacked(s, tensors, device) for name, s in held["states"].items()}
    return held["origin"], states
