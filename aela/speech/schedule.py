"""The optimiser that both speech networks share: AdamW, warm-up, then a cosine down."""

import math

import torch
from torch import nn

WARM_UP_STEPS = 30
LAST_RATE = 0.01  # of the highest


def optimizer(network: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW on the network's trainable parameters."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)


def set_rate(optimise: torch.optim.Optimizer, highest: float, index: int, spent: float) -> None:
    """Set the learning rate of step `index`, when `spent` (0 to 1) of the budget is used up."""
    cosine = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * spent)) / 2
    for group in optimise.param_groups:
        group["lr"] = highest * cosine * min(1.0, (index + 1) / WARM_UP_STEPS)
