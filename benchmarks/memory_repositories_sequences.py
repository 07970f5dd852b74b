"""Steps of memory_repositories.py: text, sound, series, tables, control."""

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from memory_repositories import Made, labels, made, take
from torch import nn


def nanochat_gpt() -> Made:
    gpt = take("nanochat", "nanochat.gpt")
    model = gpt.GPT(gpt.GPTConfig(256, 4096, 4, 4, 4, 256))
    model.init_weights()
    batch = labels(4096, 2, 4, 256)
    return made(model, batch, lambda m, b: m(b[0], b[1]))


def mamba() -> Made:
    source = take("mamba-minimal", "model")
    model = source.Mamba(source.ModelArgs(d_model=128, n_layer=2, vocab_size=1024))
    batch = labels(1024, 2, 4, 64)
    return made(model, batch, lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten()))


def conformer() -> Made:
    source = take("conformer", "conformer")
    model = source.Conformer(
        num_classes=50, input_dim=80, encoder_dim=96, num_encoder_layers=3, num_attention_heads=4
    )

    def loss(m: Any, batch: Any) -> Any:
        out, lengths = m(batch[0], batch[2])
        return F.ctc_loss(out.transpose(0, 1), batch[1], lengths, torch.full_like(lengths, 12))

    return made(model, (torch.randn(4, 200, 80), labels(49, 4, 12) + 1, torch.full((4,), 200)), loss)


def tcn() -> Made:
    source = take("TCN", "TCN.tcn")
    body = source.TemporalConvNet(10, [32] * 5, kernel_size=7, dropout=0.05)
    model = nn.ModuleDict({"body": body, "head": nn.Linear(32, 10)})

    def loss(m: Any, batch: Any) -> Any:
        return F.cross_entropy(m["head"](m["body"](batch[0])[:, :, -1]), batch[1])

    return made(model, (torch.randn(16, 10, 300), labels(10, 16)), loss, torch.optim.Adam)


def tabnet() -> Made:
    source = take("tabnet", "pytorch_tabnet.tab_network")
    model = source.TabNet(54, 7, group_attention_matrix=torch.eye(54))

    def loss(m: Any, batch: Any) -> Any:
        out, sparse = m(batch[0])
        return F.cross_entropy(out, batch[1]) - 1e-3 * sparse

    return made(model, (torch.randn(1024, 54), labels(7, 1024)), loss, torch.optim.Adam)


def hifi_gan() -> Made:
    source = take("hifi-gan", "models")
    h = SimpleNamespace(
        resblock="1", upsample_rates=[8, 8, 2, 2], upsample_kernel_sizes=[16, 16, 4, 4], upsample_initial_channel=64,
        resblock_kernel_sizes=[3, 7, 11], resblock_dilation_sizes=[[1, 3, 5]] * 3,
    )  # fmt: skip
    model = nn.ModuleDict({
        "g": source.Generator(h), "p": source.MultiPeriodDiscriminator(), "s": source.MultiScaleDiscriminator(),
    })  # fmt: skip
    of_d = torch.optim.AdamW([*model["p"].parameters(), *model["s"].parameters()], 2e-4)
    optimizer = torch.optim.AdamW(model["g"].parameters(), 2e-4)

    def step(m: Any, batch: Any, of_g: Any) -> None:
        mel, y = batch
        fake = m["g"](mel)
        of_d.zero_grad()
        total = 0
        for d in (m["p"], m["s"]):
            real, generated, _, _ = d(y, fake.detach())
            total = total + source.discriminator_loss(real, generated)[0]
        total.backward()
        of_d.step()
        of_g.zero_grad()
        total = F.l1_loss(y, fake) * 45
        for d in (m["p"], m["s"]):
            _, generated, of_real, of_fake = d(y, fake)
            total = total + source.feature_loss(of_real, of_fake) + source.generator_loss(generated)[0]
        total.backward()
        of_g.step()

    batch = (torch.randn(2, 80, 16), torch.randn(2, 1, 4096))
    return {"model": model, "batch": batch, "loss": None, "optimizer": optimizer, "step": step}


def wavenet() -> Made:
    model = take("wavenet_vocoder", "wavenet_vocoder").WaveNet(
        out_channels=256, layers=8, stacks=2, residual_channels=32, gate_channels=64, skip_out_channels=32,
        cin_channels=-1,
    )  # fmt: skip
    batch = (torch.randn(2, 256, 1000), labels(256, 2, 1000))
    return made(model, batch, lambda m, b: F.cross_entropy(m(b[0])[:, :, :-1], b[1][:, 1:]))


