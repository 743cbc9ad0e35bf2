"""Solid shapes to build things from: every shape is a grid of points with a picture on it.

Units: a thing fits into the cube from -1 to 1; x points right, y up, z towards the viewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Material:
    """How a surface answers light. All values in [0, 1], `sharpness` >= 1."""

    gloss: float = 0.2  # strength of the highlight
    sharpness: float = 20.0  # exponent of the highlight: large is small and hard
    metal: float = 0.0  # share of the colour that is a mirror image of the surroundings


MATT = Material(0.04, 6.0)
WOOD = Material(0.15, 12.0)
PLASTIC = Material(0.45, 40.0)
GLASS = Material(0.8, 70.0, 0.25)
STEEL = Material(0.6, 60.0, 0.85)


@dataclass(frozen=True)
class Surface:
    """A grid of points (rows, columns, 3) with unit normals, and a texture (height, width, 3)
    in [0, 1] stretched over it: texture rows follow grid rows, columns follow columns."""

    points: FloatArray
    normals: FloatArray
    texture: FloatArray
    material: Material

    def moved(self, offset: ArrayLike) -> "Surface":
        """The same elsewhere."""
        points = self.points + np.asarray(offset, np.float32)
        return Surface(points, self.normals, self.texture, self.material)


def plain(colour: Sequence[float]) -> FloatArray:
    """A texture of one colour (three values in [0, 1])."""
    return np.asarray(colour, np.float32).reshape(1, 1, 3)


def surface(points: ArrayLike, texture: FloatArray, material: Material) -> Surface:
    """A surface over any grid of points (rows, columns, 3), with normals from its neighbours."""
    grid = np.asarray(points, np.float64)
    along, across = np.gradient(grid, axis=0), np.gradient(grid, axis=1)
    if np.allclose(grid[:, 0], grid[:, -1]):  # closed around: no seam in the shading
        seam = (grid[:, 1] - grid[:, -2]) / 2
        across[:, 0] = across[:, -1] = seam
    normals = np.cross(along, across)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    # At a pole all points of a row fall together: take the next row's normals.
    for row, neighbour in ((0, 1), (-1, -2)):
        if (length[row] < 1e-9).any():
            normals[row] = normals[neighbour].mean(axis=0)
            length[row] = np.linalg.norm(normals[row], axis=1, keepdims=True)
    normals = normals / np.maximum(length, 1e-9)
    return Surface(
        np.ascontiguousarray(grid, np.float32),
        np.ascontiguousarray(normals, np.float32),
        np.ascontiguousarray(texture, np.float32),
        material,
    )


def revolve(
    profile: Sequence[tuple[float, float]],
    texture: FloatArray,
    material: Material,
    rows: int = 40,
    columns: int = 49,
    bumps: FloatArray | None = None,
) -> Surface:
    """The body of a smooth outline (height, radius), listed from top to bottom, turned about y.

    `bumps` (rows, columns) is added to the radius."""
    outline = np.asarray(profile, np.float64)
    steps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(outline, axis=0).T))])
    at = np.linspace(0, steps[-1], rows)
    height, radius = PchipInterpolator(steps, outline, axis=0)(at).T
    angle = np.linspace(0, 2 * np.pi, columns)
    r = radius[:, None] + (0.0 if bumps is None else bumps) * (radius[:, None] > 1e-6)
    y = np.broadcast_to(height[:, None], (rows, columns))
    return surface(np.stack([r * np.sin(angle), y, r * np.cos(angle)], axis=2), texture, material)


def sweep(
    path: ArrayLike,
    widths: ArrayLike,
    thicknesses: ArrayLike,
    texture: FloatArray,
    material: Material,
    rows: int = 40,
    columns: int = 21,
    squareness: float = 1.0,
) -> Surface:
    """A tube along a smooth path (n, 3) with an elliptic section, given by half widths (in the
    image plane) and half thicknesses (in depth) at its n knots; `squareness` below 1 squares the
    section off."""
    knots = np.asarray(path, np.float64)
    at = np.linspace(0, 1, rows)
    given = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    centre = PchipInterpolator(given / given[-1], knots, axis=0)(at)
    width = PchipInterpolator(given / given[-1], np.asarray(widths, float))(at)[:, None, None]
    thick = PchipInterpolator(given / given[-1], np.asarray(thicknesses, float))(at)[:, None, None]
    tangent = np.gradient(centre, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent, (0.0, 0.0, 1.0))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    depth = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, columns)
    c, s = (np.sign(f) * np.abs(f) ** squareness for f in (np.cos(angle), np.sin(angle)))
    points = (
        centre[:, None]
        + width * c[None, :, None] * side[:, None]
        + thick * s[None, :, None] * depth[:, None]
    )
    return surface(points, texture, material)


def slab(
    half_size: tuple[float, float, float],
    front: FloatArray,
    back: FloatArray,
    edge: FloatArray,
    material: Material,
) -> list[Surface]:
    """A box of half width, half height and half depth; textures for its faces and its rim."""
    w, h, d = half_size
    u = np.linspace(-1, 1, 9)
    across, down = np.meshgrid(u, -u)
    flat = np.zeros_like(across)

    def face(x: ArrayLike, y: ArrayLike, z: ArrayLike, texture: FloatArray) -> Surface:
        return surface(np.stack(np.broadcast_arrays(x, y, z), axis=2), texture, material)

    return [
        face(w * across, h * down, flat + d, front),
        face(-w * across, h * down, flat - d, back),
        face(flat + w, h * down, -d * across, edge),
        face(flat - w, h * down, d * across, edge),
        face(w * across, flat + h, -d * down, edge),
        face(w * across, flat - h, d * down, edge),
    ]
