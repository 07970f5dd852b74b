"""The engine against a second route: real CPU steps, closed formulas, and the caller's mistakes."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FAMILIES = HERE / "memory_families.py"

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
GOOD = """
def make_step(batch_size=4):
    model = nn.Linear(8, 8)
    return {"model": model, "batch": torch.randn(batch_size, 8), "loss": lambda m, b: m(b).sum(),
            "optimizer": torch.optim.SGD(model.parameters(), 0.1)}
"""
MISTAKES = {  # source of the step -> words of the sentence that must come back
    "missing": ("def other(): pass", ["no function 'make_step'", "other"]),
    "syntax": ("def make_step(:\n", ["no valid Python", "line"]),
    "raising": (
        "def make_step():\n    raise ValueError('no corpus')",
        ["make_step raised", "ValueError: no corpus"],
    ),
    "exits": ("def make_step():\n    raise SystemExit('usage')", ["make_step raised", "SystemExit: usage"]),
    "argument": ("def make_step(path):\n    pass", ["missing", "`arguments`"]),
    "data_file": (
        "def make_step():\n    return open('/no/such/data.bin')",
        ["FileNotFoundError", "random tensors"],
    ),
    "nothing": (GOOD.replace("batch_size=4", "batch_size=0"), ["one sample at least", "batch_size 0"]),
    "no_mapping": ("def make_step():\n    return nn.Linear(1, 1)", ["must return a mapping", "Linear"]),
    "keys": ("def make_step():\n    return {'model': nn.Linear(1, 1)}", ["lacks batch, loss"]),
    "vector_loss": (GOOD.replace(".sum()", ""), ["one element", "[4, 8]"]),
    "detached": (GOOD.replace("m(b).sum()", "m(b).sum().detach()"), ["no trainable parameter"]),
    "cut_off": (
        GOOD.replace("m(b).sum()", "torch.tensor(float(m(b).sum()), requires_grad=True)"),
        ["No parameter got a gradient", "float()"],
    ),
    "waits": (
        GOOD.replace("m(b).sum()", "wait(m(b).sum())")
        + "\ndef wait(loss):\n    while loss.item() > 1e-3:\n        loss = loss / 2\n    return loss\n",
        ["waits for a value at step.py:", "10,000"],
    ),
    "cards": (
        GOOD.replace("nn.Linear(8, 8)", "nn.DataParallel(nn.Linear(8, 8))"),
        ["cards cannot", "bare module"],
    ),
    "lazy": (GOOD.replace("nn.Linear(8, 8)", "nn.LazyLinear(8)"), ["Lazy modules cannot"]),
    "shapes": (GOOD.replace("randn(batch_size, 8)", "randn(batch_size, 7)"), ["`loss` raised", "step.py:"]),
    "sparse": (
        GOOD.replace("m(b).sum()", "torch.sparse.mm(b.to_sparse(), m.weight).sum()"),
        ["Sparse tensors cannot be simulated", "index_add"],
    ),
    "nested": (
        GOOD.replace("m(b)", "m(torch.nested.nested_tensor([b[0], b[1]]).to_padded_tensor(0.0))"),
        ["Nested tensors cannot", "padded"],
    ),
    "reduced": (GOOD.replace("m(b).sum()", "torch.distributed.all_reduce(m(b).sum())"), ["bare module"]),
    "custom_operator": (
        """
