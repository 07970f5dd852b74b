"""make_step functions as people write them: the material of memory_unseen.py. No data files, no downloads."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Made = dict[str, Any]


def made(model: nn.Module, batch: Any, loss: Any, optimizer: Any = torch.optim.Adam, **options: Any) -> Made:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return {"model": model, "batch": batch, "loss": loss, "optimizer": optimizer(weights, lr=1e-3, **options)}


def classify(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(*batch[:-1]), batch[-1])


class Tagger(nn.Module):
    """Packed sequences through an RNN."""

    def __init__(self, kind: type[nn.RNNBase], two_ways: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 64)
        self.body = kind(64, 128, 2, batch_first=True, bidirectional=two_ways, dropout=0.1)
        self.head = nn.Linear(128 * (1 + two_ways), 5)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.embed(x), lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.body(packed)[0], batch_first=True)[0].mean(1))


def packed_lstm() -> Made:
    lengths = torch.randint(10, 40, (16,))
    lengths[0] = 40
    return made(
        Tagger(nn.LSTM, True),
        (torch.randint(0, 1000, (16, 40)), lengths, torch.randint(0, 5, (16,))),
        classify,
    )


def packed_gru() -> Made:
    batch = (torch.randint(0, 1000, (16, 40)), torch.full((16,), 40), torch.randint(0, 5, (16,)))
    return made(Tagger(nn.GRU, False), batch, classify)


def lstm() -> Made:
    model = nn.ModuleList([nn.LSTM(32, 128, 2, batch_first=True), nn.Linear(128, 1)])
    return made(
        model,
        (torch.randn(16, 50, 32), torch.randn(16, 1)),
        lambda m, b: F.mse_loss(m[1](m[0](b[0])[0][:, -1]), b[1]),
    )


def lstm_cell() -> Made:
    model = nn.ModuleList([nn.LSTMCell(32, 64), nn.Linear(64, 1)])

    def loss(model: Any, batch: Any) -> torch.Tensor:
        h = c = batch[0].new_zeros(16, 64)
        for t in range(30):
            h, c = model[0](batch[0][:, t], (h, c))
        return F.mse_loss(model[1](h), batch[1])

    return made(model, (torch.randn(16, 30, 32), torch.randn(16, 1)), loss)


class Scan(nn.Module):
    """A selective state space written as a loop over time."""

    def __init__(self, width: int = 64, states: int = 16) -> None:
        super().__init__()
        self.states = states
        self.enter, self.leave = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(width, width, 4, groups=width, padding=3)
        self.select, self.rate = nn.Linear(width, 2 * states + 1), nn.Linear(1, width)
        self.decay, self.skip = nn.Parameter(torch.rand(width, states)), nn.Parameter(torch.ones(width))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        x, gate = self.enter(u).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        b, c, rate = self.select(x).split([self.states, self.states, 1], -1)
        rate = F.softplus(self.rate(rate))
        forget = torch.exp(-rate.unsqueeze(-1) * self.decay.exp())
        write = rate.unsqueeze(-1) * b.unsqueeze(2) * x.unsqueeze(-1)
        h, read = torch.zeros_like(forget[:, 0]), []
        for t in range(u.shape[1]):
            h = forget[:, t] * h + write[:, t]
            read.append((h * c[:, t].unsqueeze(1)).sum(-1))
        return self.leave((torch.stack(read, 1) + self.skip * x) * F.silu(gate))


def selective_scan() -> Made:
    model = nn.Sequential(Scan(), nn.LayerNorm(64), Scan(), nn.Linear(64, 10))
    batch = (torch.randn(4, 48, 64), torch.randint(0, 10, (4, 48)))
    return made(model, batch, lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten()))


def gan() -> Made:
    up, down = nn.ConvTranspose2d, nn.Conv2d
    g = nn.Sequential(up(32, 64, 4), nn.BatchNorm2d(64), nn.ReLU(), up(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
                      up(32, 3, 4, 2, 1), nn.Tanh())  # fmt: skip
    d = nn.Sequential(nn.utils.spectral_norm(down(3, 32, 4, 2, 1)), nn.LeakyReLU(0.2, True), down(32, 64, 4, 2, 1),
                      nn.LeakyReLU(0.2, True), nn.Flatten(), nn.Linear(64 * 16, 1))  # fmt: skip
    of_g, of_d = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
    score = F.binary_cross_entropy_with_logits

    def step(model: Any, batch: torch.Tensor, optimizer: Any) -> None:
        one, zero = torch.ones(8, 1, device=batch.device), torch.zeros(8, 1, device=batch.device)
        fake = g(torch.randn(8, 32, 1, 1, device=batch.device))
        of_d.zero_grad()
        (score(d(batch), one) + score(d(fake.detach()), zero)).backward()
        of_d.step()
        of_g.zero_grad()
        score(d(fake), one).backward()
        of_g.step()

    model = nn.ModuleDict({"g": g, "d": d})
    return {"model": model, "batch": torch.randn(8, 3, 16, 16), "optimizer": of_g, "step": step}


def gradient_penalty() -> Made:
    model = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def loss(model: Any, batch: torch.Tensor) -> torch.Tensor:
        x = batch.detach().clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return model(batch).mean() + 10 * ((slope.norm(2, 1) - 1) ** 2).mean()

    return made(model, torch.randn(8, 64), loss)


class GraphAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave, self.score = nn.Linear(32, 64), nn.Linear(64, 7), nn.Linear(64, 1)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        h, (source, target) = self.enter(x), edges
        w = F.leaky_relu(self.score(h))[source].squeeze(1)
        highest = torch.full((len(x),), -1e9, device=x.device).scatter_reduce(0, target, w, "amax")
        w = (w - highest[target]).exp()
        total = torch.zeros(len(x), device=x.device).index_add_(0, target, w)
        weighted = h[source] * (w / (total[target] + 1e-9)).unsqueeze(1)
        return self.leave(F.elu(torch.zeros_like(h).index_add_(0, target, weighted)))


def graph_attention() -> Made:
    batch = (torch.randn(3000, 32), torch.randint(0, 3000, (2, 15000)), torch.randint(0, 7, (3000,)))
    return made(GraphAttention(), batch, classify)


def two_towers() -> Made:
    users, items = (
        nn.EmbeddingBag(5000, 64),
        nn.Sequential(nn.Linear(100, 128), nn.GELU(), nn.Linear(128, 64)),
    )

    def loss(model: Any, batch: Any) -> torch.Tensor:
        a, c = (F.normalize(tower(x), dim=-1) for tower, x in zip(model, batch, strict=True))
        scores, right = a @ c.t() * math.e, torch.arange(64, device=a.device)
        return (F.cross_entropy(scores, right) + F.cross_entropy(scores.t(), right)) / 2

    batch = (torch.randint(0, 5000, (64, 20)), torch.randn(64, 100))
    return made(nn.ModuleList([users, items]), batch, loss)


def attention_with_masks() -> Made:
    model = nn.ModuleList([nn.MultiheadAttention(64, 4, dropout=0.1, batch_first=True), nn.Linear(64, 3)])

    def loss(model: Any, batch: Any) -> torch.Tensor:
        x, padding, target = batch
        causal = nn.Transformer.generate_square_subsequent_mask(60, device=x.device).isinf()
        y, w = model[0](x, x, x, key_padding_mask=padding, attn_mask=causal, need_weights=True)
        return F.cross_entropy(model[1](y.mean(1)) + w.mean(), target)

    return made(model, (torch.randn(8, 60, 64), torch.rand(8, 60) < 0.1, torch.randint(0, 3, (8,))), loss)


def encoder_decoder() -> Made:
    def loss(model: Any, batch: Any) -> torch.Tensor:
        mask = model.generate_square_subsequent_mask(40, device=batch[1].device)
        found: torch.Tensor = model(batch[0], batch[1], tgt_mask=mask, tgt_is_causal=True)
        return found.pow(2).mean()

    model = nn.Transformer(64, 4, 2, 2, 128, batch_first=True)
    return made(model, (torch.randn(4, 50, 64), torch.randn(4, 40, 64)), loss)


def moving_average() -> Made:
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10))
    average = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    def step(model: Any, batch: Any, optimizer: Any) -> None:
        with torch.autocast(batch[0].device.type, torch.bfloat16):
            loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average.update_parameters(model)

    batch = (torch.randn(16, 256), torch.randint(0, 10, (16,)))
    return {"model": model, "batch": batch, "optimizer": optimizer, "step": step}


def volume_autoencoder() -> Made:
    enter = nn.Sequential(
        nn.Conv3d(1, 8, 3, 2, 1), nn.ELU(), nn.Conv3d(8, 8, 3, 2, 1), nn.InstanceNorm3d(8), nn.ELU()
    )
    leave = nn.Sequential(nn.Upsample(scale_factor=2, mode="trilinear"), nn.Conv3d(8, 8, 3, padding=1), nn.ELU(),
                          nn.Upsample(scale_factor=2), nn.Conv3d(8, 1, 3, padding=1))  # fmt: skip
    return made(nn.Sequential(enter, leave), torch.randn(2, 1, 16, 16, 16), lambda m, b: F.mse_loss(m(b), b))


def one_volume() -> Made:
    model = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv3d(16, 16, 3, padding=1), nn.ReLU()
    )
    return made(model, torch.randn(1, 1, 12, 20, 20), lambda m, b: m(b).square().mean())


def lbfgs() -> Made:
    def step(model: Any, batch: Any, optimizer: Any) -> None:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(model(batch[0]), batch[1])
            loss.backward()
            return loss

        optimizer.step(closure)

    model = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5, history_size=4)  # full after two steps
    batch = (torch.randn(32, 64), torch.randn(32, 1))
    return {"model": model, "batch": batch, "optimizer": optimizer, "step": step}


def ctc() -> Made:
    model = nn.Sequential(nn.Conv1d(40, 64, 3, padding=1), nn.ReLU(), nn.Conv1d(64, 30, 1))
    lengths = (torch.full((8,), 100), torch.full((8,), 20))
    batch = (torch.randn(8, 40, 100), torch.randint(1, 30, (8, 20)), *lengths)
    return made(model, batch, lambda m, b: F.ctc_loss(m(b[0]).log_softmax(1).permute(2, 0, 1), *b[1:]))


def experts_by_mask() -> Made:
    model = nn.ModuleList([nn.Linear(64, 4), *(nn.Linear(64, 64) for _ in range(4)), nn.Linear(64, 10)])

    def loss(model: Any, batch: Any) -> torch.Tensor:
        x, target = batch
        w, chosen = model[0](x).softmax(-1).topk(2)
        y = torch.zeros_like(x)
        for number, expert in enumerate(model[1:-1]):
            row, column = torch.where(chosen == number)
            y.index_add_(0, row, expert(x[row]) * w[row, column, None])
        return F.cross_entropy(model[-1](y), target)

    return made(model, (torch.randn(1024, 64), torch.randint(0, 10, (1024,))), loss)


NAMES = [
    "lstm_cell", "selective_scan", "gan", "gradient_penalty", "graph_attention", "two_towers", "attention_with_masks",
    "encoder_decoder", "moving_average", "volume_autoencoder", "one_volume", "lbfgs", "ctc", "experts_by_mask", "lstm",
    "packed_lstm", "packed_gru",
]  # fmt: skip
