"""Procedural surface colours: noise, tiles, bricks, planks, facades, and more.

A texture is a function of surface coordinates in metres. Its contrast fades where one pixel covers
more than half a
pattern, which stands in for the area average a real pixel takes. Random choices per cell come from
tables made once
with numpy, because integer look-ups agree between CPU and GPU where sin-based hashes do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

Colour = tuple[float, float, float]
_HASH_SIZE = 4096
_NOISE_SIZE = 256


@dataclass(frozen=True)
class Material:
    """How a surface looks and reflects.

    Attributes:
        texture: a key of `TEXTURES`.
        colour: linear RGB albedo in [0, 1].
        second: the pattern's other colour.
        scale_m: (along u, along v) size of one pattern, metres.
        contrast: strength of the fine noise on top, 0 to 1.
        emission: radiance added to the lit colour, in units of albedo under full light.
        gloss: strength of the highlight.
        reflectivity: share of a LiDAR pulse that returns, 0 to 1; None takes the mean albedo.
        seed: makes two surfaces with the same texture differ.
        local: whether the pattern is anchored to the solid's centre; False lets it run on over
            neighbouring solids
            of the same orientation, as on the pieces of one wall.
    """

    texture: str = "plain"
    colour: Colour = (0.5, 0.5, 0.5)
    second: Colour = (0.3, 0.3, 0.3)
    scale_m: tuple[float, float] = (1.0, 1.0)
    contrast: float = 0.15
    emission: float = 0.0
    gloss: float = 0.0
    reflectivity: float | None = None
    seed: int = 0
    local: bool = True


def material_table(materials: list[Material]) -> npt.NDArray[np.float32]:
    """Return the materials as (M, 15) float32 rows in the order `Surface` reads them."""
    names = list(TEXTURES)
    rows = [
        (
            *m.colour,
            *m.second,
            *m.scale_m,
            m.contrast,
            m.emission,
            m.gloss,
            float(np.mean(m.colour)) if m.reflectivity is None else m.reflectivity,
            m.seed % _HASH_SIZE,
            names.index(m.texture),
            float(m.local),
        )
        for m in materials
    ]
    return np.array(rows, np.float32).reshape(-1, 15)


@dataclass(frozen=True)
class Surface:
    """N surface points: coordinates u, v and pixel footprint (N,) in metres, and their materials.

    `table` is (15, M), the transpose of `material_table`; `material` is (N,) int64.
    """

    u_m: torch.Tensor
    v_m: torch.Tensor
    footprint_m: torch.Tensor
    table: torch.Tensor
    material: torch.Tensor

    def column(self, number: int) -> torch.Tensor:
        """(N,) one property of every point's material."""
        return self.table[number].index_select(0, self.material)

    @cached_property
    def first(self) -> torch.Tensor:
        """(3, N) main colour."""
        return self.table[0:3].index_select(1, self.material)

    @cached_property
    def second(self) -> torch.Tensor:
        """(3, N) other colour."""
        return self.table[3:6].index_select(1, self.material)

    @cached_property
    def size_u(self) -> torch.Tensor:
        """(N,) size of one pattern along u, metres."""
        return self.column(6)

    @cached_property
    def size_v(self) -> torch.Tensor:
        """(N,) size of one pattern along v, metres."""
        return self.column(7)

    @cached_property
    def seed(self) -> torch.Tensor:
        """(N,) seeds, whole numbers."""
        return self.column(12)

    def select(self, chosen: torch.Tensor) -> Surface:
        """Return the points at the given indices."""
        return Surface(
            self.u_m.index_select(0, chosen),
            self.v_m.index_select(0, chosen),
            self.footprint_m.index_select(0, chosen),
            self.table,
            self.material.index_select(0, chosen),
        )

    def cells(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates counted in patterns."""
        return self.u_m / self.size_u, self.v_m / self.size_v

    def fade(self, size_m: torch.Tensor | float) -> torch.Tensor:
        """1 where a pattern of `size_m` is resolved, 0 where a pixel averages over it."""
        return (2.0 - 4.0 * self.footprint_m / size_m).clamp(0.0, 1.0)


@cache
def _hash_table(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(20240229).random(_HASH_SIZE, np.float32)).to(
        device
    )


@cache
def _noise_tile(device: torch.device) -> torch.Tensor:
    """Tileable fractal noise, (1, 1, 257, 257) float32, mean 0, about [-1, 1]."""
    rng = np.random.default_rng(7)
    tile = np.zeros((_NOISE_SIZE, _NOISE_SIZE))
    for level, weight in ((8, 1.0), (16, 0.6), (32, 0.4), (64, 0.28), (128, 0.2), (256, 0.14)):
        lattice = rng.standard_normal((level, level))
        at = np.arange(_NOISE_SIZE) * level / _NOISE_SIZE
        low, share = at.astype(int), at % 1.0
        share = share * share * (3 - 2 * share)
        rows = lattice[low] * (1 - share)[:, None] + lattice[(low + 1) % level] * share[:, None]
        tile += weight * (rows[:, low] * (1 - share) + rows[:, (low + 1) % level] * share)
    tile /= 2.2 * tile.std()
    # One more row and column than the period, so that looking up never wraps.
    tile = np.pad(tile, ((0, 1), (0, 1)), mode="wrap")
    return torch.from_numpy(tile.astype(np.float32)[None, None]).to(device)


def fractal_noise(
    u: torch.Tensor, v: torch.Tensor, offset: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """Return bilinear look-ups (N,) of the noise tile, one tile per unit of u and v."""
    place = torch.stack((u + offset * 0.377, v + offset * 0.719), dim=-1)
    place = place.sub_(torch.floor(place)).mul_(2.0).sub_(1.0)
    look_up = torch.nn.functional.grid_sample(
        _noise_tile(u.device), place[None, None], align_corners=True
    )
    return look_up.reshape(-1)


def cell_random(
    i: torch.Tensor, j: torch.Tensor, seed: torch.Tensor | float, salt: int = 0
) -> torch.Tensor:
    """Return one uniform random number in [0, 1) per integer cell."""
    key = i.to(torch.int64) * 7919 + j.to(torch.int64) * 104729 + salt * 613
    key = key + (seed.to(torch.int64) * 31 if isinstance(seed, torch.Tensor) else int(seed) * 31)
    table = _hash_table(i.device)
    stirred = (table[key & (_HASH_SIZE - 1)] * 1_000_003.0).to(torch.int64)
    return table[(stirred + (key >> 12)) & (_HASH_SIZE - 1)]


def _mix(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return first + (second - first) * share


def _line(
    distance_m: torch.Tensor, half_width_m: torch.Tensor | float, footprint_m: torch.Tensor
) -> torch.Tensor:
    """Coverage of a pixel by a line: 1 inside, 0 outside, area-true for lines below a pixel."""
    soft = footprint_m.clamp_min(1e-4)
    reach = torch.minimum(2 * half_width_m / soft, torch.ones_like(soft))
    return ((half_width_m - distance_m) / soft + 0.5).clamp(0.0, 1.0) * reach


def _plain(s: Surface) -> torch.Tensor:
    return s.first


def _mottled(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    blend = 0.5 + 0.5 * fractal_noise(u * 0.125, v * 0.125, s.seed) * s.fade(s.size_u * 0.5)
    return _mix(s.first, s.second, blend.clamp(0, 1))


def _foliage(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    coarse = fractal_noise(u * 0.25, v * 0.25, s.seed)
    leaf = cell_random(torch.floor(u * 8), torch.floor(v * 8), s.seed) - 0.5
    blend = 0.5 + 0.45 * coarse + 0.9 * leaf * s.fade(s.size_u / 8)
    return _mix(s.first, s.second, blend.clamp(0, 1.2))


def _to_edge(x: torch.Tensor) -> torch.Tensor:
    """Distance to the nearest integer."""
    return (x - torch.floor(x + 0.5)).abs()


def _tiles(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    shade = cell_random(torch.floor(u), torch.floor(v), s.seed) - 0.5
    edge = torch.minimum(_to_edge(u) * s.size_u, _to_edge(v) * s.size_v)
    body = s.first * (1 + 0.25 * shade * s.fade(s.size_u))
    return _mix(body, s.second, _line(edge, 0.02 * s.size_u, s.footprint_m))


def _checker(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    odd = (torch.floor(u) + torch.floor(v)) % 2.0
    return _mix(s.first, s.second, 0.5 + (odd - 0.5) * s.fade(s.size_u))


def _stripes(s: Surface) -> torch.Tensor:
    u, _ = s.cells()
    wave = (_to_edge(u) * 4 - 1) * 6
    return _mix(s.first, s.second, 0.5 + 0.5 * wave.clamp(-1, 1) * s.fade(s.size_u))


def _folds(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    shift = fractal_noise(u * 0.05, v * 0.01, s.seed)
    return _mix(
        s.first, s.second, 0.5 + 0.5 * torch.sin(6.2832 * (u + 0.6 * shift)) * s.fade(s.size_u)
    )


def _bricks(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    row = torch.floor(v)
    u = u + 0.5 * (row % 2.0)
    shade = cell_random(torch.floor(u), row, s.seed) - 0.5
    edge = torch.minimum(_to_edge(u) * s.size_u, _to_edge(v) * s.size_v)
    body = s.first * (1 + 0.7 * shade * s.fade(s.size_u))
    return _mix(body, s.second, _line(edge, 0.07 * s.size_v, s.footprint_m))


def _planks(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    plank = torch.floor(v)
    u = u + cell_random(plank, plank, s.seed, 1)
    shade = cell_random(torch.floor(u), plank, s.seed) - 0.5
    grain = fractal_noise(s.u_m * 0.15, s.v_m * 2.2, shade * 9.0) * s.fade(0.05)
    blend = (0.4 + 0.45 * grain + 0.7 * shade * s.fade(s.size_v)).clamp(0, 1)
    edge = torch.minimum(_to_edge(u) * s.size_u, _to_edge(v) * s.size_v)
    return _mix(s.first, s.second, blend) * (1 - 0.6 * _line(edge, 0.0015, s.footprint_m))


def _wood(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    rings = fractal_noise(u * 0.06, v * 0.5, s.seed) + 0.3 * torch.sin(v * 9 + 3 * u)
    return _mix(s.first, s.second, (0.5 + 0.5 * rings * s.fade(s.size_v * 0.3)).clamp(0, 1))


def _panels(s: Surface) -> torch.Tensor:
    """Doors and drawers: a groove around each panel and a knob."""
    u, v = s.cells()
    inset = torch.minimum(_to_edge(u) * s.size_u, _to_edge(v) * s.size_v)
    groove = _line((inset - 0.006).abs(), 0.006, s.footprint_m)
    frame = _line((inset - 0.06).abs(), 0.004, s.footprint_m)
    knob_u = (u - torch.floor(u) - 0.85) * s.size_u
    knob_v = (v - torch.floor(v) - 0.5) * s.size_v
    knob = _line((knob_u * knob_u + knob_v * knob_v).sqrt(), 0.018, s.footprint_m)
    grain = 1 + 0.15 * fractal_noise(s.u_m * 1.5, s.v_m * 0.12, s.seed)
    return _mix(s.first * grain * (1 - 0.5 * groove - 0.3 * frame), s.second, knob)


def _books(s: Surface) -> torch.Tensor:
    """Spines of many colours, two widths, some gaps."""
    u, v = s.cells()
    shelf = torch.floor(v)
    u = u + 0.35 * torch.sin(torch.floor(u) * 1.7 + s.seed)
    book = torch.floor(u)
    parts = [cell_random(book, shelf, s.seed, salt) for salt in (1, 2, 3)]
    tint = torch.stack(parts) ** 1.5 * 0.75 + 0.04
    low = (v - shelf > 0.62 + 0.38 * cell_random(book, shelf, s.seed, 4)).to(u.dtype)
    tint = tint * (1 - 0.9 * low) * (1 - 0.6 * _line(_to_edge(u) * s.size_u, 0.002, s.footprint_m))
    band = _line((v - shelf - 0.2 - 0.3 * parts[0]).abs() * s.size_v, 0.012, s.footprint_m)
    fade = s.fade(s.size_u)
    return _mix(s.second, _mix(tint, s.first, band * (parts[1] > 0.5)), 0.3 + 0.7 * fade)


def _picture(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    seed = s.seed
    waves = [fractal_noise(u * f, v * f, seed + k) for k, f in ((0, 0.11), (5, 0.17), (11, 0.23))]
    horizon = ((v - 0.5 * waves[0]) * 3).clamp(-1, 1) * 0.25
    tint = torch.stack(
        [0.45 + 0.3 * waves[0] + horizon, 0.42 + 0.3 * waves[1], 0.4 + 0.35 * waves[2] - horizon]
    )
    return _mix(tint.clamp(0.02, 0.95), s.first, torch.full_like(u, 0.25))


def _facade(s: Surface) -> torch.Tensor:
    """Wall with a grid of windows: frames, dark or curtained panes, sills."""
    u, v = s.cells()
    column, floor = torch.floor(u), torch.floor(v)
    du, dv = (u - column - 0.5).abs() * s.size_u, (v - floor - 0.55).abs() * s.size_v
    wide, high = 0.24 * s.size_u, 0.28 * s.size_v
    outside = torch.maximum(du - wide, dv - high)
    pane = _line(outside.clamp_min(-1.0) + 1.0, 1.0, s.footprint_m)
    frame = _line((outside + 0.04).abs(), 0.05, s.footprint_m)
    cross = _line(du, 0.03, s.footprint_m) * pane
    mood = cell_random(column, floor, s.seed)
    glass = torch.stack([0.06 + 0.25 * mood**3, 0.08 + 0.25 * mood**3, 0.1 + 0.28 * mood**3])
    wall = s.first * (1 + 0.2 * fractal_noise(s.u_m * 0.09, s.v_m * 0.09, s.seed))
    band = _line(_to_edge(v) * s.size_v, 0.06, s.footprint_m) * 0.35
    wall = _mix(wall, s.second, band)
    return _mix(_mix(wall, glass, pane), s.second, torch.maximum(frame, cross))


def _asphalt(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    patch = fractal_noise(u * 0.04, v * 0.13, s.seed)
    grit = fractal_noise(u * 2.1, v * 2.1, 3.0) * s.fade(0.03)
    crack = _line((fractal_noise(u * 0.06, v * 0.06, 17.0) - 0.1).abs() * 2.0, 0.012, s.footprint_m)
    return _mix(s.first, s.second, (0.5 + 0.35 * patch + 0.35 * grit).clamp(0, 1)) * (
        1 - 0.4 * crack
    )


def _rug(s: Surface) -> torch.Tensor:
    u, v = s.cells()
    ring = torch.maximum(u.abs(), v.abs())
    motif = torch.sin(u * 25.0) * torch.sin(v * 25.0)
    band = ((torch.sin(ring * 38.0) > 0.2) | (motif > 0.55)).to(u.dtype)
    return _mix(s.first, s.second, 0.3 + (band * 0.9 - 0.3) * s.fade(s.size_u * 0.08))


def _outdoors(s: Surface) -> torch.Tensor:
    """A view behind a window pane: sky above, blurred green below, and a frame cross."""
    u, v = s.cells()
    soft = fractal_noise(u * 0.07, v * 0.07, s.seed)
    sky = ((v + 0.35 * soft) * 2.5 + 0.3).clamp(0, 1)
    view = _mix(s.second * (1 + 0.5 * soft), s.first, sky)
    cross = torch.maximum(
        _line(s.u_m.abs(), 0.02, s.footprint_m), _line((s.v_m - 0.1).abs(), 0.015, s.footprint_m)
    )
    return view * (1 - 0.75 * cross)


TEXTURES: Mapping[str, Callable[[Surface], torch.Tensor]] = MappingProxyType(
    {
        "plain": _plain,
        "mottled": _mottled,
        "foliage": _foliage,
        "tiles": _tiles,
        "checker": _checker,
        "stripes": _stripes,
        "folds": _folds,
        "bricks": _bricks,
        "planks": _planks,
        "wood": _wood,
        "panels": _panels,
        "books": _books,
        "picture": _picture,
        "facade": _facade,
        "asphalt": _asphalt,
        "rug": _rug,
        "outdoors": _outdoors,
    }
)


def albedo(surface: Surface) -> torch.Tensor:
    """Return the (3, N) albedo of surface points whose materials may have different textures."""
    kind = surface.column(13).to(torch.uint8)
    colour = torch.empty((3, len(kind)), dtype=torch.float32, device=kind.device)
    functions = list(TEXTURES.values())
    for number in torch.bincount(kind, minlength=len(functions)).nonzero()[:, 0].tolist():
        chosen = (kind == number).nonzero()[:, 0]
        colour.index_copy_(1, chosen, functions[number](surface.select(chosen)))
    # Dirt and wear: two scales of noise keep plain surfaces from being numerically flat.
    u, v, seed = surface.u_m, surface.v_m, surface.seed
    wear = fractal_noise(u * 0.21, v * 0.21, seed)
    wear = wear + 0.5 * fractal_noise(u * 1.7, v * 1.7, seed) * surface.fade(0.08)
    return (colour * (1 + surface.column(8) * wear)).clamp_(0.0, 1.0)
