"""CPU seconds from starting the server to the reply to tools/list, beside a bare `import mcp.server`.

    .venv/bin/python benchmarks/startup.py [repeats]

Both are whole processes, user plus system time by wait4, alternating so that a busy machine slows both alike.
"""

import json
import os
import statistics
import subprocess
import sys

CLIENT = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
MESSAGES = [
    {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": CLIENT},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
]
BARE = [sys.executable, "-P", "-c", "import mcp.server"]
SERVE = [sys.executable, "-P", "-m", "optimizing_resources", "serve"]


def cpu_seconds(command: list[str], messages: list[dict[str, object]]) -> tuple[float, int]:
    """CPU seconds of one process, and the bytes of its last reply."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin and child.stdout
    reply = b""
    for message in messages:
        child.stdin.write(json.dumps(message).encode() + b"\n")
        child.stdin.flush()
        reply = child.stdout.readline() if "id" in message else reply
    child.stdin.close()
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    child.stdout.close()
    return usage.ru_utime + usage.ru_stime, len(reply)


def main(repeats: int) -> None:
    cpu_seconds(BARE, []), cpu_seconds(SERVE, MESSAGES)  # fill the caches
    bare, ours, size = [], [], 0
    for _ in range(repeats):
        bare.append(cpu_seconds(BARE, [])[0])
        seconds, size = cpu_seconds(SERVE, MESSAGES)
        ours.append(seconds)
    above = statistics.median(ours) - statistics.median(bare)
    print(
        f"import mcp.server      {statistics.median(bare):.3f} s CPU (median of {repeats}, best {min(bare):.3f})"
    )
    print(
        f"serve to tools/list    {statistics.median(ours):.3f} s CPU (median of {repeats}, best {min(ours):.3f})"
    )
    print(f"above the bare import  {above:.3f} s CPU; the reply has {size} bytes")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
