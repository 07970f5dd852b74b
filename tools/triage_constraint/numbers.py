"""The figures a text prints, under the keys of the contract. Values as printed; sizes in GiB.

Tools that print "GB" here mean GiB (PyTorch, TensorFlow and Apple's backend all divide by powers of 1024).
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

_TERMINAL_WIDTH = 60  # shorter lines of one length are lists, not wraps

Value = float | int | list[int]
Numbers = dict[str, Value]

_SIZE = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)\.?\s*(bytes|byte|[kmgtp]i?b|b)\b"
_IN_GIB = {"b": 2.0**-30, "k": 2.0**-20, "m": 2.0**-10, "g": 1.0, "t": 2.0**10, "p": 2.0**20}

# One row per figure of an allocator's message; `SIZE` stands for a number with its unit.
_ALLOCATOR = (
    ("tried_gib", r"tried to allocate SIZE"),
    ("total_gib", r"SIZE total\s*capacity|total capaci?ty of SIZE"),
    ("free_gib", r"SIZE free|of which SIZE is\s*free|available memory is only SIZE"),
    (
        "allocated_gib",
        r"SIZE (?:already )?allocated(?! in private)|allocated memory SIZE is|SIZE memory has been allocated",
    ),
    ("reserved_unalloc_gib", r"SIZE cached|SIZE is\s*reserved by pytorch but"),
    ("reserved_gib", r"SIZE reserved in total"),
    ("process_gib", r"this\s+process\s+has SIZE"),
    ("allowed_gib", r"SIZE allowed"),
    ("mps_allocated_gib", r"mps allocated: SIZE"),
    ("mps_other_gib", r"other allocations: SIZE"),
    ("mps_max_gib", r"max allowed: SIZE"),
)
# Other formats that print the size of the request that failed.
_TRIED = (
    r"trying to allocate SIZE",
    r"cannot allocate SIZE memory",
    r"unable to allocate [\"']?SIZE",
    r"unable to mmap SIZE",
    r"allocating SIZE on device",
    r"failed to allocate SIZE",
    r"requested buffer of size (\d+)()",
    r"alloc(?:ate)? SIZE on host",
)
_PLAIN = (  # key, pattern with one group, type
    ("timeout_ms", r"timeout\(ms\)=(\d+)", int),
    ("overflow_bytes", r"overflowed by (\d[\d,]*) bytes", int),
    ("requested_bytes", r"failed to resize buffer\.?\s*requested:?\s*(\d[\d,]*)", int),
    ("max_seq_len", r"max(?:imum)? (?:seq|model|context|sequence)\w* ?len(?:gth)?\w* \(?(?:of )?(\d+)", int),
    ("kv_tokens", r"kv cache \((\d+)\)|kv cache is (\d+)|maximum model length is (\d+)", int),
    (
        "exit_code",
        (
            r"(?:exit(?:ed)?(?: with)?(?: status| code)?|exitcode|exit_code|returned|code|"
            r"error:?)[\s:=(]*(13[4-9]|14[0-3]|-?9)\b"
        ),
        int,
    ),
)
_NO_FIGURE = re.compile(
    r"\d{19,}"
)  # longer than any byte count: a hash, say; Python refuses to read the longest
_SIZED = (
    ("required_gib", r"requires more system memory \(SIZE\)"),
    ("available_gib", r"than is available \(SIZE\)|available kv cache memory \(SIZE\)"),
    ("kv_gib", r"SIZE kv cache is needed"),
    ("requested_mem_gib", r"--mem(?:-per-(?:cpu|gpu|node))?[= ]SIZE?"),
    ("limit_mib", r"memory limit of SIZE"),
)
# Figures of prose; each belongs to the constraints it is evidence for, and is read only for those.
_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS_BEFORE_A_UNIT = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b(?= (?:days?|hours?|minutes?|seconds?)\b)")
_SAMPLE = (
    r"(?:training |train |test |labell?ed |annotated |video )?(?:images?|samples?|examples?|pictures?|"
    r"photos?|data ?points?|sentences?"
    r"|documents?|observations?|records?|instances?|utterances?|observaciones|im[aá]genes|bilder|张|条|个样本|样本|枚|장)"
)
_ANY = (
    "compute_time",
    "inference_latency",
    "network",
    "no_gpu",
    "edge",
    "gpu_memory",
    "host_memory",
    "out_of_scope",
)
_PROSE = (
    (
        "n_samples",
        ("training_data", "compute_time", "no_gpu", "edge"),
        rf"\b(\d[\d,]*) ?(?:(?:hour|dai|week|month|quarter|year)ly )?(?:{_SAMPLE})(?! (?:per|by|for each|each))",
    ),
    (
        "samples_per_class",
        ("training_data", "budget"),
        rf"\b(\d[\d,]*) ?(?:{_SAMPLE})? ?(?:per|by|for each|in each) (?:class|label|category|tag)",
    ),
    (
        "fps",
        ("inference_latency", "edge", "no_gpu", "compute_time", "out_of_scope"),
        r"(\d+(?:\.\d+)?)(?:\s*[-~–]\s*\d+(?:\.\d+)?)? ?(?:fps|frames per second|帧)",
    ),
    ("gpu_util_pct", _ANY, r"(\d+(?:\.\d+)?) ?[%％]"),
    (
        "it_per_s",
        ("compute_time", "network", "no_gpu", "out_of_scope"),
        r"(\d+(?:\.\d+)?) ?(?:it|iter|iterations|steps)/s",
    ),
    (
        "sec_per_it",
        ("compute_time", "network", "no_gpu", "out_of_scope"),
        (
            r"(\d+(?:\.\d+)?) ?(?:s|sec|secs|seconds) ?(?:/|per|an?|for (?:an?|each|one)) ?(?:it|iter|"
            r"iteration|step|batch|mini-?batch)\b"
        ),
    ),
    (
        "sec_per_epoch",
        ("compute_time", "network", "no_gpu"),
        r"(\d+(?:\.\d+)?) ?(?:s|sec|secs|seconds) ?(?:/|per|an?|for (?:an?|each|one)) ?epoch",
    ),
    ("train_days", ("compute_time", "budget"), r"(\d+(?:\.\d+)?)\+? ?(?:days|天)"),
    (
        "eta_hours",
        ("compute_time",),
        r"(?:eta|remaining|estimated)[^\n]{0,24}?(\d+(?:\.\d+)?) ?h(?:ours?)?\b",
    ),
)


def read_numbers(text: str, constraint: str, secondary: list[str]) -> Numbers:
    """Every figure of the contract's `numbers` that the text prints; the last message of a kind counts."""
    lowered = _NO_FIGURE.sub("#", _unwrapped(text.lower()))
    found: Numbers = {}
    found.update(_allocator_figures(lowered))
    for key, pattern in _SIZED:
        if (value := _last_size(pattern, lowered)) is not None:
            found[key] = round(value * 1024, 4) if key == "limit_mib" else value
    for key, pattern, kind in _PLAIN:
        if values := [next(filter(None, m.groups())) for m in re.finditer(pattern, lowered)]:
            found[key] = kind(values[0 if key == "overflow_bytes" else -1].replace(",", ""))
    if shape := _tensor_shape(lowered):
        found["tensor_shape"] = shape
    relevant = {constraint, *secondary}
    lowered = _WORDS_BEFORE_A_UNIT.sub(lambda word: str(_WORDS.index(word[0]) + 2), lowered)
    for key, constraints, pattern in _PROSE:
        if (
            relevant.intersection(constraints)
            and (figure := _prose_figure(key, pattern, lowered)) is not None
        ):
            found[key] = figure
    if relevant & {"inference_latency", "edge", "no_gpu"}:
        found.update(_latency(lowered))
    if constraint == "budget":
        found.update(_money(lowered))
    return found


