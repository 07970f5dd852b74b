"""Run real scripts before and after the patch, on the CPU: what apply_amp_patch claims of behaviour, tried out.

    python benchmarks/patch_behaviour.py FOLDER PYTHON [PATTERN]   # FOLDER/owner+name/path

PYTHON needs torch and matplotlib; torchvision is stood in for, with made-up digits. Per script the losses of 20 (some
100) optimizer steps: original, patched and switched off (identical), bf16, fp16 with a scaler of scale 1 (the wiring).
`as_cuda`: the same by the rules of CUDA's autocast (cuda_autocast.py), fp16 with a scale of 256.
Beside them the original whose weights are rounded to bf16 once, before its first step: how far that alone leads shows
how much a script makes of differences of that size.
A device type of "cuda" written into the script is read as "cpu", as it would otherwise do nothing here.
"""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

if "--serve" not in sys.argv:  # the server runs under an interpreter that has none of this
    from optimizing_resources.tools.apply_amp_patch.codemod import patch
    from optimizing_resources.tools.apply_amp_patch.context import Wishes

HERE = Path(__file__).resolve().parent
STEPS = 20
LONGER = {
    "403_RNN_regressor": 100,
    "12_4_hello_rnn_emb": 100,
    "recurrent_neural_network": 100,
}  # noisy until then
BATCH = ["--batch_size", "8", "--n_epochs", "1"]  # images take long on a CPU
DIGITS = [*BATCH, "--img_size", "28"]  # these resize, the stand-in does not
SMALL = {
    "/began.py": DIGITS,
    "/cgan.py": DIGITS,
    "implementations": BATCH,
}
NLP = "graykode/nlp-tutorial"
GAN = "eriklindernoren/PyTorch-GAN"
SCRIPTS = [
    *((NLP, name) for name in ("1-1.NNLM/NNLM.py", "1-2.Word2Vec/Word2Vec-Skipgram(Softmax).py")),
    *(
        (NLP, name)
        for name in ("2-1.TextCNN/TextCNN.py", "3-1.TextRNN/TextRNN.py", "3-2.TextLSTM/TextLSTM.py")
    ),
    *((NLP, name) for name in ("3-3.Bi-LSTM/Bi-LSTM.py", "4-1.Seq2Seq/Seq2Seq.py", "5-2.BERT/BERT.py")),
    (NLP, "4-3.Bi-LSTM(Attention)/Bi-LSTM(Attention).py"),
    ("yunjey/pytorch-tutorial", "tutorials/01-basics/linear_regression/main.py"),
    ("yunjey/pytorch-tutorial", "tutorials/01-basics/logistic_regression/main.py"),
    ("yunjey/pytorch-tutorial", "tutorials/02-intermediate/recurrent_neural_network/main.py"),
    ("L1aoXingyu/pytorch-beginner", "06-Natural Language Process/N-Gram.py"),
    *(
        ("MorvanZhou/PyTorch-Tutorial", f"tutorial-contents/{n}.py")
        for n in ("301_regression", "302_classification", "306_optimizer", "403_RNN_regressor", "406_GAN")
    ),
    *(("hunkim/PyTorchZeroToAll", f"{n}.py") for n in ("05_linear_regression", "06_logistic_regression")),
    *(
        ("hunkim/PyTorchZeroToAll", f"{n}.py")
        for n in ("09_2_softmax_mnist", "10_1_cnn_mnist", "12_4_hello_rnn_emb")
    ),
    ("locuslab/TCN", "TCN/adding_problem/add_test.py"),
    ("pytorch/examples", "regression/main.py"),
    ("pytorch/examples", "mnist/main.py"),
    ("pytorch/examples", "mnist_rnn/main.py"),
    ("pytorch/examples", "vae/main.py"),
    *(
        (GAN, f"implementations/{n}/{n}.py")
        for n in ("gan", "cgan", "acgan", "wgan", "wgan_gp", "dragan", "began")
    ),
]
STAND_IN = '''
"""As much of torchvision as the scripts use, with made-up digits."""
import sys
import types

import torch


class MNIST(torch.utils.data.Dataset):
    def __init__(self, root=None, train=True, transform=None, download=False, **other):
        generator = torch.Generator().manual_seed(int(train))
        self.targets = torch.randint(0, 10, (4000,), generator=generator)
        noise = torch.rand(4000, 1, 28, 28, generator=generator) * 0.5
        self.data = noise + self.targets[:, None, None, None] / 20

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index], int(self.targets[index])


def module(name, **members):
    sys.modules["torchvision." + name] = made = types.ModuleType("torchvision." + name)
    made.__dict__.update(members)
    return made


def nothing(*arguments, **options):
    return None


datasets = module("datasets", MNIST=MNIST, FashionMNIST=MNIST)
names = ("Compose", "ToTensor", "Normalize", "Resize")
transforms = module("transforms", **dict.fromkeys(names, nothing))
utils = module("utils", save_image=nothing, make_grid=nothing)
'''

ROUND_ONCE = """
from torch.optim.optimizer import register_optimizer_step_pre_hook
def _round_once(optimizer, *arguments, seen=set()):
    for group in optimizer.param_groups if id(optimizer) not in seen else ():
        for parameter in group["params"]:
            parameter.data = parameter.data.bfloat16().to(parameter.dtype)
    seen.add(id(optimizer))
register_optimizer_step_pre_hook(_round_once)
"""


AS_CUDA = f"""
import sys
sys.path.append({str(HERE)!r})
import cuda_autocast
import torch
torch.autocast = cuda_autocast.Autocast
"""


