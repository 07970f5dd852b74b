"""make_step functions for memory_published.py: single layers and losses whose peak was published."""

import torch
from torch import nn
from torch.nn import functional as F

BF16 = torch.bfloat16


class Rms(nn.Module):
    """Llama's norm; with a residual it is added first, in fp32."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x, residual=None):
        kept = x.dtype
        x = x.to(torch.float32)
        if residual is not None:
            residual = residual.to(torch.float32)
            x = x + residual
            residual = x
        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + 1e-6)
        y = self.weight * x.to(kept)
        return y if residual is None else (y, residual.to(kept))


class Gated(nn.Module):
    def __init__(self, width, inner, activation):
        super().__init__()
        self.gate, self.up = nn.Linear(width, inner, False), nn.Linear(width, inner, False)
        self.down, self.activation = nn.Linear(inner, width, False), activation

    def forward(self, x):
        return self.down(self.activation(self.gate(x)) * self.up(x))


def _made(model, batch, step):
    """No optimizer runs: one that is not stepped stands in, and gradients add up from pass to pass."""
    if not list(model.parameters()):
        model.none = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {"model": model, "batch": batch, "step": lambda m, b, _: step(m, b), "optimizer": optimizer}


def _norm(model, *shape, dtype=torch.float32):
    x = torch.randn(*shape, dtype=dtype, requires_grad=True)
    gradient = torch.randn(*shape, dtype=dtype)
    return _made(model, (x, gradient), lambda m, b: m(b[0]).backward(b[1], retain_graph=True))


def layer_norm(rows, width):
    return _norm(nn.LayerNorm(width), rows, width)


def group_norm(rows, channels, length):
    return _norm(nn.GroupNorm(channels // 4, channels), rows, channels, length)


def rms_norm(rows, width):
    return _norm(Rms(width), rows, width, dtype=BF16)


def added_rms_norm(rows, width):
    tensors = [torch.randn(rows, width, requires_grad=index < 2) for index in range(4)]
    return _made(Rms(width), tensors, lambda m, b: torch.autograd.backward(m(b[0], b[1]), (b[2], b[3])))


def gated(batch, length, width=4096, inner=11008, activation="silu"):
    function = {"silu": F.silu, "gelu": nn.GELU(approximate="tanh")}[activation]

    def step(model, batch):
        y = model(batch)
        y.backward(torch.randn_like(y), retain_graph=True)

    x = torch.randn(batch, length, width, dtype=BF16, requires_grad=True)
    return _made(Gated(width, inner, function).to(BF16), x, step)


def loss(rows, vocab):
    """Cross-entropy of fp32 logits."""
    x, y = torch.randn(rows, vocab, requires_grad=True), torch.randint(0, vocab, (rows,))
    return _made(nn.Module(), (x, y), lambda m, b: F.cross_entropy(*b).backward())


def head(rows, width=4096, vocab=128256):
    """Projection and loss in bfloat16; a second projection of the same size stands on the device in the source."""
    x, y = torch.randn(rows, width, dtype=BF16, requires_grad=True), torch.randint(0, vocab, (rows,))
    other = torch.zeros(vocab, width, dtype=BF16)
    model = nn.Linear(width, vocab, False).to(BF16)
    return _made(model, (x, y, other), lambda m, b: F.cross_entropy(m(b[0]), b[1]).backward())


def divergence(rows, vocab):
    """KL divergence of log-probabilities that keep their graph."""
    held = []

    def step(model, batch):
        if not held:
            held[:] = [batch.pop(0).log_softmax(-1), batch.pop(0).softmax(-1)]
        F.kl_div(*held, reduction="batchmean").backward(retain_graph=True)

    return _made(nn.Module(), [torch.randn(rows, vocab, requires_grad=True), torch.randn(rows, vocab)], step)


def rotary(length, width, heads=32, groups=8):
    """Rotary positions of queries and keys in bfloat16, and their gradients."""
    shapes = [(1, length, count, width // heads) for count in (heads, groups)]
    leaves = [torch.randn(shape, dtype=BF16, requires_grad=True) for shape in shapes]
    tables = [torch.randn(1, length, width // heads, dtype=BF16) for _ in range(2)]

    def turned(x, cos, sin):
        half = x.shape[-1] // 2
        plain = x * cos
        first, second = x[..., :half], x[..., half:]  # in this order, or their gradients add up in another
        return plain + torch.cat((-second, first), dim=-1) * sin

    def step(model, batch):
        q, k, dq, dk = (x.transpose(1, 2) for x in batch[:4])
        cos, sin = (x.unsqueeze(1) for x in batch[4:])
        outputs = turned(q, cos, sin), turned(k, cos, sin)
        torch.autograd.grad(outputs, (q, k), (dq, dk), retain_graph=True)

    return _made(nn.Module(), [*leaves, *(torch.randn(s, dtype=BF16) for s in shapes), *tables], step)


def capped_loss(backward=True, rows=8192, vocab=256000, width=2304, cap=30.0):
    """Gemma 2's loss from its last states: logits in bfloat16, capped, raised to fp32."""
    shapes = ((rows, width), (vocab, width))
    batch = [torch.randn(shape, dtype=BF16, requires_grad=True) for shape in shapes]

    def step(model, batch):
        batch[0].grad = batch[1].grad = None
        logits = batch[0] @ batch[1].T
        logits = torch.tanh(logits / cap) * cap
        loss = F.cross_entropy(logits.float(), batch[2])
        del logits
        if backward:
            loss.backward()

    return _made(nn.Module(), [*batch, torch.randint(0, vocab, (rows,))], step)


