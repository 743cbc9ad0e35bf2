"""Random views of what is looked at, computed for a whole batch at once.

Hue hardly changes in any of them: colour is one of the surest signs of a thing.
"""

import math

import torch
from torch.nn import functional as F

from aela.vision.settings import ImageEncoderSettings

SKIN = (0.75, 0.55, 0.42)  # of a light hand in full light; others are darker


class Views:
    """Draws views with the random numbers of one generator, on the generator's device."""

    def __init__(self, settings: ImageEncoderSettings, random: torch.Generator) -> None:
        self.settings = settings
        self.random = random

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """One random view of each picture: float [n, 4, s, s] to [n, 4, input_px, input_px]."""
        view = self._placed(pictures)
        colours, figure = self._coloured(view[:, :3]), self._doubted(view[:, 3:])
        colours, figure = self._covered(colours, figure)
        noise = torch.randn(colours.shape, generator=self.random, device=self.random.device)
        return torch.cat([colours.add_(noise, alpha=0.02).clamp_(0, 1), figure], dim=1)

    def _uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        """[n, 1, 1, 1] between low and high."""
        return torch.empty(n, 1, 1, 1, device=self.random.device).uniform_(
            low, high, generator=self.random
        )

    def _normal(self, n: int, channels: int = 1) -> torch.Tensor:
        return torch.randn(n, channels, 1, 1, generator=self.random, device=self.random.device)

    def _placed(self, pictures: torch.Tensor) -> torch.Tensor:
        """Cut out, turned, stretched and mirrored."""
        n, side_px = len(pictures), self.settings.input_px
        size = self._uniform(n, math.log(self.settings.zoom), 0.15).exp().flatten()
        stretch = self._uniform(n, -0.15, 0.15).exp().flatten()
        angle = self._uniform(n, -0.3, 0.3).flatten()
        mirror = (self._uniform(n, -1, 1) < 0).flatten() * 2.0 - 1
        offset = self._uniform(2 * n, -0.2, 0.2).view(n, 2)
        cos, sin = size * angle.cos(), size * angle.sin()
        rows = torch.stack(
            [
                torch.stack([mirror * cos * stretch, -sin, offset[:, 0]], dim=1),
                torch.stack([mirror * sin, cos / stretch, offset[:, 1]], dim=1),
            ],
            dim=1,
        )
        grid = F.affine_grid(rows, [n, 4, side_px, side_px], align_corners=False)
        return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)

    def _coloured(self, colours: torch.Tensor) -> torch.Tensor:
        """Exposure, saturation and white balance drift a little."""
        n = len(colours)
        grey = colours.mean(dim=1, keepdim=True)
        colours = grey + (colours - grey) * self._uniform(n, -0.4, 0.25).exp()
        return colours * (0.2 * self._normal(n) + 0.06 * self._normal(n, 3)).exp()

    def _doubted(self, figure: torch.Tensor) -> torch.Tensor:
        """The figure grows, shrinks and hardens: its outline is never certain."""
        n = len(figure)
        threshold = 0.5 + self._uniform(n, -0.25, 0.25)
        return ((figure - threshold) * self._uniform(n, 0, 1.2).exp() + 0.5).clamp(0, 1)

    def _covered(
        self, colours: torch.Tensor, figure: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A forearm-like shape reaches in from the border, sometimes taken for the thing."""
        if self.settings.covered == 0:
            return colours, figure
        n = len(colours)
        arm, arm_colours = self._arms(n, colours.shape[3])
        arm = arm * (self._uniform(n, 0, 1) < self.settings.covered)
        taken_for_ground = self._uniform(n, 0, 1) < 0.5
        return colours + (arm_colours - colours) * arm, figure * (1 - arm * taken_for_ground)

    def _arms(self, n: int, side_px: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks [n, 1, s, s] of tapering limbs with a thicker end, and their colours [n, 3, s, s].

        Mostly skin of any tone, otherwise (sleeves, other things) any colour.
        """
        line = (torch.arange(side_px, device=self.random.device) + 0.5) / side_px * 2 - 1
        angle = self._uniform(n, -math.pi, math.pi)
        x = line[None, None, None, :] - 0.35 * self._normal(n)
        y = line[None, None, :, None] - 0.35 * self._normal(n)
        along = x * angle.cos() + y * angle.sin()
        across = (y * angle.cos() - x * angle.sin()).abs()
        thick_end = 1 + 0.6 * torch.exp(-(((along - 0.12) / 0.15) ** 2))
        wave = torch.sin(along * self._uniform(n, 10, 20) + self._uniform(n, 0, 6))
        width = self._uniform(n, 0.08, 0.2) * thick_end + 0.03 * wave
        mask = torch.sigmoid((width - across) * 40) * torch.sigmoid(along * 30)
        tone = torch.tensor(SKIN, device=self.random.device)[None, :, None, None]
        skin = tone * self._uniform(n, 0.35, 1.25) + 0.06 * self._normal(n, 3)
        other = self._uniform(3 * n, 0, 1).view(n, 3, 1, 1)
        colour = torch.where(self._uniform(n, 0, 1) < 0.3, other, skin)
        round_shade = 1 - 0.5 * (across / width.clamp(min=0.02)).clamp(0, 1) ** 2
        shade = round_shade + 0.1 * self._normal(n) * along
        return mask, (colour * shade).clamp(0, 1)
