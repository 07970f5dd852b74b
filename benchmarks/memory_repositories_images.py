"""Steps of memory_repositories.py: images, points, graphs."""

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from memory_repositories import Made, classify, labels, made, sgd, take
from torch import nn


def dit_with_ema() -> Made:
    models, diffusion = take("DiT", "models"), take("DiT", "diffusion").create_diffusion("")
    model = models.DiT(input_size=16, depth=4, hidden_size=192, num_heads=3)
    ema = models.DiT(input_size=16, depth=4, hidden_size=192, num_heads=3).requires_grad_(False)
    pair = nn.ModuleDict({"model": model, "ema": ema})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0)

    def step(pair: Any, batch: Any, optimizer: Any) -> None:
        x, y = batch
        t = torch.randint(0, diffusion.num_timesteps, (x.shape[0],), device=x.device)
        loss = diffusion.training_losses(pair["model"], x, t, {"y": y})["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for ema, p in zip(pair["ema"].parameters(), pair["model"].parameters(), strict=True):
                ema.mul_(0.9999).add_(p.data, alpha=1 - 0.9999)

    batch = (torch.randn(16, 4, 16, 16), labels(1000, 16))
    return {"model": pair, "batch": batch, "loss": None, "optimizer": optimizer, "step": step}


def kan() -> Made:
    model = take("efficient-kan/src", "efficient_kan").KAN([784, 64, 10])
    return made(model, (torch.randn(64, 784), labels(10, 64)), classify)


def nerf() -> Made:
    helpers = take("nerf-pytorch", "run_nerf_helpers")
    points, size = helpers.get_embedder(10, 0)
    views, size_views = helpers.get_embedder(4, 0)
    model = helpers.NeRF(8, 256, size, size_views, 5, [4], True)

    def loss(m: Any, batch: Any) -> Any:
        origins, directions, target = batch
        z = torch.linspace(2.0, 6.0, 64, device=origins.device).expand(len(origins), 64)
        where = origins[:, None] + directions[:, None] * z[..., None]
        flat = points(where.reshape(-1, 3))
        looking = views(directions[:, None].expand(where.shape).reshape(-1, 3))
        raw = m(torch.cat([flat, looking], -1)).reshape(*where.shape[:2], -1)
        alpha = 1.0 - torch.exp(-F.relu(raw[..., 3]) * 0.06)
        through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1.0 - alpha + 1e-10], -1), -1)[
            :, :-1
        ]
        return F.mse_loss(((alpha * through)[..., None] * torch.sigmoid(raw[..., :3])).sum(1), target)

    return made(model, tuple(torch.randn(64, 3) for _ in range(3)), loss)


def unet_with_dice() -> Made:
    unet, dice = take("Pytorch-UNet", "unet.unet_model"), take("Pytorch-UNet", "utils.dice_score")
    model = unet.UNet(3, 2, bilinear=False)

    def loss(m: Any, batch: Any) -> Any:
        predicted = m(batch[0])
        wanted = F.one_hot(batch[1], 2).permute(0, 3, 1, 2).float()
        return F.cross_entropy(predicted, batch[1]) + dice.dice_loss(
            F.softmax(predicted, dim=1).float(), wanted, multiclass=True
        )

    optimizer = lambda p: torch.optim.RMSprop(p, lr=1e-5, weight_decay=1e-8, momentum=0.999, foreach=True)  # noqa: E731
    return made(model, (torch.randn(2, 3, 96, 96), labels(2, 2, 96, 96)), loss, optimizer)


def nested_unet() -> Made:
    model = take("pytorch-nested-unet", "archs").NestedUNet(1, deep_supervision=True)

    def loss(m: Any, batch: Any) -> Any:
        return sum(F.binary_cross_entropy_with_logits(out, batch[1]) for out in m(batch[0])) / 4

    return made(model, (torch.randn(2, 3, 64, 64), torch.rand(2, 1, 64, 64)), loss, sgd)


def online_triplets() -> Made:
    networks, losses = take("siamese-triplet", "networks"), take("siamese-triplet", "losses")
    model = networks.TripletNet(networks.EmbeddingNet())
    criterion = losses.TripletLoss(1.0)
    batch = tuple(torch.randn(64, 1, 28, 28) for _ in range(3))
    return made(model, batch, lambda m, b: criterion(*m(*b)), torch.optim.Adam)


