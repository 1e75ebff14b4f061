"""The camera from radiance to bytes: blur, exposure, vignetting, white balance, noise, gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True)
class SensorModel:
    """Settings of one camera in one light.

    Attributes:
        key: brightness the exposure control aims the mean at, linear, 1 = clipping.
        gains: white balance of R, G, B.
        blur_px: standard deviation of the point spread.
        shot: noise variance per unit of signal.
        read: standard deviation of the signal-independent noise.
        vignette: loss at the image corner.
        gamma: exponent of the tone curve.
        contrast, saturation: of the picture after the tone curve, 1 for what the scene has.
        sharpening: share of the detail that is added to it once more.
        motion: (right, down) way of the picture during the exposure, as shares of its width.
        jpeg_quality: of a compression before the picture is used, 1 to 100; None for none.
    """

    key: float = 0.2
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur_px: float = 0.5
    shot: float = 2e-4
    read: float = 0.004
    vignette: float = 0.15
    gamma: float = 2.2
    contrast: float = 1.0
    saturation: float = 1.0
    sharpening: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    jpeg_quality: int | None = None

    @staticmethod
    def random(rng: np.random.Generator, wide: bool = False) -> SensorModel:
        """Draw a plausible camera, or with `wide` any camera, bad ones and shaken ones too."""
        if wide:
            return _any_sensor(rng)
        warm = rng.normal(0.0, 0.06)
        return SensorModel(
            key=float(np.exp(rng.normal(np.log(0.2), 0.3))),
            gains=(float(np.exp(warm)), 1.0, float(np.exp(-warm + rng.normal(0, 0.03)))),
            blur_px=float(rng.uniform(0.35, 0.8)),
            shot=float(rng.uniform(0.5e-4, 6e-4)),
            read=float(rng.uniform(0.001, 0.008)),
            vignette=float(rng.uniform(0.0, 0.3)),
            gamma=float(rng.uniform(2.0, 2.4)),
        )


def _any_sensor(rng: np.random.Generator) -> SensorModel:
    warm, way = rng.normal(0.0, 0.13), rng.uniform(0.0, 2 * math.pi)
    length = float(rng.exponential(0.006)) if rng.random() < 0.35 else 0.0
    return SensorModel(
        key=float(np.exp(rng.normal(np.log(0.2), 0.4))),
        gains=(float(np.exp(warm)), 1.0, float(np.exp(-warm + rng.normal(0, 0.06)))),
        blur_px=float(rng.uniform(0.3, 1.1)),
        shot=float(np.exp(rng.uniform(np.log(0.3e-4), np.log(2e-3)))),
        read=float(np.exp(rng.uniform(np.log(0.0005), np.log(0.015)))),
        vignette=float(rng.uniform(0.0, 0.5)),
        gamma=float(rng.uniform(1.8, 2.6)),
        contrast=float(rng.uniform(0.8, 1.3)),
        saturation=float(rng.uniform(0.3, 1.5)),
        sharpening=float(rng.uniform(0.0, 0.8)) if rng.random() < 0.5 else 0.0,
        motion=(length * math.cos(way), 0.5 * length * math.sin(way)),
        jpeg_quality=int(rng.integers(35, 96)) if rng.random() < 0.7 else None,
    )


def expose(
    radiance: torch.Tensor, model: SensorModel, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Turn radiance (3, H, W) float32 into an image (H, W, 3) uint8.

    The noise comes from `rng` on the CPU, so it does not depend on the device that rendered.
    """
    _, height, width = radiance.shape
    device = radiance.device
    image = _blur(_moved(radiance, model.motion), model.blur_px)
    # The centre decides, as in a camera's centre-weighted metering; a bright sky must not turn the
    # street black.
    # Averaged by numpy: torch's sum depends on the number of threads in its last bits.
    centre = image[:, height // 4 :: 2, ::2].cpu().numpy().mean(dtype=np.float64)
    scale = model.key / max(float(centre), 1e-4)
    y = torch.linspace(-1, 1, height, device=device)[:, None]
    x = torch.linspace(-1, 1, width, device=device)[None]
    falloff = 1 - model.vignette * 0.5 * (x * x + y * y)
    gains = torch.tensor(model.gains, device=device)[:, None, None]
    image = image * (scale * falloff) * gains
    noise = torch.from_numpy(rng.standard_normal((3, height, width), np.float32)).to(device)
    image = image + noise * (image.clamp_min(0) * model.shot + model.read**2).sqrt()
    # A soft shoulder keeps highlights from clipping hard.
    image = image.clamp_min(0)
    image = image * (1 + image * 0.1) / (1 + image * 0.35)
    tone = image.clamp(0, 1) ** (1 / model.gamma)
    if model.sharpening:
        tone = tone + model.sharpening * (tone - _blur(tone, 1.0))
    if (model.contrast, model.saturation) != (1.0, 1.0):
        grey = 0.3 * tone[0] + 0.59 * tone[1] + 0.11 * tone[2]
        tone = grey + model.saturation * (tone - grey)
        tone = 0.45 + model.contrast * (tone - 0.45)
    pixels = (tone.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous()
    rgb = np.asarray(pixels.cpu().numpy())
    return rgb if model.jpeg_quality is None else _compressed(rgb, model.jpeg_quality)


def _compressed(rgb: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    """Encode and decode as JPEG."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def _moved(image: torch.Tensor, motion: tuple[float, float]) -> torch.Tensor:
    """Average (3, H, W) over a straight way in whole pixels, with repeated borders."""
    _, height, width = image.shape
    right, down = motion[0] * width, motion[1] * width
    steps = round(max(abs(right), abs(down)))
    if not steps:
        return image
    margin = steps // 2 + 1
    padded = torch.nn.functional.pad(image[None], (margin,) * 4, mode="replicate")[0]
    total = torch.zeros_like(image)
    for k in range(steps + 1):
        share = k / steps - 0.5
        x, y = margin + round(share * right), margin + round(share * down)
        total += padded[:, y : y + height, x : x + width]
    return total / (steps + 1)


def _blur(image: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Separable 3-tap Gaussian with repeated borders."""
    side = float(np.exp(-0.5 / max(sigma_px, 0.1) ** 2))
    middle, side = 1 / (1 + 2 * side), side / (1 + 2 * side)
    rows = torch.cat((image[:, :1], image, image[:, -1:]), dim=1)
    image = middle * image + side * (rows[:, :-2] + rows[:, 2:])
    columns = torch.cat((image[:, :, :1], image, image[:, :, -1:]), dim=2)
    return middle * image + side * (columns[:, :, :-2] + columns[:, :, 2:])
