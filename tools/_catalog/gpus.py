"""The GPU catalog: a dated row for each accelerator, found by catalog name, by NVML's name or by a forgiving spelling.

Throughputs are dense (no structured sparsity) and, for tensor cores, with fp32 accumulation. Figures are None where
no source gives them. Facts and sources live in gpus.csv.
"""

import csv
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .._core.errors import ToolError
from .._core.quantity import GIB

# How far a reading of the driver may lie from the nominal size and still be that card: driver, ECC and firmware keep
# up to 9 % (a T4 of 16 GiB reports 14.56), while the models of one name differ by 17 % or more (RTX 3080: 10 or 12).
_MEMORY_TOLERANCE = 0.10

# Words that never tell two accelerators apart.
# fmt: off
_NOISE = {"nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "intel", "graphics", "gpu", "generation"}
_NOISE |= {"rtx", "gtx", "jetson", "blackwell", "sxm", "sxm2", "sxm4", "sxm5", "oam", "hbm3", "tensor", "core"}
# fmt: on

_MEMORY = re.compile(r"(?<![\w.])(\d+)\s*(?:gib|gb|g)\b")


@dataclass(frozen=True)
class Gpu:
    """One row. `memory_bytes` is the nominal size; `reported_bytes` the total that software prints, if found."""

    name: str
    vendor: str
    also: tuple[str, ...]
    memory_bytes: int
    reported_bytes: int | None
    reported_by: str | None
    bandwidth_bytes_per_second: float | None
    fp32_tflops: float | None
    tf32_tflops: float | None
    fp16_tflops: float | None
    bf16_tflops: float | None
    int8_tops: float | None
    fp8_tflops: float | None
    compute_capability: str | None
    native: frozenset[str]
    is_unified_memory: bool
    tdp_watts: float | None
    year: int
    as_of: str
    source: str
    second_source: str | None
    reported_source: str | None
    note: str | None

    @property
    def supports_bf16(self) -> bool:
        """Natively; emulation does not count."""
        return "bf16" in self.native


def native_formats(compute_capability: str) -> frozenset[str]:
    """The number formats that an NVIDIA GPU computes natively, beside fp32.

    fp16: CUDA programming guide, table of arithmetic instructions (5.3, 6.0, 6.2 and 7.x on at full rate; 6.1 at 1/64);
    int8: four-way dot product (dp4a) from 6.1 on, but not 6.2; bf16 from 8.0 on; fp8 from 8.9 on.
    """
    version = tuple(int(part) for part in compute_capability.split("."))
    found = {
        "fp16": version >= (7, 0) or version in ((5, 3), (6, 0), (6, 2)),
        "int8": version >= (7, 0) or version == (6, 1),
        "bf16": version >= (8, 0),
        "fp8": version >= (8, 9),
    }
    return frozenset(name for name, has in found.items() if has)


@cache
def gpus() -> dict[str, Gpu]:
    """Every row by catalog name, in the order of the file."""
    table = (files(__package__) / "gpus.csv").read_text(encoding="utf-8")
    rows = [_gpu(row) for row in csv.DictReader(table.splitlines())]
    return {row.name: row for row in rows}


def find_gpu(name: str, memory_bytes: int | None = None) -> Gpu:
    """The row that `name` means; `memory_bytes`, as a driver reports it, decides between models of one name.

    Raises ToolError with the candidates when the name fits several rows, with the nearest names when it fits none.
    """
    found = candidates(name, memory_bytes)
    if len(found) == 1:
        return found[0]
    if found:
        raise ToolError(
            "The GPU name fits several models",
            saw=name,
            try_next=f"one of {', '.join(g.name for g in found)}",
        )
    raise ToolError("No such GPU in the catalog", saw=name, try_next=f"one of {', '.join(_nearest(name))}")


def candidates(name: str, memory_bytes: int | None = None) -> list[Gpu]:
    """The rows a name may mean: the row of exactly that name, those a driver names so, or those of the same words."""
    plain = re.sub(
        r"\s+MIG\s.*$", "", name.strip()
    )  # "NVIDIA A100-SXM4-80GB MIG 1g.10gb" is a part of that card
    if memory_bytes is None and plain in gpus():
        return [gpus()[plain]]
    return _of_size(_by_alias().get(_key(plain)) or _by_words(plain), memory_bytes)


def _by_words(name: str) -> Iterable[Gpu]:
    text = name.lower().replace("-", " ")
    sizes = {int(size) for size in _MEMORY.findall(text)}
    words = _words(text)
    if not words:
        return []
    return [
        g
        for g in gpus().values()
        if any(words == _words(spelling) for spelling in (g.name, *g.also))
        and (not sizes or sizes == {round(g.memory_bytes / GIB)})
    ]


def _of_size(rows: Iterable[Gpu], memory_bytes: int | None) -> list[Gpu]:
    if memory_bytes is None:
        return list(rows)
    near = [g for g in rows if abs(memory_bytes / g.memory_bytes - 1) <= _MEMORY_TOLERANCE]
    return sorted(near, key=lambda g: abs(memory_bytes - g.memory_bytes))[:1]


def _words(text: str) -> frozenset[str]:
    """The words of a spelling that tell accelerators apart, without its memory size."""
    text = _MEMORY.sub(" ", text.lower().replace("-", " "))
    text = re.sub(r"\b(rtx|gtx|titan|tpu|arc|rx)(?=\d)", r"\1 ", text)
    text = re.sub(r"(?<=\d)(ti|super)\b", r" \1", text)
    return frozenset(re.findall(r"[a-z0-9]+", text)) - _NOISE


@cache
def _by_alias() -> dict[str, tuple[Gpu, ...]]:
    index: dict[str, tuple[Gpu, ...]] = {}
    for row in gpus().values():
        for key in {_key(spelling) for spelling in row.also}:
            index[key] = (*index.get(key, ()), row)
    return index


def _key(name: str) -> str:
    """A name without vendor words, case and separators."""
    text = re.sub(r"\b(nvidia|geforce|tesla|amd|instinct|radeon|intel)\b", "", name.lower())
    return re.sub(r"[^a-z0-9]", "", text)


def _nearest(name: str) -> list[str]:
    spellings = {_key(spelling): row.name for row in gpus().values() for spelling in (row.name, *row.also)}
    near = difflib.get_close_matches(_key(name), spellings, n=8, cutoff=0.5)
    found = list(dict.fromkeys(spellings[key] for key in near))
    return found[:5] or ["T4", "A100-80GB", "H100", "RTX4090"]


def _gpu(row: dict[str, str]) -> Gpu:
    bandwidth = _number(row["bandwidth_gb_s"])
    reported = _number(row["reported_gib"])
    return Gpu(
        name=row["name"],
        vendor=row["vendor"],
        also=tuple(row["also"].split("|")) if row["also"] else (),
        memory_bytes=round(float(row["memory_gib"]) * GIB),
        reported_bytes=round(reported * GIB) if reported else None,
        reported_by=row["reported_by"] or None,
        bandwidth_bytes_per_second=bandwidth * 1e9 if bandwidth else None,
        fp32_tflops=_number(row["fp32_tflops"]),
        tf32_tflops=_number(row["tf32_tflops"]),
        fp16_tflops=_number(row["fp16_tflops"]),
        bf16_tflops=_number(row["bf16_tflops"]),
        int8_tops=_number(row["int8_tops"]),
        fp8_tflops=_number(row["fp8_tflops"]),
        compute_capability=row["compute_capability"] or None,
        native=frozenset(row["native"].split("|")) - {""},
        is_unified_memory=row["unified"] == "yes",
        tdp_watts=_number(row["tdp_w"]),
        year=int(row["year"]),
        as_of=row["as_of"],
        source=row["source"],
        second_source=row["second_source"] or None,
        reported_source=row["reported_source"] or None,
        note=row["note"] or None,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
