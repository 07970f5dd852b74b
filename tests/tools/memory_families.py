"""Training steps of many model families, small enough for a CPU; each function is a make_step."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


def made(model, batch, loss, optimizer=torch.optim.AdamW, **more):
    return {"model": model, "batch": batch, "loss": loss, "optimizer": optimizer(model.parameters()), **more}


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1, momentum=0.9)


def classify(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def regress(model, batch):
    return F.mse_loss(model(batch[0]), batch[1])


def images(batch_size, side, classes=10):
    return torch.randn(batch_size, 3, side, side), torch.randint(0, classes, (batch_size,))


def mlp(batch_size=256):
    layers = nn.Sequential(
        nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.GELU(), nn.Linear(1024, 10)
    )
    return made(layers, (torch.randn(batch_size, 512), torch.randint(0, 10, (batch_size,))), classify)


def cnn(batch_size=16):
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip
    return made(model, images(batch_size, 64), classify, sgd)


class Bottleneck(nn.Module):
    def __init__(self, inner, middle, stride=1):
        super().__init__()
        outer = 4 * middle
        self.main = nn.Sequential(
            nn.Conv2d(inner, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
            nn.Conv2d(middle, outer, 1, bias=False), nn.BatchNorm2d(outer),
        )  # fmt: skip
        same = stride == 1 and inner == outer
        self.side = (
            None
            if same
            else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        rest = x if self.side is None else self.side(x)
        y = self.main(x)
        y += rest
        return self.relu(y)


def resnet(batch_size=8):
    blocks = [Bottleneck(64, 64), Bottleneck(256, 64), Bottleneck(256, 128, 2), Bottleneck(512, 128)]
    stem = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return made(model, images(batch_size, 96), classify, sgd)


class UNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()

        def stage(inner, outer):
            return nn.Sequential(
                nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(4, outer), nn.SiLU(),
                nn.Conv2d(outer, outer, 3, padding=1), nn.SiLU(),
            )  # fmt: skip

        self.down_1, self.down_2, self.middle = (
            stage(3, width),
            stage(width, 2 * width),
            stage(2 * width, 4 * width),
        )
        self.up_2, self.up_1 = stage(6 * width, 2 * width), stage(3 * width, width)
        self.out, self.pool, self.grow = nn.Conv2d(width, 3, 1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

    def forward(self, x):
        a = self.down_1(x)
        b = self.down_2(self.pool(a))
        c = self.up_2(torch.cat([self.grow(self.middle(self.pool(b))), b], 1))
        return self.out(self.up_1(torch.cat([self.grow(c), a], 1)))


def unet(batch_size=8):
    return made(UNet(), (torch.randn(batch_size, 3, 64, 64), torch.randn(batch_size, 3, 64, 64)), regress)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.body, self.head = kind(32, 64, 2, batch_first=True), nn.Linear(64, 1)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


def gru(batch_size=32):
    return made(Recurrent(nn.GRU), (torch.randn(batch_size, 20, 32), torch.randn(batch_size, 1)), regress)


def lstm(batch_size=32):
    return made(Recurrent(nn.LSTM), (torch.randn(batch_size, 20, 32), torch.randn(batch_size, 1)), regress)


class Encoder(nn.Module):
    def __init__(self, norm_first=False):
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, 0.1, "gelu", batch_first=True, norm_first=norm_first)
        self.body, self.head = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Linear(128, 5)

    def forward(self, ids):
        return self.head(self.body(self.embed(ids)).mean(1))


def encoder(batch_size=16):
    return made(
        Encoder(), (torch.randint(0, 1000, (batch_size, 64)), torch.randint(0, 5, (batch_size,))), classify
    )


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.qkv(self.norm_1(x)).split(width, 2)
        q, k, v = (p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts)
        y = (
            F.scaled_dot_product_attention(q, k, v, is_causal=True)
            .transpose(1, 2)
            .reshape(batch, length, width)
        )
        x = x + self.out(y)
        return x + self.down(F.silu(self.up(self.norm_2(x))))


class Decoder(nn.Module):
    def __init__(self, layers=4, width=128, recompute=False):
        super().__init__()
        self.tokens = nn.Embedding(2000, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(layers))
        self.head, self.recompute = nn.Linear(width, 2000, bias=False), recompute

    def forward(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return self.head(x)


def next_token(model, batch):
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def text(batch_size, length=128):
    return torch.randint(0, 2000, (batch_size, length)), torch.randint(0, 2000, (batch_size, length))


def decoder(batch_size=8, layers=4, width=128):
    return made(Decoder(layers, width), text(batch_size), next_token)


def decoder_checkpointed(batch_size=8):
    return made(Decoder(recompute=True), text(batch_size), next_token)


def decoder_accumulating(batch_size=2):
    return made(Decoder(), text(batch_size), next_token, accumulation_steps=4)


def decoder_autocast(batch_size=8):
    def loss(model, batch):
        with torch.autocast(batch[0].device.type, torch.bfloat16):
            return next_token(model, batch)

    return made(Decoder(), text(batch_size), loss)


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 16, 16)
        self.first, self.place = nn.Parameter(torch.zeros(1, 1, 192)), nn.Parameter(torch.zeros(1, 65, 192))
        layer = nn.TransformerEncoderLayer(192, 3, 768, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), nn.Linear(192, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.body(x)[:, 0])


def vit(batch_size=16):
    return made(ViT(), images(batch_size, 128), classify)


class DLinear(nn.Module):
    def __init__(self, past=336, horizon=96, window=25):
        super().__init__()
        self.window, self.trend, self.rest = window, nn.Linear(past, horizon), nn.Linear(past, horizon)

    def forward(self, x):
        side = (self.window - 1) // 2
        padded = torch.cat([x[:, :1].repeat(1, side, 1), x, x[:, -1:].repeat(1, side, 1)], 1)
        trend = F.avg_pool1d(padded.permute(0, 2, 1), self.window, 1).permute(0, 2, 1)
        rest = x - trend
        return (self.rest(rest.permute(0, 2, 1)) + self.trend(trend.permute(0, 2, 1))).permute(0, 2, 1)


def dlinear(batch_size=32):
    return made(DLinear(), (torch.randn(batch_size, 336, 21), torch.randn(batch_size, 96, 21)), regress)


class PatchTST(nn.Module):
    def __init__(self, past=336, horizon=96, patch=16, stride=8, width=64):
        super().__init__()
        self.patch, self.stride = patch, stride
        count = (past - patch) // stride + 1
        self.embed, self.place = nn.Linear(patch, width), nn.Parameter(torch.zeros(1, count, width))
        layer = nn.TransformerEncoderLayer(width, 4, 128, 0.2, "gelu", batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(count * width, horizon)

    def forward(self, x):
        batch, length, channels = x.shape
        x = x.permute(0, 2, 1).reshape(batch * channels, length).unfold(1, self.patch, self.stride)
        y = self.body(self.embed(x) + self.place)
        return self.head(y.flatten(1)).view(batch, channels, -1).permute(0, 2, 1)


def patchtst(batch_size=8):
    return made(PatchTST(), (torch.randn(batch_size, 336, 7), torch.randn(batch_size, 96, 7)), regress)


class NHits(nn.Module):
    def __init__(self, past=240, horizon=48, pools=(8, 4, 1), width=256):
        super().__init__()
        self.past, self.horizon, self.pools = past, horizon, pools
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(past // p, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, past // p + horizon // p),
            )
            for p in pools
        )  # fmt: skip

    def forward(self, x):
        forecast, rest = 0, x
        for pool, block in zip(self.pools, self.blocks, strict=True):
            theta = block(F.max_pool1d(rest.unsqueeze(1), pool, pool).squeeze(1))
            back, ahead = theta[:, : self.past // pool], theta[:, self.past // pool :]
            rest = rest - F.interpolate(back.unsqueeze(1), size=self.past, mode="linear").squeeze(1)
            forecast = forecast + F.interpolate(ahead.unsqueeze(1), size=self.horizon, mode="linear").squeeze(
                1
            )
        return forecast


def nhits(batch_size=256):
    return made(NHits(), (torch.randn(batch_size, 240), torch.randn(batch_size, 48)), regress)


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 128), nn.Linear(128, 7)

    @staticmethod
    def spread(x, edges):
        return torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])

    def forward(self, x, edges):
        x = F.relu(self.spread(self.first(x), edges))
        return self.spread(self.second(F.dropout(x, 0.5, self.training)), edges)


def gnn(nodes=2000):
    batch = (torch.randn(nodes, 64), torch.randint(0, nodes, (2, 8 * nodes)), torch.randint(0, 7, (nodes,)))
    return made(Graph(), batch, lambda model, batch: F.cross_entropy(model(batch[0], batch[1]), batch[2]))


def volume():
    """A single 3-D sample, which torch unfolds itself."""
    model = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv3d(16, 16, 3, padding=1), nn.ReLU()
    )
    return made(model, torch.randn(1, 1, 12, 20, 20), lambda model, batch: model(batch).square().mean())


def segmenter(batch_size=4):
    """Convolutions whose scratch space follows no formula."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(32, 32, 7, padding=3, groups=32),
        nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 10, 4, 2, 1),
    )  # fmt: skip
    batch = (torch.randn(batch_size, 3, 48, 48), torch.randint(0, 10, (batch_size, 48, 48)))
    return made(model, batch, classify, sgd)


