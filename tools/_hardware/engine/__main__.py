"""Versions of the ML frameworks that this interpreter would import; torch itself is imported only if asked to."""

import importlib.metadata
import platform
import re
import warnings

NAMES = (
    "torch", "torchvision", "torchaudio", "tensorflow", "tensorflow-cpu", "jax", "jaxlib", "jax-cuda12-plugin",
    "keras", "lightning", "pytorch-lightning", "accelerate", "transformers", "deepspeed", "bitsandbytes", "peft",
    "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "lightgbm", "xgboost", "scikit-learn",
    "numpy", "pandas", "paddlepaddle", "paddlepaddle-gpu", "torch-xla", "intel-extension-for-pytorch",
)  # fmt: skip


def answer(request, progress):
    """The frameworks and, with {"ask_torch": true}, what torch.cuda itself says."""
    found = {name: version for name in NAMES for version in installed(name)}
    reply = {"python_version": platform.python_version(), "frameworks": found}
    if "torch" in found:
        reply.update(torch_build())
        has_gpu_code = any(reply.get(key) for key in ("torch_cuda_version", "torch_hip_version"))
        if request.get("ask_torch") and has_gpu_code:  # importing torch costs 1 to 3 seconds
            reply["cuda"] = ask_torch()
    return reply


def installed(name):
    try:
        return [importlib.metadata.version(name)]
    except importlib.metadata.PackageNotFoundError:
        return []


def torch_build():
    """The CUDA and ROCm versions of the build, from the file that torch writes about itself."""
    path = importlib.metadata.distribution("torch").locate_file("torch/version.py")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        return {"torch_build_unknown": f"torch/version.py cannot be read: {error.strerror}"}
    found = dict(re.findall(r"^(cuda|hip|xpu)\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, flags=re.M))
    return {"torch_cuda_version": found.get("cuda"), "torch_hip_version": found.get("hip")}


def ask_torch():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            import torch

            available = torch.cuda.is_available()
            reply = {"available": available, "count": torch.cuda.device_count()}
            if available:
                reply["architectures"] = torch.cuda.get_arch_list()
        except (ImportError, OSError, RuntimeError) as error:
            first = [*str(error).strip().splitlines(), "no message"][0]
            reply = {"error": f"{type(error).__name__}: {first}"}
    reply["said"] = [str(w.message).split("\n")[0][:300] for w in caught if "CUDA" in str(w.message)]
    return reply
