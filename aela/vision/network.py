"""The networks: a picture in, a unit vector out."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, conv1x1, resnet18

from aela.vision.settings import ImageEncoderSettings

GREY, SCALE = 0.45, 0.25  # roughly mean and spread of photographs
SMALL_CHANNELS = 32
HIDDEN = 256
LEAST_VARIANCE = 1e-8  # the root of less has no finite slope
SPREAD_STAGES = 2  # the first ones: of the others the maps of a small picture have too few pixels


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    return nn.Sequential(
        BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs)
    )


def _small_resnet18(channels: int) -> tuple[nn.Module, list[nn.Module], list[int]]:
    """ResNet18 with a 3x3 stem and fewer channels, for pictures of about 50 pixels."""
    stem = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    widths = [channels * 2**number for number in range(4)]
    stages: list[nn.Module] = [_stage(channels, channels, 1)]
    stages += [_stage(narrow, wide, 2) for narrow, wide in pairwise(widths)]
    return stem, stages, widths


def _resnet18() -> tuple[nn.Module, list[nn.Module], list[int]]:
    whole = resnet18(weights=None)
    stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
    stages: list[nn.Module] = [whole.layer1, whole.layer2, whole.layer3, whole.layer4]
    return stem, stages, [64, 128, 256, 512]


def on_grey(pictures: torch.Tensor) -> torch.Tensor:
    """The figure on even grey: float [n, 4, s, s] in [0, 1] to [n, 3, s, s]."""
    colours, figure = pictures[:, :3], pictures[:, 3:]
    return GREY + (colours - GREY) * figure


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16, and not by way of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


class Network(nn.Module):
    """ResNet18 (He et al. 2016) and SwAV's projection head of two layers.

    `features` is the number of values of `describe`.
    """

    def __init__(self, settings: ImageEncoderSettings) -> None:
        super().__init__()
        self.described_by = settings.described_by
        parts = _resnet18() if settings.network == "resnet18" else _small_resnet18(SMALL_CHANNELS)
        self.stem, stages, widths = parts
        self.stages = nn.ModuleList(stages)
        self.features = {
            "all stages": sum(widths),
            "stages and spread": sum(widths) + sum(widths[:SPREAD_STAGES]),
            "last stage": widths[-1],
            "head": settings.embedding,
        }[settings.described_by]
        self.head = nn.Sequential(
            nn.Linear(widths[-1], HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, settings.embedding),
            *([nn.BatchNorm1d(settings.embedding, affine=False)] if settings.centred else []),
        )

    def _maps(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """The output of each stage, [n, channels, s, s]: float32, in training perhaps bfloat16."""
        pictures = (on_grey(pictures) - GREY) / SCALE
        pictures = pictures.contiguous(memory_format=torch.channels_last)  # faster, also on CPUs
        half = self.training and has_bfloat16(pictures.device)
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=half):
            maps = [self.stem(pictures)]
            for stage in self.stages:
                maps.append(stage(maps[-1]))
        return maps[1:]

    def describe(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features of float [n, 4, s, s] in [0, 1]: [n, features], a unit vector for each stage.

        The last stage describes the thing as a whole. The earlier ones, averaged over the figure,
        describe its parts, which stay the same when something covers the others. The spread over
        the figure of the first stages tells things of the same parts on average apart (statistics
        pooling: Snyder et al. 2018, "X-Vectors").
        """
        return self._described(self._maps(pictures), pictures)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """float [n, 4, s, s] in [0, 1] to what SwAV compares: unit vectors [n, embedding]."""
        return self._projected(self._maps(pictures))

    def both(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` and what `describe` say, at the price of one."""
        maps = self._maps(pictures)
        return self._projected(maps), self._described(maps, pictures)

    def _projected(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return F.normalize(self.head(maps[-1].float().mean(dim=(2, 3))), dim=1)

    def _described(self, maps: list[torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
        if self.described_by == "head":
            return self._projected(maps)
        *parts, whole = maps
        features = [F.normalize(whole.float().mean(dim=(2, 3)), dim=1)]
        if self.described_by == "last stage":
            return features[0]
        for number, part in enumerate(map(torch.Tensor.float, parts)):
            weight = F.adaptive_avg_pool2d(pictures[:, 3:], (part.shape[2], part.shape[3]))
            weight = weight / weight.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
            mean = (part * weight).sum(dim=(2, 3), keepdim=True)
            features.append(F.normalize(mean.flatten(1), dim=1))
            if self.described_by == "stages and spread" and number < SPREAD_STAGES:
                variance = ((part - mean) ** 2 * weight).sum(dim=(2, 3))
                features.append(F.normalize((variance + LEAST_VARIANCE).sqrt(), dim=1))
        return torch.cat(features, dim=1)