def pointnet_2() -> Made:
    source = take("Pointnet_Pointnet2_pytorch/models", "pointnet2_cls_ssg")
    model = source.get_model(40, normal_channel=False)

    def loss(m: Any, batch: Any) -> Any:
        found, _features = m(batch[0])
        return F.nll_loss(found, batch[1])

    return made(model, (torch.randn(4, 3, 1024), labels(40, 4)), loss, torch.optim.Adam)


def optical_flow() -> Made:
    source = take("RAFT/core", "raft")

    class Arguments(SimpleNamespace):
        def __contains__(self, name: object) -> bool:
            return hasattr(self, str(name))

    model = source.RAFT(Arguments(small=True, dropout=0.0, alternate_corr=False, mixed_precision=False))

    def loss(m: Any, batch: Any) -> Any:
        flows = m(batch[0], batch[1], iters=4)
        return sum(0.8 ** (3 - i) * (flow - batch[2]).abs().mean() for i, flow in enumerate(flows))

    return made(
        model, (torch.rand(1, 3, 128, 160), torch.rand(1, 3, 128, 160), torch.randn(1, 2, 128, 160)), loss
    )


def normalizing_flow() -> Made:
    source = take("glow-pytorch", "model")
    model = source.Glow(3, 4, 2, affine=True, conv_lu=True)

    def loss(m: Any, batch: Any) -> Any:
        log_p, logdet, _ = m(batch + torch.rand_like(batch) / 32)
        return -(log_p + logdet).mean()

    return made(model, torch.randn(4, 3, 32, 32), loss, torch.optim.Adam)


def vq_vae_2() -> Made:
    model = take("vq-vae-2-pytorch", "vqvae").VQVAE(channel=64, n_res_channel=16)

    def loss(m: Any, batch: Any) -> Any:
        out, latent = m(batch)
        return F.mse_loss(out, batch) + 0.25 * latent.mean()

    return made(model, torch.randn(2, 3, 64, 64), loss, torch.optim.Adam)


def u2net() -> Made:
    model = take("U-2-Net", "model.u2net").U2NETP()

    def loss(m: Any, batch: Any) -> Any:
        return sum(F.binary_cross_entropy(out, batch[1]) for out in m(batch[0]))

    return made(model, (torch.randn(2, 3, 96, 96), torch.rand(2, 1, 96, 96)), loss, torch.optim.Adam)


def graph_attention() -> Made:
    source = take("pytorch-GAT", "models.definitions.GAT")
    model = source.GAT(2, [8, 1], [256, 8, 7], layer_type=source.LayerType.IMP3)
    batch = (torch.randn(1000, 256), labels(1000, 2, 6000), labels(7, 1000))
    return made(model, batch, lambda m, b: F.cross_entropy(m((b[0], b[1]))[0], b[2]))


def vit_max() -> Made:
    model = take("vit-pytorch", "vit_pytorch.max_vit").MaxViT(
        num_classes=10, dim_conv_stem=32, dim=32, dim_head=16, depth=(1, 1), window_size=4
    )
    return made(model, (torch.randn(4, 3, 64, 64), labels(10, 4)), classify)


def vit_cross() -> Made:
    model = take("vit-pytorch", "vit_pytorch.cct").CCT(
        img_size=(64, 64), embedding_dim=128, num_layers=3, num_heads=4, num_classes=10
    )
    return made(model, (torch.randn(8, 3, 64, 64), labels(10, 8)), classify)


def guided_diffusion() -> Made:
    source = take("guided-diffusion", "guided_diffusion.unet")
    model = source.UNetModel(
        32, 3, 32, 3, 1, (2, 4), channel_mult=(1, 2), use_checkpoint=True, num_head_channels=16
    )
    batch = (torch.randn(2, 3, 32, 32), labels(1000, 2), torch.randn(2, 3, 32, 32))
    return made(model, batch, lambda m, b: F.mse_loss(m(b[0], b[1]), b[2]))


NAMES = [
    "dit_with_ema",
    "kan",
    "nerf",
    "unet_with_dice",
    "nested_unet",
    "online_triplets",
    "pointnet_2",
    "optical_flow",
    "normalizing_flow",
    "vq_vae_2",
    "u2net",
    "graph_attention",
    "vit_max",
    "vit_cross",
    "guided_diffusion",
]
