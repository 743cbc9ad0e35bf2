"""The networks: a picture in, a unit vector out."""

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, conv1x1, resnet18

from aela.vision.settings import ImageEncoderSettings

GREY, SCALE = 0.45, 0.25  # roughly mean and spread of photographs
SMALL_CHANNELS = 32
HIDDEN = 256


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    return nn.Sequential(
        BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs)
    )


def _small_resnet18(channels: int) -> nn.Sequential:
    """ResNet18 with a 3x3 stem and fewer channels, for pictures of about 64 pixels."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        _stage(channels, channels, 1),
        _stage(channels, 2 * channels, 2),
        _stage(2 * channels, 4 * channels, 2),
        _stage(4 * channels, 8 * channels, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def on_grey(pictures: torch.Tensor) -> torch.Tensor:
    """The figure on even grey: float [n, 4, s, s] in [0, 1] to [n, 3, s, s]."""
    colours, figure = pictures[:, :3], pictures[:, 3:]
    return GREY + (colours - GREY) * figure


class Network(nn.Module):
    """ResNet18 (He et al. 2016) and SwAV's projection head of two layers."""

    def __init__(self, settings: ImageEncoderSettings) -> None:
        super().__init__()
        if settings.network == "resnet18":
            body = resnet18(weights=None)
            self.features = body.fc.in_features
            body.fc = nn.Identity()  # type: ignore[assignment]
            self.body: nn.Module = body
        else:
            self.body = _small_resnet18(SMALL_CHANNELS)
            self.features = 8 * SMALL_CHANNELS
        self.head = nn.Sequential(
            nn.Linear(self.features, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, settings.embedding),
        )

    def describe(self, pictures: torch.Tensor) -> torch.Tensor:
        """float [n, 4, s, s] in [0, 1] to unit vectors of features [n, features]."""
        return F.normalize(self.body((on_grey(pictures) - GREY) / SCALE), dim=1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """float [n, 4, s, s] in [0, 1] to what SwAV compares: unit vectors [n, embedding]."""
        return F.normalize(self.head(self.body((on_grey(pictures) - GREY) / SCALE)), dim=1)
