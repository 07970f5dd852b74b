"""What an artifact may weigh and take."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What an artifact may weigh and take; None is no limit."""

    latency_seconds: float | None = None
    size_bytes: int | None = None
    memory_bytes: int | None = None

    @property
    def least_harm_counts(self) -> bool:
        """With a latency to keep, what keeps it at the least risk is better than what is faster still."""
        return self.latency_seconds is not None

    def latency_kept_by(self, row: dict[str, Any], smallest_batch: int) -> str:
        """The latency of a row beside the limit that it keeps, in words; empty where it does not, or none is given."""
        latency = row.get("latency_seconds", {}).get(str(smallest_batch), {}).get("p95_seconds")
        if not self.latency_seconds or not latency or latency > self.latency_seconds:
            return ""
        return f"p95 at batch {smallest_batch} is {1000 * latency:.3g} of {1000 * self.latency_seconds:g} ms"

    def broken_by(self, row: dict[str, Any], smallest_batch: int, percentile: str = "p95") -> str:
        """The first limit that a row breaks, in words; empty if none."""
        latency = row.get("latency_seconds", {}).get(str(smallest_batch), {}).get(f"{percentile}_seconds")
        if self.latency_seconds and latency and latency > self.latency_seconds:
            wanted = f"max_latency_seconds {self.latency_seconds:g}"
            return f"{percentile} at batch {smallest_batch} is {latency:.3g} s, above {wanted}"
        if self.size_bytes and row["size_bytes"] > self.size_bytes:
            return f"{row['size_bytes']} bytes, above max_size_bytes {self.size_bytes}"
        used = row.get("peak_rss_bytes")
        if self.memory_bytes and used and used > self.memory_bytes:
            return f"peak memory {used} bytes, above max_memory_bytes {self.memory_bytes}"
        return ""
