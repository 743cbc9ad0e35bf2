"""The pixel work of filming: shaded surfaces into a frame, the room behind, the camera's flaws.

Compiled with numba, which librosa brings along (and caches the same way): a frame has to take a
few milliseconds.
Colours are float32 in [0, 1]; pictures are (height, width, 3).
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

SUPERSAMPLING = 2  # samples per pixel along each axis
CAMERA_DISTANCE = 5.0  # in half sizes of the thing; sets the strength of the perspective
NOTHING = -1e9  # depth where no surface has been drawn


@njit(cache=True)
def draw(points, normals, texture, material, turn, place, light, colour, depth):
    """Draw one surface, nearer points over farther ones.

    points, normals (rows, columns, 3); texture (h, w, 3); material (gloss, sharpness, metal);
    turn (3, 3) rotation; place (x, y in pixels of `colour`, scale in pixels, depth);
    light (3,) unit direction towards the light; colour (H, W, 3) and depth (H, W) are changed.
    """
    rows, columns = points.shape[:2]
    height, width = depth.shape
    tex_h, tex_w = texture.shape[:2]
    seen = np.empty((rows, columns, 6), np.float32)  # x, y, z and normal as the camera sees them
    for i in range(rows):
        for j in range(columns):
            p, n = points[i, j], normals[i, j]
            for k in range(3):
                seen[i, j, k] = turn[k, 0] * p[0] + turn[k, 1] * p[1] + turn[k, 2] * p[2]
                seen[i, j, 3 + k] = turn[k, 0] * n[0] + turn[k, 1] * n[1] + turn[k, 2] * n[2]
            near = place[2] * CAMERA_DISTANCE / (CAMERA_DISTANCE - seen[i, j, 2])
            seen[i, j, 0] = place[0] + near * seen[i, j, 0]
            seen[i, j, 1] = place[1] - near * seen[i, j, 1]
            seen[i, j, 2] += place[3]
    halfway = np.array([light[0], light[1], light[2] + 1.0])
    halfway /= math.sqrt(halfway[0] ** 2 + halfway[1] ** 2 + halfway[2] ** 2)
    corners = np.empty((3, 8), np.float32)
    for i in range(rows - 1):
        for j in range(columns - 1):
            for half in range(2):
                for c in range(3):
                    # Triangles (i,j) (i+1,j) (i,j+1) and (i+1,j+1) (i,j+1) (i+1,j).
                    if half == 0:
                        a, b = i + (c == 1), j + (c == 2)
                    else:
                        a, b = i + (c != 1), j + (c != 2)
                    corners[c, :6] = seen[a, b]
                    corners[c, 6] = a / (rows - 1) * (tex_h - 1)
                    corners[c, 7] = b / (columns - 1) * (tex_w - 1)
                x0, y0 = corners[0, 0], corners[0, 1]
                x1, y1 = corners[1, 0] - x0, corners[1, 1] - y0
                x2, y2 = corners[2, 0] - x0, corners[2, 1] - y0
                area = x1 * y2 - x2 * y1
                if abs(area) < 1e-6:
                    continue
                left = max(0, math.ceil(x0 + min(0.0, x1, x2)))
                right = min(width - 1, math.floor(x0 + max(0.0, x1, x2)))
                top = max(0, math.ceil(y0 + min(0.0, y1, y2)))
                bottom = min(height - 1, math.floor(y0 + max(0.0, y1, y2)))
                for y in range(top, bottom + 1):
                    for x in range(left, right + 1):
                        v = ((x - x0) * y2 - (y - y0) * x2) / area
                        w = ((y - y0) * x1 - (x - x0) * y1) / area
                        u = 1.0 - v - w
                        if u < -1e-4 or v < -1e-4 or w < -1e-4:
                            continue
                        z = u * corners[0, 2] + v * corners[1, 2] + w * corners[2, 2]
                        if z <= depth[y, x]:
                            continue
                        depth[y, x] = z
                        nx = u * corners[0, 3] + v * corners[1, 3] + w * corners[2, 3]
                        ny = u * corners[0, 4] + v * corners[1, 4] + w * corners[2, 4]
                        nz = u * corners[0, 5] + v * corners[1, 5] + w * corners[2, 5]
                        size = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                        if nz < 0:
                            size = -size  # the inner side of an open surface
                        nx, ny, nz = nx / size, ny / size, nz / size
                        tu = u * corners[0, 6] + v * corners[1, 6] + w * corners[2, 6]
                        tv = u * corners[0, 7] + v * corners[1, 7] + w * corners[2, 7]
                        tu = min(max(tu, 0.0), tex_h - 1.0)
                        tv = min(max(tv, 0.0), tex_w - 1.0)
                        ti, tj = int(tu), int(tv)
                        tk, tl = min(ti + 1, tex_h - 1), min(tj + 1, tex_w - 1)
                        tu, tv = tu - ti, tv - tj
                        direct = max(0.0, nx * light[0] + ny * light[1] + nz * light[2])
                        # Light from one side, from the sky above and from the camera's own.
                        shade = 0.62 * direct + 0.26 + 0.14 * ny + 0.16 * nz
                        shine = max(0.0, nx * halfway[0] + ny * halfway[1] + nz * halfway[2])
                        spark = material[0] * shine ** material[1]
                        # What a mirror would show: dark floor, bright ceiling, a window.
                        mx, my = 2.0 * nz * nx, 2.0 * nz * ny
                        sky = min(max(0.5 + 0.9 * my, 0.0), 1.0)
                        mirror = 0.22 + 0.55 * sky * sky * (3.0 - 2.0 * sky)
                        if abs(mx + 0.45) < 0.22 and my > -0.1:
                            mirror += 0.3
                        rim = 0.25 * (1.0 - nz) ** 3
                        for k in range(3):
                            texel = (1 - tu) * (
                                (1 - tv) * texture[ti, tj, k] + tv * texture[ti, tl, k]
                            ) + tu * ((1 - tv) * texture[tk, tj, k] + tv * texture[tk, tl, k])
                            lit = texel * shade * (1.0 - material[2])
                            lit += material[2] * mirror * (0.35 + 0.65 * texel)
                            colour[y, x, k] = lit + spark + rim * material[0]


@njit(cache=True)
def compose(colour, depth, room, view, shadow, shadow_offset, gains, out):
    """Lay what was drawn over the room behind it, with the shadow it throws, and light it all.

    colour (2H, 2W, 3), depth (2H, 2W): the drawing; room (h, w, 3): the room's picture;
    view (zoom, roll in radians, x, y of the frame's centre in room pixels); shadow (hs, ws) in
    [0, 1] over the whole frame, thrown `shadow_offset` (x, y) pixels away; gains (3,) per colour;
    out (H, W, 3) is filled.
    """
    height, width = out.shape[:2]
    room_h, room_w = room.shape[:2]
    shadow_h, shadow_w = shadow.shape
    c, s = math.cos(view[1]) / view[0], math.sin(view[1]) / view[0]
    for y in range(height):
        for x in range(width):
            dx, dy = x - width / 2, y - height / 2
            rx = min(max(view[2] + c * dx - s * dy, 0.0), room_w - 1.001)
            ry = min(max(view[3] + s * dx + c * dy, 0.0), room_h - 1.001)
            i, j = int(ry), int(rx)
            fy, fx = ry - i, rx - j
            sx = min(max((x - shadow_offset[0]) * shadow_w / width - 0.5, 0.0), shadow_w - 1.001)
            sy = min(max((y - shadow_offset[1]) * shadow_h / height - 0.5, 0.0), shadow_h - 1.001)
            si, sj = int(sy), int(sx)
            gy, gx = sy - si, sx - sj
            dark = (1 - gy) * ((1 - gx) * shadow[si, sj] + gx * shadow[si, sj + 1])
            dark += gy * ((1 - gx) * shadow[si + 1, sj] + gx * shadow[si + 1, sj + 1])
            covered = 0
            for a in range(2):
                for b in range(2):
                    covered += depth[2 * y + a, 2 * x + b] > NOTHING
            # Corners of a picture are darker than its middle.
            corner = 1.0 - 0.22 * (dx * dx + dy * dy) / (width * width / 4 + height * height / 4)
            for k in range(3):
                mixed = 0.0
                if covered < 4:
                    behind = (1 - fy) * ((1 - fx) * room[i, j, k] + fx * room[i, j + 1, k])
                    behind += fy * ((1 - fx) * room[i + 1, j, k] + fx * room[i + 1, j + 1, k])
                    mixed = behind * (1.0 - 0.5 * dark) * (4 - covered)
                if covered > 0:
                    for a in range(2):
                        for b in range(2):
                            if depth[2 * y + a, 2 * x + b] > NOTHING:
                                mixed += colour[2 * y + a, 2 * x + b, k]
                out[y, x, k] = mixed / 4 * gains[k] * corner


@njit(cache=True)
def smear(picture, dx, dy, out):
    """Blur by a movement of (dx, dy) pixels while the shutter is open. out is filled."""
    height, width = out.shape[:2]
    steps = max(1, int(max(abs(dx), abs(dy)) / 2))
    for y in range(height):
        for x in range(width):
            r = g = b = 0.0
            for n in range(steps + 1):
                t = n / steps - 0.5
                i = min(max(int(y + t * dy + 0.5), 0), height - 1)
                j = min(max(int(x + t * dx + 0.5), 0), width - 1)
                r += picture[i, j, 0]
                g += picture[i, j, 1]
                b += picture[i, j, 2]
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = (
                r / (steps + 1),
                g / (steps + 1),
                b / (steps + 1),
            )


@njit(cache=True)
def develop(picture, grain, out):
    """Sensor noise (`grain`, (H, W), in 8-bit steps) and soft clipping, into uint8 `out`."""
    height, width = out.shape[:2]
    for y in range(height):
        for x in range(width):
            for k in range(3):
                value = picture[y, x, k]
                if value > 0.8:  # highlights roll off instead of clipping hard
                    value = 0.8 + 0.2 * math.tanh((value - 0.8) / 0.2)
                value = 255.0 * value + grain[y, x]
                out[y, x, k] = np.uint8(min(max(value, 0.0), 255.0))


def rotation(spin: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Turn about the upright axis (spin), then towards the viewer (pitch), then in the image
    (roll), all in radians, as a (3, 3) matrix."""
    cs, ss = math.cos(spin), math.sin(spin)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    about_y = np.array([[cs, 0, ss], [0, 1, 0], [-ss, 0, cs]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y