def on_cpu(text: str) -> str:
    """Autocast and scaler of a script for CUDA, to work on the CPU."""
    text = text.replace('device_type="cuda"', 'device_type="cpu"')
    text = text.replace('"cuda" if torch.cuda.is_available() else "cpu"', '"cpu"')
    text = text.replace('GradScaler("cuda",', 'GradScaler("cpu",')
    return re.sub(r"GradScaler\(([^,()]+),", r"GradScaler(\1, init_scale=1.0,", text)


def begun_with(more: str, text: str) -> str:
    """The script behind some lines that come in front of all but its `__future__` imports."""
    place = max((m.end() for m in re.finditer(r"(?m)^from __future__ import .*\n", text)), default=0)
    return text[:place] + more + text[place:]


def versions_of(path: Path) -> tuple[dict[str, str], dict[str, object]]:
    """The texts to run, and what was not patched."""
    text = path.read_text(encoding="utf-8")
    versions: dict[str, str] = {"original": text}
    versions["rounded"] = begun_with(ROUND_ONCE, text)
    refused: dict[str, object] = {}
    for precision in ("bf16", "fp16"):
        result = patch(text, ["mixed_precision"], Wishes(precision), path)
        if result.outcome == "patched":
            versions[precision] = on_cpu(result.text)
            as_cuda = versions[precision].replace(
                "init_scale=1.0", "init_scale=256.0"
            )  # overflows no first step
            versions[f"{precision}_as_cuda"] = begun_with(AS_CUDA, as_cuda)
        else:
            refused[precision] = [result.outcome, *(s.reason_code for s in result.sites)]
    if "bf16" in versions:
        versions["off"] = re.sub(r"(?m)^amp_enabled = .*$", "amp_enabled = False", versions["bf16"])
    return versions, refused


def compared(runs: dict[str, dict], refused: dict[str, object]) -> dict[str, object]:
    """`close` is the mean relative difference of the losses over the last quarter of the steps."""
    found: dict[str, object] = {**refused}
    found["steps"] = {name: len(run["losses"]) for name, run in runs.items()}
    found["errors"] = {name: run["error"] for name, run in runs.items() if run["error"]}
    before = runs["original"]["losses"]
    quarter = max(1, len(before) // 4)
    if "off" in runs:
        found["off_identical"] = runs["off"]["losses"] == before if before else None
    for name in sorted(runs.keys() & {"bf16", "fp16", "rounded", "bf16_as_cuda", "fp16_as_cuda"}):
        if runs[name]["error"] or not before:
            found[f"{name}_close"] = None  # nothing to compare: what stopped it stands under errors
            continue
        pairs = list(zip(before, runs[name]["losses"], strict=False))[len(before) - quarter :]
        differences = [abs(a - b) / max(abs(a), 1e-12) for a, b in pairs]
        found[f"{name}_close"] = sum(differences) / len(differences) if differences else None
        found[f"{name}_changes"] = runs[name]["losses"] != before
    return found


def serve(requests: list[dict]) -> None:
    """Runs under PYTHON: torch is imported once, and every version runs in a fork of its own."""
    import torch  # noqa: F401

    engine = runpy.run_path(str(HERE.parent / "tools" / "apply_amp_patch" / "engine" / "__main__.py"))
    for request in requests:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            signal.alarm(600)
            reply = engine["answer"](request, None)
            with os.fdopen(writer, "w") as file:
                json.dump(reply, file)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as file:
            text = file.read()
        os.waitpid(child, 0)
        reply = json.loads(text) if text else {"losses": [], "error": "killed after 600 s"}
        print(json.dumps([request["key"], request["version"], reply]), flush=True)


def keep(found: dict[str, object], alone: bool) -> None:
    """Write what has been found so far, beside the results of other scripts unless this is a run of them all."""
    target = HERE / "results" / "patch_behaviour.json"
    before = {} if alone or not target.exists() else json.loads(target.read_text(encoding="utf-8"))
    target.write_text(json.dumps({**before, **found}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    if sys.argv[1] == "--serve":
        return serve(json.load(sys.stdin))
    folder, python = Path(sys.argv[1]).resolve(), sys.argv[2]
    wanted = re.compile(sys.argv[3] if len(sys.argv) > 3 else ".")
    requests, refused, count = [], {}, {}
    for repo, name in SCRIPTS:
        path, key = folder / repo.replace("/", "+") / name, f"{repo}/{name}"
        if not wanted.search(key):
            continue
        versions, refused[key] = versions_of(path)
        count[key] = len(versions)
        steps = next((n for part, n in LONGER.items() if part in name), STEPS)
        given = next((a for part, a in SMALL.items() if part in name), [])
        same = {"path": str(path), "start": str(path), "arguments": given, "folder": str(path.parent)}
        same |= {"steps": steps, "key": key}
        requests += [{**same, "version": v, "source": text} for v, text in versions.items()]
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as stand_ins:
        package = Path(stand_ins) / "torchvision" / "__init__.py"
        package.parent.mkdir()
        package.write_text(STAND_IN, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": stand_ins, "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0"}
        command = [python, __file__, "--serve"]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        assert server.stdin is not None and server.stdout is not None
        json.dump(requests, server.stdin)
        server.stdin.close()
        runs: dict[str, dict] = {}
        for line in server.stdout:
            key, version, reply = json.loads(line)
            runs.setdefault(key, {})[version] = reply
            if len(runs[key]) == count[key]:
                found[key] = compared(runs[key], refused[key])
                keep(found, wanted.pattern == ".")
                print(key, json.dumps(found[key]), flush=True)


if __name__ == "__main__":
    main()
