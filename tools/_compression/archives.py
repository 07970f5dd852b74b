"""What an archive would do when it is loaded, found by listing its members and opcodes; nothing is unpickled."""

import ast
import io
import json
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._core.contract import ToolError
from .._core.syntax import parse_expression

# What torch writes into the sample inputs of an exported program: tensors and their storages.
_TENSOR_GLOBALS = re.compile(
    r"torch(\.\w+)*\.?(_rebuild_\w+|\w*Storage|Size|device|dtype|Tensor)|torch\._utils _\w+|torch \w+Storage"
    r"|collections OrderedDict|torch\.serialization _get_layout|torch Size|torch device"
)
# A program may call tensor operations, integer arithmetic and nothing else: torch resolves a target by walking
# attributes from `torch`, so "torch.serialization.os.system" would resolve as well.
_TARGETS = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized|_c10d_functional)\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+|torch\._sym_\w+"
)
_SPEC_TYPES = {"builtins.dict", "builtins.list", "builtins.tuple", "collections.OrderedDict"}
_MEMBERS = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|\w*_?weights_config\.json)|data/constants/(tensor_\d+|\w*_?constants_config\.json)"
    r"|models/\w+\.json|data/sample_inputs/\w+\.pt|archive_format|archive_version|byteorder|\.data/\w+|version"
    r"|\.format_version|\.storage_alignment)"
)
# Sizes are written as sympy.srepr writes them, with torch's own functions (torch/utils/_sympy/functions.py).
_EXPRESSION_NAMES = re.compile(
    r"[su]\d+|Symbol|Integer|Rational|Half|One|Zero|NegativeOne|Float|precision|Add|Mul|Pow|Abs|floor|ceiling|Max|Min"
    r"|FloorDiv|CleanDiv|CeilDiv|Mod|PythonMod|ModularIndexing|Where|Piecewise|ExprCondPair|Eq|Ne|Le|Lt|Ge|Gt|Equality"
    r"|Unequality|(Strict)?(Greater|Less)Than|And|Or|Not|(Floor|Ceil|Trunc|Round)ToInt|TruncToFloat|FloatTrueDiv"
    r"|IntTrueDiv|PowByNatural|FloatPow|ToFloat|LShift|RShift|Identity|oo|int_oo|[Tt]rue|[Ff]alse|integer|positive"
    r"|nonnegative|None"
)
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)
_OTHER_SHAPE = (LookupError, AttributeError, TypeError, *_DAMAGE)  # of its JSON and archives
_LARGEST_JSON_BYTES = 256 * 1024**2


def pickle_globals(data: bytes) -> list[str]:
    """`module name` of everything the pickle would import, without running it."""
    found: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("GLOBAL", "INST"):
                found.append(str(argument))
            elif opcode.name == "STACK_GLOBAL":
                found.append(" ".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except (
        Exception
    ) as error:  # pickletools raises ValueError, IndexError, UnicodeDecodeError, struct.error...
        raise ToolError("The file holds a broken pickle", saw=error, try_next="writing it again") from error
    return found


def read_zip(path: Path) -> zipfile.ZipFile:
    """The archive, opened; a broken one is refused."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ToolError(
            "The file is no complete archive", saw=f"{path.name}: {error}", try_next="a whole copy"
        ) from error


def scan_program(path: Path) -> None:
    """Refuse a torch.export archive that would do more than build tensors and a graph, and a damaged one."""
    with read_zip(path) as archive:
        for name in archive.namelist():
            if not _MEMBERS.fullmatch(name):
                what = "a custom object" if "custom" in name or "opaque" in name else "an unexpected member"
                raise _refused(f"holds {what}", name)
            try:
                _scan_member(archive, name)
            except _OTHER_SHAPE as error:
                raise _damaged(name) from error


def _scan_member(archive: zipfile.ZipFile, name: str) -> None:
    if name.endswith("_config.json"):
        _scan_config(_json(archive, name), name)
    elif "/models/" in name:
        _scan_graph(_json(archive, name))
    elif "/sample_inputs/" in name:
        _scan_samples(read_member(archive, name), name)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member of the archive; one that is cut, encrypted or packed in an unknown way is refused."""
    try:
        return archive.read(name)
    except _DAMAGE as error:
        raise _damaged(name) from error


def _damaged(name: str) -> ToolError:
    return ToolError("The archive is damaged", saw=name, try_next="writing it again")


def _refused(what: str, saw: object) -> ToolError:
    return ToolError(
        f"The torch.export program {what}, which could run code on loading", saw=saw,
        try_next="an ONNX file, or file.py:factory with a state dict",
    )  # fmt: skip


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > _LARGEST_JSON_BYTES:
        raise _refused("has an oversized description", name)
    return json.loads(read_member(archive, name))


def _scan_config(config: Any, name: str) -> None:
    for key, entry in (config.get("config") or {}).items():
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
            raise _refused("pickles an entry", f"{name}: {key}")


def _scan_samples(content: bytes, name: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            pickles = [inner.read(n) for n in inner.namelist() if n.endswith(".pkl")]
    except zipfile.BadZipFile:
        pickles = [content] if content else []
    for data in pickles:
        strange = [g for g in pickle_globals(data) if not _TENSOR_GLOBALS.fullmatch(g)]
        if strange:
            raise _refused("pickles more than tensors in its sample inputs", strange[0])


def _scan_graph(model: Any) -> None:
    for key, value in _walk(model):
        if key == "target" and isinstance(value, str) and not _TARGETS.fullmatch(value):
            raise _refused("calls something else than tensor operations", value)
        if key == "expr_str" and isinstance(value, str) and not _is_plain_expression(value):
            raise _refused("holds an expression that is no arithmetic", value)
        if key == "guards_code" and value:
            strange = [guard for guard in value if not _is_plain_guard(guard)]
            if strange:
                raise _refused("holds guard code that is no comparison", strange[0])
        if key in ("in_spec", "out_spec") and isinstance(value, str):
            strange = [t for t in re.findall(r'"type":\s*"([^"]*)"', value) if t not in _SPEC_TYPES]
            if strange:
                raise _refused("uses container types of its own", strange[0])
        if key == "as_custom_obj" and value:
            raise _refused("holds a custom object", value)


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    stack: list[Any] = [value]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            yield from here.items()
            stack.extend(here.values())
        elif isinstance(here, list):
            stack.extend(here)


def _is_plain_expression(text: str) -> bool:
    names = re.findall(r"[A-Za-z_]\w*", re.sub(r"'[su]\d+'", "", text))
    return bool(re.fullmatch(r"[\w\s()+\-*/,.<>=|&~']*", text)) and all(
        _EXPRESSION_NAMES.fullmatch(n) for n in names
    )


def _is_plain_guard(text: str) -> bool:
    """Comparisons of sizes, such as `x.size()[0] >= 2`: no other call, no string, no dunder name."""
    try:
        tree = parse_expression(text)
    except SyntaxError:
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("size", "stride", "dim")
            and len(node.args) <= 1
        ):
            return False
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            return False
        if isinstance(
            node, ast.Lambda | ast.NamedExpr | ast.JoinedStr | ast.Await | ast.Yield | ast.GeneratorExp
        ):
            return False
    return True
