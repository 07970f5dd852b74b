"""The networks of benchmarks/compression.py, one per kind; this file alone is what quantize_model is given."""

import torch
from torch import nn

LOOKBACK, HORIZON, CHANNELS = 96, 24, 4


class Encoder(nn.Module):
    """Transformer encoder over 32 tokens of 8 features."""

    def __init__(self, width=128, layers=3, classes=4):
        super().__init__()
        self.embed = nn.Linear(8, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(1))


class Convolutional(nn.Module):
    """Dilated 1-D convolutions over a series; the last level is taken off and put back."""

    def __init__(self, width=64):
        super().__init__()
        layers, last = [], CHANNELS
        for dilation in (1, 2, 4, 8):
            layers += [nn.Conv1d(last, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            last = width
        self.body, self.head = nn.Sequential(*layers), nn.Linear(width * LOOKBACK, HORIZON * CHANNELS)

    def forward(self, x):
        last = x[:, -1:, :]
        y = self.body((x - last).transpose(1, 2)).flatten(1)
        return self.head(y).reshape(-1, HORIZON, CHANNELS) + last


class Recurrent(nn.Module):
    """Two GRU layers and a linear head."""

    def __init__(self, width=128):
        super().__init__()
        self.rnn, self.head = (
            nn.GRU(CHANNELS, width, 2, batch_first=True),
            nn.Linear(width, HORIZON * CHANNELS),
        )

    def forward(self, x):
        last = x[:, -1:, :]
        y, _ = self.rnn(x - last)
        return self.head(y[:, -1]).reshape(-1, HORIZON, CHANNELS) + last


class Blocks(nn.Module):
    """Residual fully connected blocks (N-BEATS, generic)."""

    def __init__(self, width=256, blocks=4):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(LOOKBACK, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, LOOKBACK + HORIZON),
            )
            for _ in range(blocks)
        )

    def forward(self, x):
        last = x[:, -1:, :]
        rest, total = (x - last).transpose(1, 2), 0
        for block in self.blocks:
            back, forward = block(rest).split([LOOKBACK, HORIZON], -1)
            rest, total = rest - back, total + forward
        return total.transpose(1, 2) + last


class Separable(nn.Module):
    """Depthwise separable 2-D convolutions (MobileNet style) on 32 x 32 digits."""

    def __init__(self, width=64, classes=10):
        super().__init__()
        layers, last = self.layer(1, width, 3, 2), width
        for stride in (1, 2, 1, 2):
            layers += self.layer(last, last, 3, stride, groups=last) + self.layer(last, 2 * width, 1, 1)
            last = 2 * width
        self.body, self.head = nn.Sequential(*layers), nn.Linear(last, classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

    @staticmethod
    def layer(before, after, kernel, stride, groups=1):
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU()]


class Hierarchical(nn.Module):
    """Residual blocks on pooled input, their forecasts interpolated (N-HiTS)."""

    def __init__(self, width=256, pools=(8, 4, 1), knots=(3, 6, 24)):
        super().__init__()
        self.pools = nn.ModuleList(nn.MaxPool1d(size, size, ceil_mode=True) for size in pools)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(LOOKBACK // pool, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            for pool in pools
        )
        self.backs = nn.ModuleList(nn.Linear(width, LOOKBACK) for _ in pools)
        self.forwards = nn.ModuleList(nn.Linear(width, count) for count in knots)

    def forward(self, x):
        last = x[:, -1:, :]
        rest, total = (x - last).transpose(1, 2), 0
        for i, pool in enumerate(self.pools):
            hidden = self.blocks[i](pool(rest))
            rest = rest - self.backs[i](hidden)
            total = total + nn.functional.interpolate(self.forwards[i](hidden), size=HORIZON, mode="linear")
        return total.transpose(1, 2) + last


class Decomposed(nn.Module):
    """Moving average and remainder, one linear map each (DLinear)."""

    def __init__(self):
        super().__init__()
        self.average = nn.AvgPool1d(25, 1, 12, count_include_pad=False)
        self.trend, self.rest = nn.Linear(LOOKBACK, HORIZON), nn.Linear(LOOKBACK, HORIZON)

    def forward(self, x):
        series = x.transpose(1, 2)
        trend = self.average(series)
        return (self.trend(trend) + self.rest(series - trend)).transpose(1, 2)


class Vision(nn.Module):
    """Vision transformer on 32 x 32 digits in patches of 4."""

    def __init__(self, width=128, layers=3, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 65, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.body(x)[:, 0])


class Text(nn.Module):
    """BERT-like classifier of 128 tokens."""

    def __init__(self, words=2000, width=128, layers=2, classes=4):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(torch.randn(1, 128, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.pool, self.head = nn.Linear(width, width), nn.Linear(width, classes)

    def forward(self, x):
        return self.head(torch.tanh(self.pool(self.body(self.words(x) + self.places)[:, 0])))


class Patched(nn.Module):
    """Transformer over patches of each channel, normalised per window (PatchTST)."""

    def __init__(self, width=64, layers=2, patch=16, stride=8):
        super().__init__()
        self.patch, self.stride, count = patch, stride, (LOOKBACK - patch) // stride + 1
        self.embed, self.places = nn.Linear(patch, width), nn.Parameter(torch.randn(1, count, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(count * width, HORIZON)

    def forward(self, x):
        mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-5
        patches = ((x - mean) / spread).transpose(1, 2).unfold(2, self.patch, self.stride)
        hidden = self.body(self.embed(patches.flatten(0, 1)) + self.places).flatten(1)
        return self.head(hidden).reshape(-1, CHANNELS, HORIZON).transpose(1, 2) * spread + mean


class Tagger(nn.Module):
    """Bidirectional LSTM over 128 tokens, its states averaged."""

    def __init__(self, words=2000, width=96, classes=4):
        super().__init__()
        self.words, self.head = nn.Embedding(words, width), nn.Linear(2 * width, classes)
        self.rnn = nn.LSTM(width, width, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.head(self.rnn(self.words(x))[0].mean(1))
