"""The files that are handed over: the artifact, how to use it, and the manifest; written beside each other, at once."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from .._core.contract import current_call
from .job import digest

_ONNXRUNTIME = '''"""Runs {name} on ONNX Runtime."""
import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = {threads}
{entries}session = ort.InferenceSession("{name}", options, providers=["CPUExecutionProvider"])
inputs = {{{feeds}}}
{classes}print(session.run(None, inputs)[{output}])
'''
_OPENVINO = '''"""Runs {name} on OpenVINO; keep {stem}.bin beside it."""
import numpy as np
import openvino as ov

settings = {{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": {threads}}}
settings["INFERENCE_PRECISION_HINT"] = "{precision}"
model = ov.Core().compile_model("{name}", "CPU", settings)
inputs = {{{feeds}}}
print(model(inputs)[{output}])
'''
_TORCH = '''"""Runs {name}, compiled ahead of time by torch; the library inside is built for this processor."""
import numpy as np
import torch

torch.set_num_threads({threads})
model = torch._inductor.aoti_load_package("{name}")
inputs = {{{feeds}}}
print(model(*[torch.from_numpy(a) for a in inputs.values()]))
'''
_EXECUTORCH = '''"""Runs {name} on ExecuTorch."""
import numpy as np
import torch
from executorch.runtime import Runtime

torch.set_num_threads({threads})
method = Runtime.get().load_program("{name}").load_method("forward")
inputs = {{{feeds}}}
print(method.execute([torch.from_numpy(a) for a in inputs.values()])[0])
'''
_LIGHTGBM = '''"""Runs {name} on LightGBM."""
import lightgbm
import numpy as np

model = lightgbm.Booster(model_file="{name}")
inputs = {{{feeds}}}
print(model.predict(inputs["x"], num_threads={threads}))
'''
_XGBOOST = '''"""Runs {name} on XGBoost."""
import numpy as np
import xgboost

model = xgboost.Booster(model_file="{name}")
model.set_param({{"nthread": {threads}}})
inputs = {{{feeds}}}
print(model.inplace_predict(inputs["x"]))
'''
_SKLEARN = '''"""Runs {name} on scikit-learn; skops builds no type that is not listed as trusted."""
import numpy as np
import skops.io

types = skops.io.get_untrusted_types(file="{name}")
print("trusting", types)
model = skops.io.load("{name}", trusted=types)
inputs = {{{feeds}}}
print(getattr(model, "predict_proba", model.predict)(inputs["x"]))
'''
_PICKLED = '''"""Runs {name} on scikit-learn; loading a pickle runs its code."""
import joblib
import numpy as np

model = joblib.load("{name}")
inputs = {{{feeds}}}
print(getattr(model, "predict_proba", model.predict)(inputs["x"]))
'''
SNIPPETS = {
    "onnxruntime": _ONNXRUNTIME, "openvino": _OPENVINO, "torch": _TORCH, "lightgbm": _LIGHTGBM, "xgboost": _XGBOOST,
    "executorch": _EXECUTORCH, "sklearn": _SKLEARN,
}  # fmt: skip


def hand_over(
    kind: str,
    artifacts: dict[str, dict[str, Any]],
    facts: dict[str, Any],
    threads: int,
    texts: dict[str, str],
    manifest: dict[str, Any],
) -> Path:
    """A new folder with one sub-folder per artifact, the texts and manifest.json; returns its path."""
    root = current_call().workspace.artifacts() / "artifacts"
    root.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=root))
    try:
        hashes = {}
        for name, artifact in artifacts.items():
            hashes[name] = _copy(artifact, fresh / name, facts, threads)
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8")
        content = json.dumps({**manifest, "artifacts": hashes}, indent=1)
        (fresh / "manifest.json").write_text(content, encoding="utf-8")
        target = root / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
        if target.exists():
            shutil.rmtree(target)
        os.chmod(fresh, 0o755)
        os.replace(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target


def _copy(artifact: dict[str, Any], folder: Path, facts: dict[str, Any], threads: int) -> dict[str, str]:
    """The artifact's files and its usage snippet; sha256 by file name."""
    folder.mkdir()
    source = Path(artifact["path"])
    kin = [source, source.with_name(source.name + ".data"), source.with_suffix(".bin")]
    found = {}
    for path in kin:
        if path.exists():
            shutil.copyfile(path, folder / path.name)
            found[path.name] = digest(path)
    if template := _snippet(artifact["runtime"], source):
        text = template.format(
            name=source.name,
            stem=source.stem,
            threads=artifact.get("threads", threads),
            entries="".join(
                f'options.add_session_config_entry("{key}", "{value}")\n'
                for key, value in artifact.get("settings", {}).items()
            ),
            feeds=_feeds(facts["inputs"]),
            output=facts.get("output", 0),
            classes=f"classes = {named!r}  # what the columns stand for\n"
            if (named := facts.get("classes"))
            else "",
            precision=artifact.get("precision", "f32"),
        )
        (folder / "use.py").write_text(text, encoding="utf-8")
    return found


def _snippet(runtime: str, source: Path) -> str | None:
    is_pickle = runtime == "sklearn" and not zipfile.is_zipfile(source)
    return _PICKLED if is_pickle else SNIPPETS.get(runtime)


def _feeds(inputs: list[dict[str, Any]]) -> str:
    shapes = [[1, *[d if isinstance(d, int) else 8 for d in (spec["shape"] or [1])[1:]]] for spec in inputs]
    return ", ".join(
        f'"{s["name"]}": np.zeros({shape}, "{s["dtype"]}")' for s, shape in zip(inputs, shapes, strict=True)
    )