@torch.library.custom_op("mine::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2
"""
        + GOOD.replace("m(b).sum()", "(m(b) + twice(b)).sum()"),
        ["`loss` raised", "fake"],
    ),
}
WORKS = {
    "good": GOOD,
    "numpy": GOOD.replace("m(b).sum()", "m(b).sum() * (b.cpu().numpy().sum() + m(b).tolist()[0][0])"),
    "lbfgs": GOOD.replace("SGD(model.parameters(), 0.1)", "LBFGS(model.parameters(), history_size=7)"),
    "streams": GOOD.replace(
        "    model =", "    with torch.cuda.stream(torch.cuda.Stream()):\n        pass\n    model ="
    ),
    "loader": GOOD.replace(
        "torch.randn(batch_size, 8)",
        "next(iter(torch.utils.data.DataLoader(torch.randn(9, 8), batch_size, num_workers=2)))",
    ),
    "talks": "print('hello')\n" + GOOD.replace("    model =", "    print('x' * 100000)\n    model ="),
    "moves": GOOD.replace("nn.Linear(8, 8)", "nn.Linear(8, 8).cuda().to('cuda')").replace(
        "8),", "8).to('cuda:0'),"
    ),
    "asks_values": GOOD.replace("m(b).sum()", "m(b).sum() * (2 if b.sum().item() > 0 else 1)"),
    "masks": GOOD.replace("m(b).sum()", "m(b)[b > 0].sum() + m(b).masked_select(b > 0).sum()"),
    "chooses_device": GOOD.replace(
        "    model =",
        "    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n    model =",
    ).replace("8),", "8, device=device),"),
    "explicit_cpu": GOOD.replace("nn.Linear(8, 8)", "nn.Linear(8, 8, device='cpu')"),
    "rejection_sampling": GOOD.replace(
        "    return", "    nn.init.trunc_normal_(model.weight, std=0.02)\n    return"
    ),
    "finite_check": GOOD.replace(
        "m(b).sum()", "m(b).sum() if not torch.isnan(b).any() and torch.isfinite(b).all() else 1 / 0"
    ),
    "guards": GOOD.replace("m(b).sum()", "m(b).sum() if not (b.sum(1) > 9).any() else 1 / 0"),
    "random_choice": GOOD.replace(
        "m(b).sum()", "m(b).sum() * (3,)[int(torch.empty(1).uniform_(0, 1).item())]"
    ),
    "packed": """
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.LSTM(8, 16, 2, batch_first=True, bidirectional=True), nn.Linear(32, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.body(packed)[0], batch_first=True, total_length=20)[0])

def make_step(batch_size=4):
    model = Tagger()
    return {"model": model, "batch": (torch.randn(batch_size, 16, 8), torch.randint(1, 17, (batch_size,))),
            "loss": lambda m, b: m(*b).sum(), "optimizer": torch.optim.SGD(model.parameters(), 0.1)}
""",
    "speech": GOOD.replace(
        "m(b).sum()",
        "F.ctc_loss(m(b)[:, None].log_softmax(-1), torch.ones(1, 2, "
        "dtype=torch.long), torch.tensor([batch_size]), torch.tensor([2]))",
    ),
    "scaler": GOOD.replace('"optimizer"', '"step": step, "optimizer"')
    + """
