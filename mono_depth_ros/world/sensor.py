"""The camera from radiance to bytes: blur, exposure, vignetting, white balance, noise, gamma."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    key: float = 0.2
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur_px: float = 0.5
    shot: float = 2e-4
    read: float = 0.004
    vignette: float = 0.15
    gamma: float = 2.2

    @staticmethod
    def random(rng: np.random.Generator) -> SensorModel:
        """Draw a plausible camera."""
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


def expose(
    radiance: torch.Tensor, model: SensorModel, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Turn radiance (3, H, W) float32 into an image (H, W, 3) uint8.

    The noise comes from `rng` on the CPU, so it does not depend on the device that rendered.
    """
    _, height, width = radiance.shape
    device = radiance.device
    image = _blur(radiance, model.blur_px)
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
    pixels = (tone * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous()
    return np.asarray(pixels.cpu().numpy())


def _blur(image: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Separable 3-tap Gaussian with repeated borders."""
    side = float(np.exp(-0.5 / max(sigma_px, 0.1) ** 2))
    middle, side = 1 / (1 + 2 * side), side / (1 + 2 * side)
    rows = torch.cat((image[:, :1], image, image[:, -1:]), dim=1)
    image = middle * image + side * (rows[:, :-2] + rows[:, 2:])
    columns = torch.cat((image[:, :, :1], image, image[:, :, -1:]), dim=2)
    return middle * image + side * (columns[:, :, :-2] + columns[:, :, 2:])