def size(numbers: Numbers, key: str) -> float | None:
    """One figure as a number; None where the text does not print it."""
    value = numbers.get(key)
    return None if value is None or isinstance(value, list) else float(value)


def gib(number: str, unit: str) -> float:
    """A printed size in GiB, to the four decimals the messages themselves carry."""
    cleaned = (
        number.replace(",", "")
        if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", number)
        else number.replace(",", ".")
    )
    return round(float(cleaned) * _IN_GIB[(unit or "b")[0]], 4)


def _unwrapped(lowered: str) -> str:
    """The text as one line, with the wraps of a terminal undone: there a message may break inside a word."""
    lines = lowered.split("\n")
    widths = Counter(len(line) for line in lines if len(line) >= _TERMINAL_WIDTH)
    width, times = widths.most_common(1)[0] if widths else (0, 0)
    ends = ("" if len(line) == width and times > 1 else "\n" for line in lines)
    whole = "".join(line + end for line, end in zip(lines, ends, strict=True))
    return re.sub(r"\s*\n[#>*/\s]*", " ", whole)


@cache
def _spaced(pattern: str) -> re.Pattern[str]:
    return re.compile(
        pattern.replace("SIZE?", r"(\d+)([kmgt])b?").replace("SIZE", _SIZE).replace(" ", r"\s*")
    )