def step(model, batch, optimizer):
    scaler = torch.amp.GradScaler(batch.device.type)
    scaler.scale(model(batch).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
""",
    "divides_by_a_value": GOOD.replace("SGD(model.parameters(), 0.1)", "NAdam(model.parameters())"),
    "without_a_fake_kernel": GOOD.replace("0.1)", "0.1, fused=True)").replace(
        "m(b).sum()", "torch.fake_quantize_per_tensor_affine(m(b), 0.1, 0, -8, 7).sum()"
    ),
    "counts": GOOD.replace(
        "m(b).sum()", "sum(p.sum() for p in m(b).split(torch.bincount(b[:, 0].long(), minlength=3).tolist()))"
    ),
    "inference": GOOD.replace("torch.optim.SGD(model.parameters(), 0.1)", "None"),
    "asks_the_card": GOOD.replace(
        "    model =",
        """    with torch.cuda.device(0), torch.cuda.Stream(), torch.cuda.nvtx.range("step"):
        torch.cuda.memory_stats()["allocated_bytes.all.peak"], torch.cuda.memory_summary()
        torch.cuda.set_rng_state(torch.cuda.get_rng_state())
        torch.set_default_tensor_type(torch.cuda.FloatTensor)
        x = torch.randn(3, generator=torch.Generator(device="cuda"), device="cuda")
        assert x.is_cuda and x.get_device() == 0 and x.type(torch.cuda.HalfTensor).dtype == torch.float16
    model =""",
    ),
    "made_without_data": GOOD.replace(
        "nn.Linear(8, 8)", "nn.Linear(8, 8, device='meta').to_empty(device='cuda')"
    ),
    "flex": GOOD.replace("m(b).sum()", "flex(*[m(b).view(1, 2, batch_size, 4)] * 3).sum()")
    + "from torch.nn.attention.flex_attention import flex_attention as flex\n",
    "triton": GOOD.replace("m(b).sum()", "(m(b) + twice(b)).sum()")
    + """
import sys, types

class KernelInterface:
    def __getitem__(self, grid):
        raise RuntimeError("0 active drivers")

sys.modules["triton.runtime.jit"] = types.SimpleNamespace(KernelInterface=KernelInterface)

def twice(x):
    y = torch.empty_like(x)
    KernelInterface()[(1,)](x, y)
    return y
""",
    "replaces_its_batch": GOOD.replace("torch.randn(batch_size, 8)", "[torch.randn(2**20)]").replace(
        '"optimizer"', '"step": lambda m, b, o: b.insert(0, b.pop() + 1), "optimizer"'
    ),
}


def last_line(*command: str) -> Any:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def replies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[dict[str, Any]]], list[Any]]:
    def ask(requests: list[dict[str, Any]]) -> list[Any]:
        path = tmp_path_factory.mktemp("requests") / "requests.json"
        path.write_text(json.dumps(requests), encoding="utf-8")
        found: list[Any] = last_line(str(HERE / "memory_requests.py"), str(path))
        return found

    return ask


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    def write(name: str, source: str) -> str:
        path = tmp_path_factory.mktemp(name) / "step.py"
        path.write_text(HEAD + source, encoding="utf-8")
        return f"{path}:make_step"

    return write


def test_lifetimes_are_within_one_percent_of_real_cpu_steps() -> None:
    truth = last_line(str(HERE / "memory_runs.py"), "truth")
    predicted = last_line(str(HERE / "memory_runs.py"), "predict")
    off = {
        name: predicted[name] / truth[name] - 1
        for name in truth
        if abs(predicted[name] / truth[name] - 1) > 0.01
    }
    assert len(truth) >= 15
    assert not off


def test_every_mistake_of_the_caller_gets_one_sentence_and_every_odd_but_valid_step_works(
    replies: Callable[[list[dict[str, Any]]], list[Any]], steps: Callable[[str, str], str]
) -> None:
    mistakes = {name: {"step": steps(name, source)} for name, (source, _) in MISTAKES.items()}
    works = {name: {"step": steps(name, source)} for name, source in WORKS.items()}
    found = dict(zip([*mistakes, *works], replies([*mistakes.values(), *works.values()]), strict=True))
    for name, (_, words) in MISTAKES.items():
        refusal = found[name].get("refused", {"problem": f"{name} was not refused"})
        sentence = f"{refusal['problem']} {refusal.get('saw')} {refusal.get('try_next')}"
        assert all(word in sentence for word in words), sentence
        assert "\n" not in sentence
    assert any("autotuning" in caveat["note"] for caveat in found["triton"]["caveats"])
    assert any("full, padded length" in caveat["note"] for caveat in found["packed"]["caveats"])
    for name in WORKS:
        assert "peak_allocated_bytes" in found[name], (name, found[name])
    assert "step.py:" in found["asks_values"]["caveats"][0]["operation"]
    assert any("CPU's kernel" in caveat["note"] for caveat in found["without_a_fake_kernel"]["caveats"])
    same = [
        found[name]["peak_allocated_bytes"]
        for name in ("good", "talks", "moves", "chooses_device", "explicit_cpu")
    ]
    assert len(set(same)) == 1
    assert (
        found["lbfgs"]["breakdown"]["optimizer_bytes"] >= 2 * 7 * 72 * 4
    )  # pairs of vectors, of 72 floats each
    assert found["lbfgs"]["caveats"][0]["direction"] == "too_high"
    assert found["inference"]["breakdown"]["gradients_bytes"] == 0
    assert found["replaces_its_batch"]["peak_allocated_bytes"] < 2.5 * 2**22  # what was let go of is not held


def test_the_parts_of_the_peak_follow_the_closed_formulas(
    replies: Callable[[list[dict[str, Any]]], list[Any]],
) -> None:
    step = f"{FAMILIES}:decoder"
    small, large, half = replies(
        [
            {"step": step, "arguments": {"batch_size": 8}},
            {"step": step, "arguments": {"batch_size": 16}},
            {
                "step": step,
                "arguments": {"batch_size": 8},
                "remedies": ["gradient_accumulation", "mixed_precision"],
            },
        ]
    )
    weights = 4 * small["parameters"]
    assert small["breakdown"]["weights_bytes"] == pytest.approx(weights, rel=0.01)
    assert small["breakdown"]["optimizer_bytes"] == pytest.approx(2 * weights, rel=0.01)
    assert large["breakdown"]["activations_bytes"] == pytest.approx(
        2 * small["breakdown"]["activations_bytes"], rel=0.01
    )
    for kind in ("weights_bytes", "optimizer_bytes"):
        assert large["breakdown"][kind] == small["breakdown"][kind]
    rows = {tuple(row["ids"]): row for row in half["remedies"]["rows"]}
    accumulated, mixed = rows[("gradient_accumulation",)], rows[("mixed_precision",)]
    assert accumulated["peak_allocated_bytes"] < small["peak_allocated_bytes"]
    assert mixed["peak_allocated_bytes"] < small["peak_allocated_bytes"]
    assert mixed["changes_results"] and not accumulated["changes_results"]
    assert accumulated["step_cost_ratio"] > 1  # twice the launches for the same products


def test_what_the_step_never_reads_counts_where_it_was_put_on_the_card_and_is_named_where_not(
    replies: Callable[[list[dict[str, Any]]], list[Any]], steps: Callable[[str, str], str]
) -> None:
    extra = 4 << 20  # bytes

    def kept(text: str) -> dict[str, Any]:
        source = GOOD.replace("    model =", f"    {text}\n    model =").replace(
            "m(b).sum()", "m(b).sum() + len(rest) * 0"
        )
        return {"step": steps("kept", source)}

    lines = {
        "nothing": "rest = []",
        "moved": "rest = torch.zeros(1 << 20).cuda().clone()",
        "default": "rest = torch.zeros(1 << 20)",
        "host": "rest = torch.zeros(1 << 20, device='cpu')",
        "dropped": "rest = torch.zeros(1 << 20, device='cuda').numel() * [0]",
    }
    found = dict(zip(lines, replies([kept(line) for line in lines.values()]), strict=True))
    more = {
        name: reply["peak_allocated_bytes"] - found["nothing"]["peak_allocated_bytes"]
        for name, reply in found.items()
    }
    assert more == {"nothing": 0, "moved": extra, "default": 0, "host": 0, "dropped": 0}
    said = {
        name
        for name, reply in found.items()
        if any("never reads" in c["operation"] for c in reply["caveats"])
    }
    assert said == {"default"}


def test_what_a_kernel_or_a_derivative_makes_for_itself_counts(
    replies: Callable[[list[dict[str, Any]]], list[Any]], steps: Callable[[str, str], str]
) -> None:
    rows, weights = 1 << 17, 1024 * 1024 * 4
    mask = GOOD.replace("m(b).sum()", "m(b).sum() * (b > 0).sum()").replace(
        "batch_size=4", f"batch_size={rows}"
    )
    moments = GOOD.replace("m(b).sum()", "sum(t.sum() for t in torch.var_mean(m.weight, 1))").replace(
        "8, 8", "1024, 1024"
    )
    card = {"caching": False, "name": "cpu"}
    asked = [
        {"step": steps(*pair), "kind": "cpu", "card": card} for pair in (("mask", mask), ("moments", moments))
    ]
    counted, added = (reply["peak_allocated_bytes"] for reply in replies(asked))
    assert counted == pytest.approx(rows * 8 * (4 + 1 + 8), rel=0.01)  # batch, mask, the mask as integers
    assert added == pytest.approx(4 * weights, rel=0.01)  # both gradients and their sum beside the weights


def test_the_largest_batch_fits_and_the_next_does_not(
    replies: Callable[[list[dict[str, Any]]], list[Any]],
) -> None:
    limits = {
        "capacity_bytes": 400 << 20,
        "sure_capacity_bytes": 380 << 20,
        "margin_ratio": 0.06,
        "margin_bytes": 20 << 20,
    }
    request = {"step": f"{FAMILIES}:mlp", "limits": limits, "arguments": {"batch_size": 64}}
    (found,) = replies([request])
    edge = found["largest_batch"]
    assert edge["fits"] <= edge["not_no"]
    at, above = replies(
        [
            {**request, "arguments": {"batch_size": edge["fits"]}},
            {**request, "arguments": {"batch_size": int(edge["fits"] * 1.15) + 1}},
        ]
    )
    assert (at["fits"], above["fits"] == "fits") == ("fits", False)


def test_a_no_that_rests_on_masks_taken_as_full_is_only_tight(
    replies: Callable[[list[dict[str, Any]]], list[Any]], steps: Callable[[str, str], str]
) -> None:
    def limits(size: int) -> dict[str, Any]:
        return {"capacity_bytes": size, "sure_capacity_bytes": size, "margin_ratio": 0.06, "margin_bytes": 0}

    experts = GOOD.replace("m(b).sum()", "sum(m(b[b[:, 0] > i]).sum() for i in range(8))").replace(
        "= 4", "=4"
    )
    step = {"step": steps("experts", experts), "arguments": {"batch_size": 1 << 18}, "batch_argument": None}
    bounded, hopeless = replies([{**step, "limits": limits(96 << 20)}, {**step, "limits": limits(4 << 20)}])
    assert (bounded["fits"], hopeless["fits"]) == ("tight", "no")


def test_a_search_without_time_left_still_answers(
    replies: Callable[[list[dict[str, Any]]], list[Any]],
) -> None:
    limits = {
        "capacity_bytes": 90 << 20,
        "sure_capacity_bytes": 90 << 20,
        "margin_ratio": 0.06,
        "margin_bytes": 0,
    }
    (found,) = replies(
        [{"step": f"{FAMILIES}:mlp", "limits": limits, "remedies": "search", "search_seconds": -1.0}]
    )
    assert found["fits"] and found["largest_batch"] is None and not found["remedies"]["rows"]
    assert all("max_seconds" in why for why in found["remedies"]["skipped"].values())
    assert any("max_seconds" in note for note in found["notes"])


def test_offloading_moves_what_it_names_and_zeroed_gradients_can_be_freed(
    replies: Callable[[list[dict[str, Any]]], list[Any]], steps: Callable[[str, str], str]
) -> None:
    zeroing = GOOD.replace('"optimizer": torch', '"step": step, "optimizer": torch').replace(
        "8, 8)", "256, 256)"
    )
    zeroing = (
        zeroing.replace("randn(batch_size, 8)", "randn(batch_size, 256)")
        + """
def step(model, batch, optimizer):
    optimizer.zero_grad(set_to_none=False)
    model(batch).relu().square().sum().backward()
    optimizer.step()
"""
    )
    decoder, own = replies(
        [
            {"step": f"{FAMILIES}:decoder", "remedies": ["cpu_offload", "zero_grad_none"]},
            {
                "step": steps("zeroing", zeroing),
                "arguments": {"batch_size": 512},
                "remedies": ["zero_grad_none"],
            },
        ]
    )
    state, activations = decoder["remedies"]["rows"]
    saved = decoder["peak_allocated_bytes"] - state["peak_allocated_bytes"]
    assert saved == pytest.approx(decoder["breakdown"]["optimizer_bytes"], rel=0.01)
    assert activations["peak_allocated_bytes"] < state["peak_allocated_bytes"]
    assert activations["step_cost_ratio"] > state["step_cost_ratio"] > 1
    assert "already" in decoder["remedies"]["skipped"]["zero_grad_none"]
    (freed,) = own["remedies"]["rows"]
    assert freed["peak_allocated_bytes"] < own["peak_allocated_bytes"]
