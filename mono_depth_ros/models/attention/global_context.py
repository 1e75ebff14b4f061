"""Global context module (GCM) of Kim et al. (IEEE Access 2020), section III-C."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from mono_depth_ros.models.attention.maps import enlarge, max_over_pixels, squeeze_mlp

FIRST_CONTEXT_STD = 1e-3
"""Of the last layer's initial weights: the module starts close to the identity."""


class GlobalContext(nn.Module):
    """One vector about the whole image weights the channels of the bottleneck F_B, (C, H, W).

    F'_B = convolution of the channel mean (1, H, W) with d_h kernels of size H x W, (d_h, 1, 1);
    F''_B = W2 relu(W1 max over pixels of F_B), (d_h, 1, 1), hidden width C / 16;
    G = conv1x1(F'_B + F''_B), (C, 1, 1), enlarged to (C, H, W);  output = F_B + F_B * G.

    Enlarging one value bilinearly is a broadcast. The kernel has the size of the training map, so
    the printed module runs on no other; here the mean is averaged to that grid first, or the
    kernel is resized to the map. Both are the plain convolution at the training size.

    Args:
        channels: C.
        grid: H and W of F_B in training; the kernel's size.
        hidden: d_h; 512 in the paper.
        reduction: C over the hidden width of the perceptron; 16 in the paper.
        resize_kernel: resize the kernel, not the map.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        hidden: int = 512,
        reduction: int = 16,
        resize_kernel: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.resize_kernel = grid, resize_kernel
        self.spatial = nn.Conv2d(1, hidden, grid, bias=False)
        self.channel = squeeze_mlp(channels, reduction, hidden, bias=False)
        self.fuse = nn.Conv2d(hidden, channels, 1, bias=False)
        # F_B * G is quadratic in F_B: a pretrained map must not start scrambled.
        nn.init.normal_(self.fuse.weight, std=FIRST_CONTEXT_STD)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        from_space = self._whole_map(features.mean(1, keepdim=True))
        context = self.fuse(from_space + self.channel(max_over_pixels(features)))
        return features + features * context

    def _whole_map(self, mean: Tensor) -> Tensor:
        """(B, 1, H, W) → (B, d_h, 1, 1)."""
        height, width = mean.shape[-2:]
        if (height, width) == self.grid:
            return self.spatial(mean)
        if self.resize_kernel:
            # As many more samples as pixels, each weighing as many times less.
            share = self.grid[0] * self.grid[1] / (height * width)
            kernel = enlarge(self.spatial.weight, (height, width), "bilinear")
            return functional.conv2d(mean, share * kernel)
        return self.spatial(functional.adaptive_avg_pool2d(mean, self.grid))
