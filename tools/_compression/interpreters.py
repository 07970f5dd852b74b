"""Which Python imports the caller's model, and which one searches."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from .._core.contract import ToolError, current_call
from .._core.interpreter import resolve_python
from .._core.worker import Limits, run

ENGINE = Path(__file__).with_name("engine")
SEARCH_NEEDS = ("numpy", "onnx", "onnxruntime")
SEARCH_MAY_USE = ("openvino", "nncf", "torch", "lightgbm", "xgboost", "sklearn", "skops", "skl2onnx")
PROBE_SECONDS = 30


@dataclass(frozen=True)
class Interpreter:
    """A Python with the versions of the libraries that matter here."""

    path: Path
    modules: dict[str, str]

    def has(self, *names: str) -> bool:
        return all(name in self.modules for name in names)

    def install(self, *packages: str) -> str:
        """The command that adds packages to it."""
        return shlex.join([str(self.path), "-m", "pip", "install", *packages])

    def require(self, names: tuple[str, ...], what: str) -> "Interpreter":
        missing = [name for name in names if name not in self.modules]
        if missing:
            packages = " ".join(
                n.replace("torch_pruning", "torch-pruning").replace("sklearn", "scikit-learn")
                for n in missing
            )
            raise ToolError(
                f"{what} needs {packages} in its interpreter",
                saw=str(self.path),
                try_next=f"pip install {packages} there",
            )
        return self


def probe(path: Path, folder: Path) -> Interpreter:
    """The interpreter with what it offers."""
    reply = run(ENGINE, {"task": "probe", "folder": str(folder)}, python=path, limits=Limits(PROBE_SECONDS))
    return Interpreter(path, reply["modules"])


def callers(named: str | None, folder: Path) -> Interpreter:
    """The one that imports the caller's code."""
    return probe(resolve_python(named, current_call().workspace), folder)


def searcher(caller: Interpreter, folder: Path) -> Interpreter:
    """Ours or the caller's, whichever has more of the libraries; the versions it uses are in the report."""
    own = caller if caller.path == Path(sys.executable) else probe(Path(sys.executable), folder)
    able = [candidate for candidate in (own, caller) if candidate.has(*SEARCH_NEEDS)]
    if able:
        return max(able, key=lambda candidate: sum(map(candidate.has, SEARCH_MAY_USE)))
    raise ToolError(
        "The search needs onnx and onnxruntime", saw=own.path,
        try_next="pip install 'optimizing-resources[compression]'",
    )  # fmt: skip