def scan(steps=24):
    """A state space as a loop over time: the gradients of all steps are summed in place."""
    model = nn.Linear(32, 64)

    def loss(model, batch):
        keep, write = (
            part.unsqueeze(-1) * batch.unsqueeze(2) for part in model(batch).sigmoid().chunk(2, -1)
        )
        state = torch.zeros_like(keep[:, 0])
        for t in range(steps):
            state = keep[:, t] * state + write[:, t]
        return state.square().mean()

    return made(model, torch.randn(8, steps, 32), loss)


def table(batch_size=512):
    """A sparse gradient of rows that all differ, and the optimizer for it."""
    model = nn.Embedding(5000, 32, sparse=True)
    optimizer = torch.optim.SparseAdam
    return made(model, torch.randperm(batch_size), lambda m, b: m(b).square().mean(), optimizer)


def scaled(batch_size=64):
    """autocast with a gradient scaler, which skips a step only where a gradient is infinite."""
    found = mlp(batch_size)

    def step(model, batch, optimizer):
        scaler = torch.amp.GradScaler(batch[0].device.type)
        with torch.autocast(batch[0].device.type, torch.bfloat16):
            loss = classify(model, batch)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return {**found, "step": step}


def tied(batch_size=8):
    """One weight at both ends: its first gradient is a view, so the engine does not add the second into it."""
    batch = torch.randint(0, 20000, (batch_size, 2))
    return made(
        nn.Embedding(20000, 32), batch, lambda m, b: F.linear(m(b).mean(1), m.weight).square().mean(), sgd
    )


class Normed(nn.Module):
    """Batch norm over transposed input, packed sequences behind it."""

    def __init__(self):
        super().__init__()
        self.norm, self.mix, self.body = (
            nn.BatchNorm1d(64),
            nn.Linear(64, 64),
            nn.GRU(64, 64, batch_first=True),
        )

    def forward(self, x):
        y = self.mix(self.norm(x.transpose(1, 2)).transpose(1, 2))
        lengths = torch.full((len(x),), x.shape[1])
        return nn.utils.rnn.pad_packed_sequence(
            self.body(nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True))[0]
        )[0]


def normed(batch_size=16):
    return made(Normed(), torch.randn(batch_size, 24, 64), lambda m, b: m(b).square().mean())


FAMILIES = (mlp, cnn, resnet, unet, gru, encoder, decoder, decoder_checkpointed, decoder_accumulating,
            decoder_autocast, vit, dlinear, patchtst, nhits, gnn, volume, lstm, segmenter, scan,
            table, scaled, tied, normed)  # fmt: skip
