"""Parameters that are handed to code which is not at hand: it may clip their gradients, which no scale may be in."""

import pytest
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

TRAIN = """import itertools
import torch
from gone.helpers import clip, show


class Trainer:
    def __init__(self, net, other):
        self.net, self.other = torch.nn.Linear(3, 3).cuda(), torch.nn.Linear(3, 3).cuda()
        {init}
        self.optimizer = torch.optim.SGD({optimized}, lr=0.1)

    def listed(self):
        return [p for p in self.net.parameters() if p.requires_grad]

    def step(self, x, given):
        self.optimizer.zero_grad()
        loss = (self.other(self.net(x)) - x).pow(2).mean()
        weights = sum(p.norm() for p in self.net.parameters())
        {before}
        loss.backward()
        {call}
        self.optimizer.step()


def run(trainer: Trainer, x):
    trainer = Trainer()
    trainer.step(x, trainer.net.parameters())
"""
CASES = [
    ("self.all = list(self.net.parameters())", "pass", "clip(self.all, 1.0)", False),
    ("self.all = []; self.all += self.net.parameters()", "pass", "clip(self.all, 1.0)", False),
    ("self.all = []; self.all.extend(self.net.parameters())", "pass", "clip(self.all, 1.0)", False),
    ("self.all = [{'params': self.net.parameters()}]", "pass", "clip(self.all[0]['params'])", False),
    ("pass", "params = [p for p in self.net.parameters() if p.requires_grad]", "clip(params)", False),
    (
        "pass",
        "params = itertools.chain(self.net.parameters(), self.other.parameters())",
        "clip(limit=1, params=params)",
        False,
    ),
    (
        "pass",
        "params = []\n        for n, p in self.net.named_parameters():\n            params.append(p)",
        "clip(params)",
        False,
    ),
    ("pass", "pass", "clip(self.listed())", False),
    ("pass", "pass", "clip(given)", False),
    ("pass", "pass", "clip(self.optimizer.param_groups[0]['params'])", False),
    ("pass", "pass", "torch.nn.utils.clip_grad_norm_(self.listed(), 1.0)", True),
    ("self.all = [1.0, 2.0]", "pass", "show(self.all)", True),
    ("pass", "pass", "show(weights)", True),  # computed from them: its gradients are its own
    ("pass", "pass", "for p in self.net.parameters():\n            show(p.shape)", True),
]


@pytest.mark.parametrize(("init", "before", "call", "scaled"), CASES)
def test_a_list_of_parameters_is_handed_as_its_model_is(init, before, call, scaled):
    text = TRAIN.format(init=init, before=before, call=call, optimized="self.net.parameters()")
    result = patch(text, ["mixed_precision"], Wishes("auto"))
    assert ("amp_scaler.scale(loss)" in result.text) is scaled
    assert any("(reads_grad)" in w for w in result.warnings) is not scaled


@pytest.mark.parametrize(("optimized", "scaled"), [("net", False), ("other", True)])
def test_what_the_optimizer_was_made_of_is_parameters(optimized, scaled):
    text = TRAIN.format(init="self.all = net", before="pass", call="clip(self.all)", optimized="self.all")
    text = text.replace("Trainer()", "Trainer(net, other)")
    if scaled:
        text = text.replace("SGD(self.all", "SGD(other")
    result = patch(text, ["mixed_precision"], Wishes("auto"))
    assert ("amp_scaler.scale(loss)" in result.text) is scaled
