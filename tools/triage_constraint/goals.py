"""What a text asks for, as arguments of the calls in a plan: latency, size, device, loss of accuracy, horizon, budget.

Only what is asked for in so many words; a figure that the text complains of is no goal.
"""

import re
from typing import Any

from .numbers import Numbers, size

_ASKED_CHARACTERS = 4000  # people state what they want early
_WANT = (
    r"(?:\b(?:need(?: it| this| to get| to be| to reach)?|want(?: it)?|requires?|(?:must|should) be|ha(?:s|ve) to be"
    r"|(?:target|goal|budget|sla)(?: of| is)?|down to|under|below|within|at most|less than|no more than"
    r"|max(?:imum)?(?: of)?)|[<≤]=?)"
)
_GAP = r"(?:[ :=~]|about |around |in |at |to |under |below |a |only ){0,4}"
_LATENCY = re.compile(
    rf"{_WANT}{_GAP}(\d+(?:\.\d+)?) ?(ms|msec|milliseconds?|s|secs?|seconds?)\b(?! of (?:audio|video|speech))"
)
_FRAMES = re.compile(rf"{_WANT}{_GAP}(?:at least )?(\d+(?:\.\d+)?) ?(?:fps|frames per second)\b")
_LIMIT = re.compile(
    rf"(?:{_WANT}|\bfits? in(?:to)?|\blimit(?: is| of|ed to)?){_GAP}(\d+(?:\.\d+)?) ?([kmg])i?b\b"
)
_LOSS = re.compile(
    r"(?:at most|no more than|less than|max(?:imum)?|within|under|lose|losing|drop(?: of)?|cost)(?: \w+){0,3}? "
    r"(\d+(?:\.\d+)?) ?(?:%|percent|percentage points?|points?)(?: \w+){0,3}? ?"
    r"(?:accuracy|acc|f1|quality|loss|drop|map|auc)"
    r"|(?:accuracy|acc|f1|quality|map|auc) (?:may|can|could|might)(?: \w+){1,4}? (\d+(?:\.\d+)?) ?"
    r"(?:%|percent|percentage points?|points?)"
)
_DEVICES = (
    ("raspberry_pi_5", r"raspberry ?pi ?5|\brpi ?5"),
    ("raspberry_pi_4", r"raspberry ?pi ?4|\brpi ?4"),
    ("jetson_orin_nano", r"orin[ -]nano"),
    ("phone", r"\b(?:android|iphone|ios|smartphones?|mobile phones?|phones?)\b"),
    ("container_512mb", r"512 ?mi?b (?:of )?(?:ram |memory )?(?:container|lambda|function|limit|memory|ram)"),
)
_UNIT = r"(hour|day|week|month|quarter|step|period)s?"
_HORIZON = re.compile(
    rf"(\d+)[- ]{_UNIT}(?:[- ]ahead)?[- ](?:forecast|horizon|prediction)"
    rf"|(?:forecast|predict)\w*(?: \w+){{0,4}}? (\d+) {_UNIT}\b|next (\d+) {_UNIT}\b"
)
_FREQUENCY = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter"}
_BUDGET = re.compile(
    r"(?:for|under|below|within|only|at most|up to|budget (?:of|is)|spend|have|no more than)(?: about| only| just)? "
    r"(?:\$|usd ?|us\$)(\d[\d,]*(?:\.\d+)?)(k?)\b(?! ?(?:/|per |a |an |each ))"
)
_DEADLINE = re.compile(
    r"(?:deadline(?: is| of)?|due|finish(?:ed)?|done|ready|results?)(?: \w+){0,2}? (?:in|within) "
    r"(\d+(?:\.\d+)?) (hour|day|week)s?\b"
)
_BUSY = re.compile(
    r"\b(?:busy|used|in use|active)(?: only)?(?: for| about| around| roughly)* (\d+(?:\.\d+)?) ?(?:h|hours?)"
    r" ?(?:a|per|/|each) ?day"
)
_IDLE_AT_WEEKENDS = re.compile(r"\b(?:idle|unused|nobody|not used|off)\b[^.]{0,40}\bweekends?")
_HOURS_A_MONTH = 720
_HOURS = {"hour": 1, "day": 24, "week": 168}
_BYTES = {"k": 1000, "m": 1000**2, "g": 1000**3}


