"""The judge of patches finds planted faults, and none in correct patches. It knows nothing of the rewriter."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


sys.path.insert(0, str(ROOT / "benchmarks"))
faults = importlib.import_module("patch_checker").faults

HEAD = """import torch
from torch import nn

amp_dtype = torch.bfloat16
if not torch.cuda.is_bf16_supported(including_emulation=False):
    amp_dtype = torch.float16
amp_scaler = torch.amp.GradScaler("cuda", enabled=amp_dtype == torch.float16)
"""
SIMPLE = (
    HEAD
    + """
model = nn.Linear(4, 2).cuda()  # small
optimizer = torch.optim.Adam(model.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
criterion = nn.CrossEntropyLoss()
for epoch in range(3):
    for x, y in data:
        optimizer.zero_grad()
        with torch.autocast(device_type="cuda", dtype=amp_dtype):
            output = model(x)
            loss = criterion(output, y)
        amp_scaler.scale(loss).backward()
        amp_scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        amp_scaler.step(optimizer)
        amp_scaler.update()
        scores = output.float().detach().cpu().numpy()
    scheduler.step()
"""
)
FUNCTION = (
    HEAD
    + """

def train(model, loader, optimizer, criterion, device):
    model.train()
    for i, (x, y) in enumerate(loader):
        with torch.autocast(device_type=device.type, dtype=amp_dtype):
            loss = criterion(model(x.to(device)), y.to(device)) / 4
        amp_scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:  # every fourth
            amp_scaler.unscale_(optimizer)
            for p in model.parameters():
                p.grad.clamp_(-1, 1)
            amp_scaler.step(optimizer)
            amp_scaler.update()
            optimizer.zero_grad()


model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.MSELoss()
for epoch in range(3):
    train(model, loader, optimizer, criterion, torch.device("cuda"))
"""
)
GAN = (
    HEAD
    + """
netG, netD = nn.Linear(8, 16).cuda(), nn.Linear(16, 1).cuda()
optG = torch.optim.Adam(netG.parameters())
optD = torch.optim.Adam(netD.parameters())
bce = nn.BCELoss()
for real in data:
    optD.zero_grad()
    with torch.autocast(device_type="cuda", dtype=amp_dtype):
        fake = netG(noise())
        guess = netD(fake.detach())
        with torch.autocast(device_type="cuda", enabled=False):
            loss_d = bce(guess.float(), zeros)
    amp_scaler.scale(loss_d).backward()
    amp_scaler.step(optD)
    optG.zero_grad()
    with torch.autocast(device_type="cuda", dtype=amp_dtype):
        guess = netD(fake)
        with torch.autocast(device_type="cuda", enabled=False):
            loss_g = bce(guess.float(), ones)
    amp_scaler.scale(loss_g).backward()  # the generator's
    amp_scaler.unscale_(optG)
    nn.utils.clip_grad_norm_(netG.parameters(), 1.0)
    amp_scaler.step(optG)
    amp_scaler.update()
"""
)
PROBABILITIES = (
    HEAD
    + """

class Float32Sigmoid(torch.nn.Sigmoid):
    # In half precision a sigmoid is 1 from a logit of 7 on.
    def forward(self, input):
        return torch.sigmoid(input.float())


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.sigmoid = nn.Linear(16, 1), nn.Sigmoid()

    def forward(self, x):
        x = self.sigmoid(self.fc(x).float())
        return x.view(-1)


netD, head = nn.Sequential(nn.Linear(16, 1), Float32Sigmoid()).cuda(), Judge().cuda()
optD = torch.optim.Adam([*netD.parameters(), *head.parameters()])
bce = nn.BCELoss()
for real in data:
    optD.zero_grad()
    with torch.autocast(device_type="cuda", dtype=amp_dtype):
        guess = netD(real).squeeze()
        second = head(real)
        third = torch.sigmoid(head.fc(real).float()).view(-1)
        with torch.autocast(device_type="cuda", enabled=False):
            loss_d = bce(guess.float(), zeros) + bce(second.float(), zeros)
        with torch.autocast(device_type="cuda", enabled=False):
            loss_e = nn.functional.binary_cross_entropy(third.float(), zeros)
        loss = loss_d + loss_e
    amp_scaler.scale(loss).backward()
    amp_scaler.step(optD)
    amp_scaler.update()
"""
)
METHODS = (
    HEAD
    + """

class Trainer:
    def __init__(self):
        self.net = nn.Linear(3, 1).cuda()
        self.optimizer = torch.optim.AdamW(self.net.parameters())
        self.criterion = nn.L1Loss()

    def compute(self, batch):
        self.output = self.net(batch)

    def backward(self, target):
        with torch.autocast(device_type="cuda", dtype=amp_dtype):
            loss = self.criterion(self.output, target)
        amp_scaler.scale(loss).backward()

    def fit(self, batches):
        for batch, target in batches:
            with torch.autocast(device_type="cuda", dtype=amp_dtype):
                self.compute(batch)
            self.backward(target)
            amp_scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_value_(self.net.parameters(), 1.0)
            amp_scaler.step(self.optimizer)
            amp_scaler.update()
            self.optimizer.zero_grad()
"""
)
ISLAND = (
    HEAD.replace("import torch\n", "import layers\nimport torch\n", 1)
    + """amp_enabled = True


def amp_float32(function):
    def cast(value):
        if type(value) in (list, tuple):
            return type(value)(cast(item) for item in value)
        half = torch.is_tensor(value) and value.dtype in (torch.bfloat16, torch.float16)
        return value.float() if half else value

    def run(*args, **kwargs):
        if not amp_enabled:
            return function(*args, **kwargs)
        with torch.autocast(device_type="cuda", enabled=False):
            return function(*cast(args), **cast(kwargs))

    return run


import layers as amp_layers
amp_layers.Knn.forward = amp_float32(amp_layers.Knn.forward)


@amp_float32
def distance(p, y):
    return nn.functional.binary_cross_entropy(p, y)


model = nn.Linear(4, 2).cuda()
optimizer = torch.optim.Adam(model.parameters())
for x, y, mask in data:
    optimizer.zero_grad()
    with torch.autocast(device_type="cuda", dtype=amp_dtype):
        seen = torch.zeros(4)
        seen[mask] = (model(x)).to(seen.dtype)
        loss = distance(seen, y) + amp_float32(layers.spectrum)(seen)
    amp_scaler.scale(loss).backward()
    amp_scaler.step(optimizer)
    amp_scaler.update()
"""
)
PARALLEL = """import torch
from torch import nn

amp_dtype = torch.bfloat16


def amp_in_replicas(module, inputs):
    if torch.is_autocast_enabled("cuda"):
        torch.set_autocast_dtype("cuda", amp_dtype)


torch.nn.modules.module.register_module_forward_pre_hook(amp_in_replicas)
model = nn.DataParallel(nn.Linear(4, 2)).cuda()
optimizer = torch.optim.Adam(model.parameters())
criterion = nn.CrossEntropyLoss()
for x, y in data:
    optimizer.zero_grad()
    with torch.autocast(device_type="cuda", dtype=amp_dtype):
        loss = criterion(model(x), y)
    loss.backward()
    with torch.autocast(device_type="cuda", dtype=amp_dtype):
        loss = criterion(model(-x), y)
    loss.backward()
    optimizer.step()
"""
SAMPLES = {
    "simple": SIMPLE,
    "function": FUNCTION,
    "gan": GAN,
    "probabilities": PROBABILITIES,
    "methods": METHODS,
    "island": ISLAND,
    "parallel": PARALLEL,
}


def lines_with(text: str, part: str) -> list[int]:
    return [i for i, line in enumerate(text.split("\n")) if part in line]


def change(text: str, number: int, new: list[str]) -> str:
    lines = text.split("\n")
    lines[number : number + 1] = new
    return "\n".join(lines)


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def without(part: str):
    """Take away each line with `part`."""

    def plant(text: str):
        for number in lines_with(text, part):
            yield change(text, number, [])

    return plant


def doubled(part: str):
    def plant(text: str):
        for number in lines_with(text, part):
            line = text.split("\n")[number]
            yield change(text, number, [line, line])

    return plant


def replaced(pattern: str, new: str):
    """Replace each match on its own."""

    def plant(text: str):
        for match in re.finditer(pattern, text):
            yield text[: match.start()] + match.expand(new) + text[match.end() :]

    return plant


def behind(part: str, anchor: str):
    """Move each line with `part` behind the next line with `anchor`; or before the last one."""

    def plant(text: str):
        for number in lines_with(text, part):
            lines = text.split("\n")
            line = lines.pop(number)
            after = [i for i, other in enumerate(lines) if i >= number and anchor in other]
            if after:
                lines.insert(after[0] + 1, indent_of(lines[after[0]]) + line.strip())
                yield "\n".join(lines)

    return plant


def in_front_of(part: str, anchor: str):
    def plant(text: str):
        for number in lines_with(text, part):
            lines = text.split("\n")
            line = lines.pop(number)
            before = [i for i, other in enumerate(lines) if i < number and anchor in other]
            if before:
                lines.insert(before[-1], indent_of(lines[before[-1]]) + line.strip())
                yield "\n".join(lines)

    return plant


def no_region(text: str):
    """Take one autocast block away, its lines dedented."""
    for number in lines_with(text, "dtype=amp_dtype):"):
        lines = text.split("\n")
        base = len(indent_of(lines[number]))
        end = number + 1
        while end < len(lines) and (not lines[end].strip() or len(indent_of(lines[end])) > base):
            lines[end] = lines[end][4:]
            end += 1
        del lines[number]
        yield "\n".join(lines)


def swallow(part: str):
    """Pull the line with `part` that follows an autocast block into it."""

    def plant(text: str):
        for number in lines_with(text, part):
            line = text.split("\n")[number]
            above = text.split("\n")[number - 1]
            if len(indent_of(above)) > len(indent_of(line)):
                yield change(text, number, [indent_of(above) + line.strip()])

    return plant


FAULTS = {
    "no update": without("amp_scaler.update()"),
    "two updates": doubled("amp_scaler.update()"),
    "update before step": in_front_of("amp_scaler.update()", "amp_scaler.step"),
    "update before unscale": in_front_of("amp_scaler.update()", "amp_scaler.unscale_"),
    "no unscale": without("amp_scaler.unscale_"),
    "two unscales": doubled("amp_scaler.unscale_"),
    "unscale after clipping": behind("amp_scaler.unscale_", "clip_grad"),
    "unscale after step": behind("amp_scaler.unscale_", "amp_scaler.step"),
    "unscaled backward": replaced(r"amp_scaler\.scale\(([\w.]+)\)\.backward", r"\1.backward"),
    "scaled twice": replaced(
        r"amp_scaler\.scale\(([\w.]+)\)\.backward", r"amp_scaler.scale(amp_scaler.scale(\1)).backward"
    ),
    "raw step": replaced(r"amp_scaler\.step\(([\w.]+)\)", r"\1.step()"),
    "two steps": doubled("amp_scaler.step("),
    "closure by position": replaced(r"amp_scaler\.step\(([\w.]+)\)", r"amp_scaler.step(\1, closure)"),
    "closure by name": replaced(r"amp_scaler\.step\(([\w.]+)\)", r"amp_scaler.step(\1, closure=closure)"),
    "no autocast": no_region,
    "backward in autocast": swallow("amp_scaler.scale("),
    "no device type": replaced(r"autocast\(device_type=[\w.\"]+, dtype", "autocast(dtype"),
    "deprecated autocast": replaced(
        r"torch\.autocast\(device_type=[\w.\"]+, dtype", "torch.cuda.amp.autocast(dtype"
    ),
    "deprecated scaler": replaced(r"torch\.amp\.GradScaler\(\"cuda\", ", "torch.cuda.amp.GradScaler("),
    "no scaler made": without("amp_scaler = "),
    "no dtype made": replaced(r"(?m)^amp_dtype = torch\.bfloat16\nif.*\n.*\n", ""),
    "nested autocast": replaced(
        r"(?m)^( +)(loss\w* = criterion.*|loss = self\.criterion.*|guess = netD.*)$",
        r'\1with torch.autocast(device_type="cuda", dtype=torch.bfloat16):\n\1    \2',
    ),
    "island gone": replaced(r"(?m)^ +with torch\.autocast\(device_type=\"cuda\", enabled=False\):\n    ", ""),
    "island without float": replaced(r"bce\(guess\.float\(\)", "bce(guess"),
    "island under autocast": replaced(
        r"enabled=False\):\n +return function", "enabled=True):\n            return function"
    ),
    "island not cast": replaced(r"value\.float\(\) if half else value", "value"),
    "island's decorator gone": replaced(r"(?m)^@amp_float32\n", ""),
    "another method set": replaced(r"amp_float32\(amp_layers\.Knn", "amp_float32(amp_layers.Other"),
    "half sigmoid": replaced(r"(self\.fc\(x\)|head\.fc\(real\))\.float\(\)", r"\1"),
    "half layer": replaced(r"Float32Sigmoid\(\)", "nn.Sigmoid()"),
    "another layer": replaced(r"input\.float\(\)", r"2 * input.float()"),
    "numpy of bf16": replaced(r"output\.float\(\)\.detach", "output.detach"),
    "scheduler in the scaler": replaced(r"amp_scaler\.step\(optimizer\)", "amp_scaler.step(scheduler)"),
    "LBFGS with a scaler": replaced(r"torch\.optim\.(Adam|SGD|AdamW)\(", "torch.optim.LBFGS("),
    "wrong optimizer unscaled": replaced(r"unscale_\(optG\)", "unscale_(optD)"),
    "replicas without the hook": replaced(r"(?m)^torch\..*register_module_forward_pre_hook\(.*\)$", "pass"),
    "hook that sets nothing": replaced(r"torch\.set_autocast_dtype\(.*\)", "pass"),
    "hook of one module": replaced(
        r"torch\.nn\.modules\.module\.register_module", "nn.Linear(2, 2).register"
    ),
    "hook set in a function": replaced(r"(?m)^(torch\..*register_module_forward.*)$", r"def late():\n    \1"),
    "comment lost": replaced(r"  # (small|every fourth|the generator's)", ""),
    "line endings changed": replaced(r"(?s)\A.*\Z", "CRLF"),
    "a line of the script lost": replaced(
        r"(?m)^ +(optimizer|optG|optD|self\.optimizer)\.zero_grad\(\)\n", ""
    ),
    "another number": replaced(r"(Linear\(\d+, )(\d+)\)", r"\g<1>99)"),
    "model under full precision": replaced(
        r"(?m)^( +)(with torch\.autocast\(.*dtype=amp_dtype\):)\n +(output = model\(x\))$",
        r"\1\3\n\1\2\n\1    pass",
    ),
    "loop's scaler": replaced(
        r"(?m)^( +)(amp_scaler\.scale\(.*)$", r'\1amp_scaler = torch.amp.GradScaler("cuda")\n\1\2'
    ),
    "syntax": replaced(r"amp_scaler\.update\(\)", "amp_scaler.update("),
}


def planted():
    for name, plant in FAULTS.items():
        for sample, text in SAMPLES.items():
            for number, bad in enumerate(plant(text)):
                if bad == "CRLF":
                    bad = text.replace("\n", "\r\n")
                if bad != text:
                    yield pytest.param(sample, bad, id=f"{name}-{sample}-{number}")


CASES = list(planted())


@pytest.mark.parametrize("sample", SAMPLES)
def test_correct_patches_are_found_correct(sample):
    assert faults(SAMPLES[sample], SAMPLES[sample]) == []


@pytest.mark.parametrize(
    ("use", "wrong"), [("print(other.item())", False), ("total = other\n        total.backward()", True)]
)
def test_a_model_whose_result_is_only_shown_needs_no_autocast(use, wrong):
    line = next(n for n in SIMPLE.split("\n") if ".backward()" in n)
    indent = line[: len(line) - len(line.lstrip())]
    text = SIMPLE.replace(line, f"{indent}other = model(x).sum()\n{line}\n{indent}{use}")
    text = text.replace("\n        total", f"\n{indent}total")
    assert any(fault.code == "model_outside_autocast" for fault in faults(text)) == wrong


@pytest.mark.parametrize(
    ("behind", "wrong"), [(".backward()", True), ("amp_scaler.unscale_(optimizer)", False)]
)
def test_code_of_another_file_gets_a_model_only_with_its_gradients_unscaled(behind, wrong):
    line = next(n for n in SIMPLE.split("\n") if behind in n)
    text = SIMPLE.replace(line, f"{line}\n        helpers.penalize(model)")
    text = text.replace("import torch\n", "import helpers\nimport torch\n", 1)
    assert any(fault.code == "reads_scaled_gradients" for fault in faults(text)) == wrong


@pytest.mark.parametrize(("given", "wrong"), [("value", True), ("value.detach()", False)])
def test_a_target_that_a_helper_computes_needs_no_autocast(given, wrong):
    helper = f"def target(x):\n    value = model(x)\n    return {given}\n\n\n"
    step = "".join(f"    {line}\n" for line in SIMPLE.split("for x, y in data:\n")[1].split("\n")[:9])
    text = SIMPLE.split("for epoch")[0] + helper + f"def fit(x, y):\n{step}\n\n"
    text += "def run():\n    for x, y in data:\n        t = target(x)\n        fit(x, t)\n"
    assert any(fault.code == "model_outside_autocast" for fault in faults(text)) == wrong


def test_at_least_a_hundred_faults_are_planted():
    assert len(CASES) >= 100


@pytest.mark.parametrize(("sample", "bad"), CASES)
def test_planted_faults_are_found(sample, bad):
    assert faults(bad, SAMPLES[sample])


def test_the_judge_imports_nothing_of_the_rewriter():
    folder = ROOT / "benchmarks"
    for file in [folder / "patch_checker.py", *folder.glob("patch_judge/*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
        assert names <= {*sys.stdlib_module_names, "patch_judge"}