def _sizes(pattern: str, text: str) -> Iterator[float]:
    for match in _spaced(pattern).finditer(text):
        groups = [group for group in match.groups() if group is not None]
        yield gib(groups[0], groups[1])


def _last_size(pattern: str, text: str) -> float | None:
    sizes = list(_sizes(pattern, text))
    return sizes[-1] if sizes else None


def _allocator_figures(lowered: str) -> Numbers:
    message = _last_message(lowered)
    found: Numbers = {}
    for key, pattern in _ALLOCATOR:
        if (size := _last_size(pattern, lowered if key.startswith("mps") else message)) is not None:
            found[key] = size
    if others := list(_sizes(r"process \d+ has SIZE", message)):
        found["other_process_gib"] = round(sum(others), 4)
    return found or _other_request(lowered)


def _last_message(lowered: str) -> str:
    """The last allocator message, from its first clause on: a log may hold many, and the last ended the run."""
    for first_clause in (r"tried\s*to\s*allocate", r"total\s*capaci?ty\s*of"):
        if starts := [m.start() for m in re.finditer(first_clause, lowered)]:
            return lowered[starts[-1] :][:1400]
    return ""


def _other_request(lowered: str) -> Numbers:
    sizes = [size for pattern in _TRIED for size in _sizes(pattern, lowered)]
    if not sizes and (match := re.search(r"you tried to allocate (\d+) ?(gb|bytes)", lowered)):
        sizes = [gib(*match.groups())]
    return {"tried_gib": sizes[-1]} if sizes else {}


def _tensor_shape(lowered: str) -> list[int] | None:
    shapes = re.findall(
        r"allocating tensor with shape\s*\[([\d,\s]+)\]|for an array with shape \(([\d,\s]+)\)", lowered
    )
    if not shapes:
        return None
    return [int(part) for part in re.findall(r"\d+", next(filter(None, shapes[-1])))]


def _prose_figure(key: str, pattern: str, lowered: str) -> Value | None:
    matches = list(re.finditer(pattern, lowered))
    if key == "gpu_util_pct":
        matches = [m for m in matches if _about_the_gpu(lowered, m)]
        return float(matches[-1][1]) if matches else None
    values = [float(m[1].replace(",", "")) for m in matches]
    if not values:
        return None
    chosen = min(values) if key == "fps" else values[0]
    return int(chosen) if chosen == int(chosen) else chosen


def _about_the_gpu(lowered: str, percentage: re.Match[str]) -> bool:
    """Whether the device named last before a percentage, or right behind it, is a GPU."""
    before = re.findall(
        r"gpu|cuda|cpu|util|利用率|使用率|占用|그래픽|사용량|显卡",
        lowered[max(0, percentage.start() - 50) : percentage.start()],
    )
    if before:
        return bool(before[-1] != "cpu")
    return re.search(r"gpu|util", lowered[percentage.end() : percentage.end() + 30]) is not None


def _latency(lowered: str) -> Numbers:
    match = re.search(
        r"(?<![\d.:-])(\d+(?:\.\d+)?) ?(ms|msec|milliseconds|毫秒|s|sec|secs|second|seconds|秒)(?![a-z]| ?/)",
        lowered,
    )
    if not match:
        return {}
    value = float(match[1])
    if match[2].startswith("m") or match[2] == "毫秒":
        return {"latency_ms": value}
    return {"latency_ms": round(value * 1000, 4)} if value < 1 else {"latency_s": value}


def _money(lowered: str) -> Numbers:
    match = re.search(
        r"(?:[$€£]|usd ?|us\$ ?)(\d[\d,]*(?:\.\d+)?)|(\d[\d,]*(?:\.\d+)?) ?(?:\$|usd|dollars|eur|euros?|€|美元|美金)",
        lowered,
    )
    if not match:
        return {}
    value = float(next(filter(None, match.groups())).replace(",", ""))
    around = lowered[max(0, match.start() - 30) : match.end() + 40]
    if re.search(r"per day|a day|/ ?day|daily|every ?day|per diem|每天", around):
        return {"cost_usd_per_day": value}
    if (
        re.search(r"per month|a month|/ ?month|monthly|every month|/mo\b|每月", around)
        and "per user" not in around
    ):
        return {"cost_usd_per_month": value}
    return {"cost_usd": value}