class Cached(nn.Module):
    """GPT-2 small that writes a token: keys and values are concatenated to a cache; groups of heads share them."""

    def __init__(self, heads, groups, length, vocab=50257, width=768, layers=12):
        super().__init__()
        self.heads, self.groups, self.layers = heads, groups, layers
        self.tok, self.pos = nn.Embedding(vocab, width), nn.Embedding(length, width)
        shared = width // heads * groups

        def block():
            return nn.ModuleDict({
                "key": nn.Linear(width, shared, False), "value": nn.Linear(width, shared, False),
                "query": nn.Linear(width, width, False), "out": nn.Linear(width, width),
                "up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width),
                "norm1": nn.LayerNorm(width), "norm2": nn.LayerNorm(width),
            })  # fmt: skip

        self.blocks = nn.ModuleList(block() for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, False)

    def attention(self, block, x, cache, at):
        for offset, name in enumerate(("key", "value")):
            new = block[name](x).view(1, 1, self.groups, -1)
            new = new if self.groups == self.heads else new.transpose(1, 2)
            cache[at + offset] = torch.cat([cache[at + offset], new], dim=1 + (self.groups < self.heads))
        key, value = cache[at], cache[at + 1]
        if self.groups < self.heads:
            key, value = (t.repeat_interleave(self.heads // self.groups, dim=1) for t in (key, value))
        else:
            key, value = key.transpose(1, 2), value.transpose(1, 2)
        query = block["query"](x).view(1, 1, self.heads, -1).transpose(1, 2)
        scores = query @ key.transpose(2, 3)
        weights = torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1)
        return block["out"]((weights @ value).transpose(1, 2).reshape(1, 1, -1))

    def forward(self, ids, cache):
        x = self.tok(ids) + self.pos(ids)
        for index, block in enumerate(self.blocks):
            x = x + self.attention(block, block["norm1"](x), cache, 2 * index)
            x = x + block["down"](F.gelu(block["up"](block["norm2"](x)), approximate="tanh"))
        return self.head(self.norm(x))


def generation(heads=24, groups=24, length=32772):
    """The last two tokens of a long answer, bfloat16; the caches are tensors of the batch, replaced layer by layer."""
    model = Cached(heads, groups, length).to(BF16)
    width = 768 // heads
    shape = (1, length - 2, groups, width) if groups == heads else (1, groups, length - 2, width)
    cache = [torch.zeros(shape, dtype=BF16) for _ in range(2 * model.layers)]

    def step(model, batch):
        with torch.no_grad():
            model(batch[0], batch[1])

    return _made(model, [torch.zeros(1, 1, dtype=torch.int64), cache], step)
