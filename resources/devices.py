"""Which device a model trains or runs on."""

from aela.ranges import WrongSetting

LANES = {"image_encoder": 0, "mel_autoencoder": 1, "associator": 2, "word_autoencoder": 3}
"""Which CUDA device each model trains on, of as many as there are: sight apart from hearing."""


class UnknownDevice(WrongSetting):
    """There is no such device here; the message says what to do."""


def torch_device(name: str, model: str | None = None) -> str:
    """The device that `cpu`, `cuda` or `auto` stands for, decided now.

    Args:
        model: on machines with several CUDA devices, that of this model.

    Raises:
        UnknownDevice: there is no such device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UnknownDevice(f"There is no device {name!r}; use cpu, cuda or auto.")
    if name == "cpu":
        return "cpu"
    import torch

    if name == "auto" and not torch.cuda.is_available():
        return "cpu"
    if not torch.cuda.is_available():
        raise UnknownDevice("No CUDA device was found; set device to cpu or auto.")
    devices = torch.cuda.device_count()
    return f"cuda:{LANES[model] % devices}" if model in LANES and devices > 1 else "cuda"
