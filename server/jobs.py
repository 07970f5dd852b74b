"""Whose turn it is: tools that do more than read run a few at a time, and the others wait in line."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from ..tools._core.contract import Report, Tool, ToolError
from .kept import run_and_keep

PER_CLIENT = 2  # one that runs and one beside it; more would spoil each other's measurements
WAITING = 16  # jobs of one client in line; a client with more than that has lost count

Say = Callable[[float, float | None, str], Awaitable[None]]


@dataclass(eq=False)
class _Ticket:
    client: str
    moved: anyio.Event = field(default_factory=anyio.Event)


class Jobs:
    """Runs tools in threads. Light ones (which only read) at once, the others in their turn, in order of arrival."""

    def __init__(self, per_client: int = PER_CLIENT, in_all: int | None = None) -> None:
        self._per_client = per_client
        self._in_all = max(in_all or os.cpu_count() or 1, per_client)
        self._line: list[_Ticket] = []
        self._running: Counter[str] = Counter()

    async def run(self, tool: Tool, request: Any, client: str, say: Say) -> Report:
        """The tool's Report. While it waits, `say` tells its place; a negative progress, so that it only grows."""
        if tool.effect == "reads":
            return await anyio.to_thread.run_sync(tool.run, request)
        async with self.turn(client, say):
            own_thread = anyio.CapacityLimiter(1)  # a job takes none of the threads that light calls share
            return await anyio.to_thread.run_sync(run_and_keep, tool, request, limiter=own_thread)

    @asynccontextmanager
    async def turn(self, client: str, say: Say) -> AsyncIterator[None]:
        """One of the client's places, from when it is free to the end of the `with` block."""
        if sum(other.client == client for other in self._line) >= WAITING:
            raise ToolError(
                "Too many of your jobs wait already",
                saw=f"{WAITING} in line",
                try_next="again when one is done",
            )
        ticket = _Ticket(client)
        self._line.append(ticket)
        try:
            self._admit()
            await self._wait(ticket, say)
            yield
        finally:
            if ticket in self._line:
                self._line.remove(ticket)
            else:
                self._running[client] -= 1
            self._admit()

    async def _wait(self, ticket: _Ticket, say: Say) -> None:
        told = 0
        while ticket in self._line:
            moved, place = ticket.moved, self._line.index(ticket) + 1
            if place != told:
                await say(-place, None, f"waiting for a free place, position {place} in line")
                told = place
            else:
                await moved.wait()

    def _admit(self) -> None:
        """Let in who may run; tell the others that the line moved."""
        for ticket in list(self._line):
            if self._running.total() < self._in_all and self._running[ticket.client] < self._per_client:
                self._running[ticket.client] += 1
                self._line.remove(ticket)
            moved, ticket.moved = ticket.moved, anyio.Event()
            moved.set()
