"""Structured pruning with a fine-tune, beside the same small network trained from scratch.

Whole channels are removed, so the graph stays dense and every runtime gains; zeros inside dense weights would change
neither size nor speed. Channel counts are kept at multiples that fill vector registers.
"""

import copy

import torch

from . import program, train
from .refusal import Refused, first_line

NARROW, WIDE = 8, 16  # channels are rounded to these multiples: below and from 64 channels
PRUNABLE = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def prune(request, progress):
    """One fine-tuned network per sparsity, its control from scratch, both as ONNX."""
    program.import_torch()
    torch.set_num_threads(request["threads"])
    dense = program.load_model(request)
    names = request["names"]
    data, loss = train.Rows(request, names), train.find_loss(request)
    jobs = [(s, seed) for s in request["sparsity"] for seed in range(request["seeds"])]
    seconds = request["train_seconds"] / max(1, 2 * len(jobs))
    reply = {"candidates": {}, "control": {}, "dense_parameters": train.parameter_count(dense)}
    kind = "cross_entropy" if request["loss"] == "cross_entropy" else "other"
    taught = train.predict(dense, data.x)
    for number, (sparsity, seed) in enumerate(jobs):
        name = f"pruned_{round(100 * sparsity)}_percent" + (f"_seed{seed}" if request["seeds"] > 1 else "")
        progress(number + 1, None, name)
        small = shrink(dense, [x[:2] for x in data.x], sparsity)
        fresh = train.reset(copy.deepcopy(small), seed)
        data.soft = (
            taught  # what is cut away is recovered faster from the dense network's outputs than from labels
        )
        about = train.fit(
            small,
            data,
            loss,
            seed=seed,
            seconds=seconds,
            start="tuned",
            soft_share=train.SOFT_SHARE[kind],
            kind=kind,
        )
        reply["candidates"][name] = _row(small, data, names, request["folder"], name, about)
        data.soft = None
        about = train.fit(fresh, data, loss, seed=seed, seconds=seconds, start="fresh", steps=about["steps"])
        reply["control"][name + "_from_scratch"] = _row(
            fresh, data, names, request["folder"], name + "_from_scratch", about
        )
    return reply


def _row(model, data, names, folder, name, about):
    artifact = train.export(model, data, names, folder, name)
    return {"artifact": artifact, "parameters": train.parameter_count(model), **about}


def shrink(model, example, sparsity):
    """A copy of the model with that share of its channels removed, the weakest groups first."""
    try:
        import torch_pruning as tp
    except ImportError as error:
        raise Refused(
            "Pruning needs torch-pruning", "not installed", "pip install torch-pruning in that interpreter"
        ) from error
    small = copy.deepcopy(
        without_parametrizations(model)
    )  # a copy shares its class with what it computes weights by
    for parameter in small.parameters():
        parameter.requires_grad_(True)
    keep = output_layers(small, example)
    multiple = _multiple(small, keep)
    try:
        pruner = tp.pruner.MagnitudePruner(
            small, tuple(example), importance=tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=sparsity,
            ignored_layers=keep, round_to=multiple,
        )  # fmt: skip
        pruner.step()
        with torch.no_grad():
            shapes = [[t.shape for t in _tensors(net.eval()(*example))] for net in (model, small)]
    except Exception as error:  # torch-pruning raises from tracing, indexing and assertions
        raise Refused(
            "This architecture cannot be pruned by channels",
            _recurrent(model) or first_line(error),
            "distill_model, or quantize_model",
        ) from error
    if shapes[0] != shapes[1]:
        raise Refused(
            "Pruning would change the model's outputs", f"shapes {shapes[1]} for {shapes[0]}", "distill_model"
        )
    before = train.parameter_count(model)
    if train.parameter_count(small) >= before:
        raise Refused("No channel could be removed", f"{before} parameters before and after", "distill_model")
    return small


def _recurrent(model):
    """The recurrent layers by name: gates that share a state are not cut."""
    kinds = (torch.nn.RNNBase, torch.nn.RNNCellBase)
    return ", ".join(sorted({type(m).__name__ for m in model.modules() if isinstance(m, kinds)}))


def _multiple(model, keep):
    """What channel counts are rounded to, by the narrowest inner layer."""
    inner = [m for m in model.modules() if isinstance(m, PRUNABLE) and not any(m is k for k in keep)]
    if not inner:
        raise Refused(
            "The model has no channels to remove",
            ", ".join(filter(None, [_recurrent(model), "no inner Linear or Conv layer"])),
            "distill_model, or quantize_model",
        )
    narrowest = min(getattr(m, "out_features", getattr(m, "out_channels", 0)) for m in inner)
    return WIDE if narrowest >= 64 else NARROW if narrowest >= 16 else None


def output_layers(model, example):
    """The layers whose results reach an output through no other such layer: their channels are the answer.

    Found by walking back from every output along the gradient's path, so a scale or a reshape in between hides none.
    """
    owners = {m.weight: m for m in model.modules() if isinstance(m, PRUNABLE)}
    with torch.enable_grad():
        left = [tensor.grad_fn for tensor in _tensors(model.eval()(*example)) if tensor.grad_fn is not None]
    found, seen = [], set()
    while left:
        step = left.pop()
        if step in seen:
            continue
        seen.add(step)
        before = [node for node, _ in step.next_functions if node is not None]
        owner = next((owners[w] for w in map(_weight, before) if w is not None and w in owners), None)
        if owner is None:
            left += before
        elif not any(owner is layer for layer in found):
            found.append(owner)
    return found


def _tensors(found):
    if isinstance(found, torch.Tensor):
        return [found]
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, (tuple, list)) else []
    return [tensor for part in parts for tensor in _tensors(part)]


def _weight(node):
    """The parameter that a step of the gradient's path accumulates into, directly or transposed."""
    if node.name() in ("TBackward0", "TransposeBackward0") and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return getattr(node, "variable", None)


def without_parametrizations(model):
    """The model with weights in place of what computes them (weight norm, spectral norm): channels of those are cut."""
    from torch.nn.utils import parametrize

    for module in model.modules():
        for name in list(getattr(module, "parametrizations", ())):
            parametrize.remove_parametrizations(module, name)
    return model
