"""What the command prints: its first and last part kept, metrics found by their patterns as it flows by."""

import collections
import re
import threading
import time

HEAD_BYTES = 256 * 1024
TAIL_BYTES = 768 * 1024
_LINE_BYTES = 64 * 1024  # a longer "line" is searched in pieces
_VALUES = 10_000  # kept per metric


class Output(threading.Thread):
    """Drains a pipe in a thread, so that a program that prints without end is neither blocked nor kept whole."""

    def __init__(self, pipe, patterns):
        super().__init__(daemon=True)
        self._pipe = pipe
        self._patterns = {name: re.compile(pattern.encode()) for name, pattern in patterns.items()}
        self._head = bytearray()
        self._tail = collections.deque()
        self._tail_bytes = 0
        self._rest = b""
        self._began = time.monotonic()
        self.bytes = 0
        self.values = {name: [] for name in patterns}

    def run(self):
        for chunk in iter(lambda: self._pipe.read1(1 << 16), b""):
            self.bytes += len(chunk)
            self._keep(chunk)
            if self._patterns:
                self._search(chunk)
        if self._rest:
            self._search(b"\n")

    def found(self):
        """How much was printed, and the values of the metrics with their times."""
        return {"output_bytes": self.bytes, "values": self.values}

    def text(self):
        """What was kept, with a line in the middle that says how much was left out."""
        left_out = self.bytes - len(self._head) - self._tail_bytes
        middle = b"\n[... %d bytes left out ...]\n" % left_out if left_out else b""
        return bytes(self._head) + middle + b"".join(self._tail)

    def _keep(self, chunk):
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room] if room > 0 else b""
        rest = chunk[room:] if room > 0 else chunk
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail_bytes > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())

    def _search(self, chunk):
        """Look at whole lines; a progress bar's carriage return ends a line too."""
        lines = re.split(rb"[\r\n]", self._rest + chunk)
        self._rest = lines.pop() if len(lines[-1]) < _LINE_BYTES else b""
        for name, pattern in self._patterns.items():
            for line in lines:
                for match in pattern.finditer(line):
                    if len(self.values[name]) < _VALUES:
                        found = match.group(1) if pattern.groups else match.group(0)
                        self.values[name].append(
                            (time.monotonic() - self._began, found.decode("utf-8", "replace"))
                        )
