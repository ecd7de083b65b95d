"""One small network per kind of input, each the same per place and over a window: normalised values in, embeddings out.

Missing values become 0 after normalisation and are told by a flag channel of their own; norms act on one
pixel at a time, never over space or batch, so that what surrounds a cell beyond its receptive field is without effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn

CLIP: Final = 4.0  # standard deviations; beyond it a network only extrapolates
STEM: Final = 5  # 10 m pixels on a side of a 50 m cell
SERIES_BLOCK: Final = 1000  # series encoded at a time in prediction: what lies between two layers stays in the cache
GPU_SERIES_BLOCK: Final = 16_384  # the same on a GPU: what lies between takes 0.3 GB for 21 years and a width of 192


class Normalisation(nn.Module):
    """Mean and standard deviation of a modality's training values; they travel inside the checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        """Constants of `shape`, which broadcasts against the values they are used on."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("std", torch.ones(*shape))

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(normalised values clipped to +-CLIP with missing as 0, flags that are 1 where missing)."""
        missing = ~torch.isfinite(values)
        scaled = ((values - self.mean) / self.std).clamp(-CLIP, CLIP)
        return torch.where(missing, 0.0, scaled), missing.to(scaled.dtype)


class ChannelNorm(nn.Module):
    """Root-mean-square norm over the channels of one pixel (Zhang and Sennrich 2019)."""

    def __init__(self, channels: int) -> None:
        """A learned gain per channel."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.gain[:, None, None]


class SatelliteEncoder(nn.Module):
    """10 m image to 50 m embeddings: a 5 x 5 stride-5 stem, then valid 3 x 3 convolutions with shortcuts."""

    def __init__(self, bands: int, width: int, dilations: Sequence[int], out: int, dropout: float) -> None:
        """`dilations` has one entry per 3 x 3 layer and fixes the receptive field."""
        super().__init__()
        self.normalisation = Normalisation((bands, 1, 1))
        self.stem = nn.Conv2d(bands + 1, width, STEM, STEM)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in dilations)
        self.dilations = tuple(dilations)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(width, out, 1)

    @property
    def receptive_field(self) -> int:
        """Side in 50 m cells, odd."""
        return 1 + 2 * sum(self.dilations)

    def forward(self, image: Tensor) -> Tensor:
        """(B, bands, 5h, 5w) reflectance to (B, out, h - R + 1, w - R + 1)."""
        values, missing = self.normalisation(image)
        x = self.stem(torch.cat([values, missing.amax(1, keepdim=True)], 1))
        for layer, norm, dilation in zip(self.layers, self.norms, self.dilations, strict=True):
            inner = x[..., dilation:-dilation, dilation:-dilation]
            x = inner + layer(nn.functional.gelu(norm(x)))
        return torch.as_tensor(self.out(self.dropout(nn.functional.gelu(x))))

    def present(self, image: Tensor) -> Tensor:
        """(B, h - R + 1, w - R + 1) bool: some pixel of the receptive field holds a value."""
        valid = torch.isfinite(image).any(1, keepdim=True).to(torch.float32)
        cells = nn.functional.max_pool2d(valid, STEM, STEM)
        return nn.functional.max_pool2d(cells, self.receptive_field, 1)[:, 0] > 0


class SeriesEncoder(nn.Module):
    """A time series to one embedding: a convolution a year wide, one across years, then mean and spread over years."""

    def __init__(self, channels: int, steps: int, period: int, width: int, out: int, dropout: float) -> None:
        """`steps` time steps, `period` of them in a year (`steps` is a whole number of years)."""
        super().__init__()
        self.normalisation = Normalisation((channels, steps))
        self.year = nn.Conv1d(channels + 1, width, period, period)
        self.across = nn.Conv1d(width, width, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(2 * width, out)

    def forward(self, series: Tensor) -> Tensor:
        """(n, channels, steps) to (n, out)."""
        count = SERIES_BLOCK if series.device.type == "cpu" else GPU_SERIES_BLOCK
        if torch.is_grad_enabled() or len(series) <= count:
            return self._features(series).T
        return torch.cat([self._features(part) for part in series.split(count)], 1).T

    def _features(self, series: Tensor) -> Tensor:
        """(n, channels, steps) to (out, n): the convolutions as matrix products with places last.

        Years do not overlap and three of them make a window, so each convolution is one product a year (and one a
        neighbour), on memory as it lies in a cube; a library's convolution over a row of 21 took nearly twice as long.
        """
        values, missing = self.normalisation(series)
        n, channels, steps = values.shape
        period = self.year.kernel_size[0]
        with_flag = torch.cat([values.permute(1, 2, 0), missing.amax(1).T[None]])  # (channels + 1, steps, n)
        years = with_flag.reshape(channels + 1, -1, period, n).transpose(0, 1).reshape(steps // period, -1, n)
        count = len(years)
        weight, bias = self.year.weight.flatten(1), cast(Tensor, self.year.bias)
        x = nn.functional.gelu(torch.baddbmm(bias[:, None], weight.expand(count, -1, -1), years))
        w_previous, w_same, w_next = self.across.weight.permute(2, 0, 1).contiguous()
        y = torch.baddbmm(cast(Tensor, self.across.bias)[:, None], w_same.expand(count, -1, -1), x)
        if count > 1:  # what lies beyond the first and the last year is 0
            y[1:].baddbmm_(w_previous.expand(count - 1, -1, -1), x[:-1])
            y[:-1].baddbmm_(w_next.expand(count - 1, -1, -1), x[1:])
        x = x + nn.functional.gelu(y)
        mean = x.mean(0)
        # torch's own variance over a first axis goes value by value: it took a third of the whole encoder
        spread = ((x - mean).square_().mean(0) + 1e-6).sqrt()
        both = self.dropout(torch.cat([mean, spread]).T)
        return self.out(both).T

    @staticmethod
    def present(series: Tensor) -> Tensor:
        """(n,) bool: some step holds a value."""
        return torch.isfinite(series).flatten(1).any(1)


class TableEncoder(nn.Module):
    """Named columns to an embedding: a perceptron on values and missing flags."""

    def __init__(self, columns: int, hidden: int, depth: int, out: int, dropout: float) -> None:
        """`depth` linear layers, the last one to `out`."""
        super().__init__()
        self.normalisation = Normalisation((columns,))
        layers: list[nn.Module] = []
        width = 2 * columns
        for _ in range(depth - 1):
            layers += [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, out))

    def forward(self, columns: Tensor) -> Tensor:
        """(n, columns) to (n, out)."""
        values, missing = self.normalisation(columns)
        return torch.as_tensor(self.layers(torch.cat([values, missing], -1)))

    @staticmethod
    def present(columns: Tensor) -> Tensor:
        """(n,) bool: some column holds a value."""
        return torch.isfinite(columns).any(1)