def goals(tool: str, lowered: str, numbers: Numbers) -> dict[str, Any]:
    """Arguments of `tool` that the text states as what is wanted; empty where it states nothing."""
    text = " ".join(lowered[:_ASKED_CHARACTERS].split())
    if tool == "quantize_model":
        device = _device(text)
        # the latency of another device is measured there or not at all
        latency = {} if "device_profile" in device else _latency(text, numbers)
        return {**latency, **device, **_loss(text)}
    if tool in ("prune_model", "distill_model"):
        return _loss(text)
    if tool == "compare_baselines":
        return _horizon(text)
    if tool == "estimate_cost":
        return {**_limits(text), **_bill(text, numbers)}
    return {}


def _latency(text: str, numbers: Numbers) -> dict[str, Any]:
    """The wanted latency in seconds, unless it is the figure that the text complains of."""
    wanted = [float(m[1]) / (1000 if m[2].startswith("m") else 1) for m in _LATENCY.finditer(text)]
    frames = [float(m[1]) for m in _FRAMES.finditer(text)]
    wanted += [1 / rate for rate in frames if rate and rate != size(numbers, "fps")]
    today = [(size(numbers, "latency_ms") or 0) / 1000, size(numbers, "latency_s")]
    asked = [seconds for seconds in wanted if seconds > 0 and seconds not in today]
    return {"max_latency_seconds": round(min(asked), 6)} if asked else {}


def _device(text: str) -> dict[str, Any]:
    named = [name for name, pattern in _DEVICES if re.search(pattern, text)]
    found: dict[str, Any] = {"device_profile": named[0]} if len(named) == 1 else {}
    if re.search(r"\b(?:model|file|apk|app|binary|flash|package|download)\b", text) and (
        m := _LIMIT.search(text)
    ):
        found["max_size_bytes"] = int(float(m[1]) * _BYTES[m[2]])
    return found


def _loss(text: str) -> dict[str, Any]:
    return {"max_metric_drop": f"{match[1] or match[2]}%"} if (match := _LOSS.search(text)) else {}


def _horizon(text: str) -> dict[str, Any]:
    """The number of steps to forecast, where its unit is that of the series."""
    match = _HORIZON.search(text)
    if not match:
        return {}
    steps, unit = (group for group in match.groups() if group)
    named = {step for word, step in _FREQUENCY.items() if re.search(rf"\b{word}\b", text)}
    fits = unit in ("step", "period") or named <= {unit}
    return {"horizon": int(steps)} if fits and int(steps) > 0 else {}


def _bill(text: str, numbers: Numbers) -> dict[str, Any]:
    """The machine that runs already, where its bill and its busy hours are told."""
    monthly, daily = size(numbers, "cost_usd_per_month"), size(numbers, "cost_usd_per_day")
    busy = _BUSY.search(text)
    hourly = monthly / _HOURS_A_MONTH if monthly else daily / 24 if daily else None
    if not hourly or not busy or not 0 < float(busy[1]) <= 24:
        return {}
    found = {"kind": "running", "usd_per_hour": round(hourly, 4), "busy_hours_per_day": float(busy[1])}
    return {"workload": found | ({"busy_days_per_week": 5} if _IDLE_AT_WEEKENDS.search(text) else {})}


def _limits(text: str) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if match := _BUDGET.search(text):
        limits["budget_usd"] = float(match[1].replace(",", "")) * (1000 if match[2] else 1)
    if match := _DEADLINE.search(text):
        limits["deadline_hours"] = float(match[1]) * _HOURS[match[2]]
    return {"constraints": limits} if limits else {}
