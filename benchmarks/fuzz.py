"""Fuzzing of every parser of outside input, by mutation, fast enough for 100,000 inputs of each in minutes.

    .venv/bin/python benchmarks/fuzz.py [inputs] [target ...]

Inputs are changed seeds and corpus files; one that is answered in a way not seen before joins the corpus, of which the
shortest are kept under benchmarks/corpus/TARGET. The work is done in a child: one that crashes it, spends over 2 s of
CPU or adds over 500 MB of memory is a finding, written to build/fuzz/, and the next child goes on behind it.
fuzz_guided.py runs the same targets guided by coverage.
"""

import faulthandler
import mmap
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOUND = ROOT / "build/fuzz"
CPU_SECONDS, WALL_SECONDS, MEMORY_KIB = 2.0, 600.0, 500_000
MANY = 120_000  # bytes of an input that is repeated
LONGEST, KEPT, REPORTED = 4000, 40, 20
_NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"99999999999999999999",
    b"0.0",
    b"1,000.5",
    b"",
    b"..",
    b"\xd9\xa3",
)
_PIECES = (
    b"\n",
    b"\r",
    b"\x00",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"(",
    b")",
    b"\\",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"  ",
)


class Shared:
    """What a child tells its parent although it dies: how far it is, and the input it is at."""

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, 1 << 20)

    def note(self, number: int, data: bytes) -> None:
        self._bytes[:16] = number.to_bytes(8, "little") + len(data).to_bytes(8, "little")
        self._bytes[16 : 16 + len(data)] = data

    def read(self) -> tuple[int, bytes]:
        size = int.from_bytes(self._bytes[8:16], "little")
        return int.from_bytes(self._bytes[:8], "little"), self._bytes[16 : 16 + size]


def mutated(pool: list[bytes], chance: random.Random) -> bytes:
    """An input of the pool after one to four changes; now and then a part of it many times over."""
    data = chance.choice(pool)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at, size = chance.randint(0, len(data)), chance.randint(1, 1 + len(data) // 4)
        kind = chance.randrange(7)
        if kind == 0 and data:
            at = chance.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + size :]
        elif kind == 2:
            data = data[:at] + data[at : at + size] * 2 + data[at + size :]
        elif kind == 3:
            data = data[:at] + chance.choice(_PIECES) + data[at:]
        elif kind == 4 and (numbers := list(re.finditer(rb"\d[\d.,]*", data))):
            one = chance.choice(numbers)
            data = data[: one.start()] + chance.choice(_NUMBERS) + data[one.end() :]
        elif kind == 5:
            other = chance.choice(pool)
            data = data[:at] + other[chance.randint(0, len(other)) :]
        else:
            data = data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]
    data = data[:LONGEST]
    return data * chance.randint(2, 1 + MANY // (1 + len(data))) if chance.random() < 0.001 else data


def work(name: str, first: int, last: int, shared: Shared) -> None:
    """Inputs `first` to `last` of a target; ends at a finding, and leaves the corpus behind."""
    from fuzz_targets import TARGETS, seeds

    folder = ROOT / "benchmarks/corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    kept = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    pool = [*seeds(name), *kept.values()]
    target, chance = TARGETS[name], random.Random(f"{name} {first}")
    seen = {target(data) for data in kept.values()}
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, last):
        data = mutated(pool, chance)
        shared.note(number, data)
        began = time.process_time()
        try:
            answer = target(data)
        except BaseException:
            report(name, number, data, traceback.format_exc())
            os._exit(1)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_kib
        if (spent := time.process_time() - began) > CPU_SECONDS or grown > MEMORY_KIB:
            report(name, number, data, f"{spent:.1f} s, {grown} KiB more")
            os._exit(1)
        if answer not in seen and len(data) <= LONGEST:
            seen.add(answer)
            pool.append(data)
            if len(kept) < KEPT and len(data) < 1500:
                kept[f"{number:06}"] = data
                (folder / f"{number:06}").write_bytes(data)
    print(f"  {name}: {len(seen)} kinds of answers", flush=True)


def report(name: str, number: int, data: bytes, why: str) -> None:
    """Write a finding down."""
    FOUND.mkdir(parents=True, exist_ok=True)
    (FOUND / f"{name}-{number}").write_bytes(data)
    (FOUND / f"{name}-{number}.txt").write_text(why, encoding="utf-8")
    print(f"  FINDING {name}-{number}: {why.strip().splitlines()[-1][:160]}", flush=True)


def attended(name: str, first: int, last: int, shared: Shared) -> int:
    """Run a child over the inputs; where the next one starts."""
    shared.note(first, b"")
    child = os.fork()
    if not child:
        faulthandler.enable()
        work(name, first, last, shared)
        os._exit(0)
    at, since = first, time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        number, data = shared.read()
        if number != at:
            at, since = number, time.monotonic()
        elif time.monotonic() - since > WALL_SECONDS:
            os.kill(child, signal.SIGKILL)
            report(name, number, data, f"no end within {WALL_SECONDS:g} s")
        time.sleep(0.2)
    number, data = shared.read()
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        report(name, number, data, signal.Signals(os.WTERMSIG(status)).name)
    return last if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else number + 1


def main(inputs: int, names: list[str]) -> None:
    shared = Shared()
    for name in names:
        began, at, ended = time.monotonic(), 0, 0
        while at < inputs and ended < REPORTED:
            at = attended(name, at, inputs, shared)
            ended += at < inputs
        print(f"{name}: {at:,} inputs, {ended} findings, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "benchmarks"))
    ALL = ["text", "log", "script", "patcher", "table", "model", "request", "reply"]
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2:] or ALL)