def soft_actor_critic() -> Made:
    source = take("pytorch-soft-actor-critic", "model")
    model = nn.ModuleDict({
        "policy": source.GaussianPolicy(17, 6, 256), "q": source.QNetwork(17, 6, 256), "t": source.QNetwork(17, 6, 256),
    })  # fmt: skip
    of_q = torch.optim.Adam(model["q"].parameters(), 3e-4)
    of_policy = torch.optim.Adam(model["policy"].parameters(), 3e-4)

    def step(m: Any, batch: Any, of_policy: Any) -> None:
        state, action, reward, following, mask = batch
        with torch.no_grad():
            then, log_pi, _ = m["policy"].sample(following)
            wanted = reward + mask * 0.99 * (torch.min(*m["t"](following, then)) - 0.2 * log_pi)
        first, second = m["q"](state, action)
        loss = F.mse_loss(first, wanted) + F.mse_loss(second, wanted)
        of_q.zero_grad()
        loss.backward()
        of_q.step()
        pi, log_pi, _ = m["policy"].sample(state)
        of_policy.zero_grad()
        (0.2 * log_pi - torch.min(*m["q"](state, pi))).mean().backward()
        of_policy.step()
        for target, p in zip(m["t"].parameters(), m["q"].parameters(), strict=True):
            target.data.copy_(target.data * 0.995 + p.data * 0.005)

    batch = (
        torch.randn(256, 17),
        torch.randn(256, 6),
        torch.randn(256, 1),
        torch.randn(256, 17),
        torch.ones(256, 1),
    )
    return {"model": model, "batch": batch, "loss": None, "optimizer": of_policy, "step": step}


SERIES = {
    "task_name": "long_term_forecast", "seq_len": 96, "label_len": 48,
    "pred_len": 96, "enc_in": 7, "dec_in": 7, "c_out": 7, "d_model": 64,
    "n_heads": 4, "e_layers": 2, "d_layers": 1,
    "d_ff": 64, "dropout": 0.1, "embed": "timeF", "freq": "h", "activation": "gelu", "factor": 3,
    "top_k": 3, "num_kernels": 3,
    "moving_avg": 25, "distil": True, "patch_len": 16, "expand": 2, "d_conv": 4, "use_norm": 1,
    "channel_independence": 1,
    "down_sampling_layers": 1, "down_sampling_window": 2,
    "down_sampling_method": "avg", "decomp_method": "moving_avg",
    "seg_len": 24, "output_attention": False,
    "features": "M", "num_class": 4, "p_hidden_dims": [32, 32], "p_hidden_layers": 2,
}  # fmt: skip


def _series(name: str) -> Made:
    model = take("Time-Series-Library", f"models.{name}").Model(SimpleNamespace(**SERIES))
    batch = (torch.randn(8, 96, 7), torch.randn(8, 96, 4), torch.randn(8, 144, 7), torch.randn(8, 144, 4))
    return made(model, batch, lambda m, b: F.mse_loss(m(*b)[:, -96:], b[2][:, -96:]), torch.optim.Adam)


def times_net() -> Made:
    return _series("TimesNet")


def autoformer() -> Made:
    return _series("Autoformer")


def fedformer() -> Made:
    return _series("FEDformer")


def informer() -> Made:
    return _series("Informer")


def i_transformer() -> Made:
    return _series("iTransformer")


def crossformer() -> Made:
    return _series("Crossformer")


def time_mixer() -> Made:
    return _series("TimeMixer")


def segment_rnn() -> Made:
    return _series("SegRNN")


def film() -> Made:
    return _series("FiLM")


def reformer() -> Made:
    return _series("Reformer")


def x_transformer() -> Made:
    source = take("x-transformers", "x_transformers")
    model = source.TransformerWrapper(
        num_tokens=1000, max_seq_len=128,
        attn_layers=source.Decoder(dim=128, depth=3, heads=4, rotary_pos_emb=True, ff_glu=True, attn_kv_heads=2),
    )  # fmt: skip
    batch = labels(1000, 2, 8, 128)
    return made(model, batch, lambda m, b: F.cross_entropy(m(b[0]).flatten(0, 1), b[1].flatten()))


def min_gpt() -> Made:
    source = take("minGPT", "mingpt.model")
    config = source.GPT.get_default_config()
    config.merge_from_dict({"model_type": "gpt-mini", "vocab_size": 1000, "block_size": 128})
    batch = labels(1000, 2, 8, 128)
    return made(source.GPT(config), batch, lambda m, b: m(b[0], b[1])[1])


NAMES = [
    "nanochat_gpt",
    "mamba",
    "conformer",
    "tcn",
    "tabnet",
    "hifi_gan",
    "wavenet",
    "soft_actor_critic",
    "times_net",
    "autoformer",
    "fedformer",
    "informer",
    "i_transformer",
    "crossformer",
    "time_mixer",
    "segment_rnn",
    "film",
    "reformer",
    "x_transformer",
    "min_gpt",
]
