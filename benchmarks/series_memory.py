"""Peak memory of augment_series on a Parquet file larger than its limit: `python benchmarks/series_memory.py [GB]`.

Writes a file of GB (default 1) gigabytes, uncompressed and grouped by series, into a temporary folder (TMPDIR; it
takes three times as much), augments it in a process of its own and prints the peak resident size of that process.
Appends to benchmarks/results/series_memory.csv.
"""

import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

STEPS, GROUP = 500, 1000  # steps a series, series a row group
ROW_BYTES = 24


def write(path: Path, gigabytes: float) -> int:
    """Random walks of 500 steps; gives the number of rows."""
    groups = max(1, round(gigabytes * 1e9 / (ROW_BYTES * STEPS * GROUP)))
    writer = None
    for number in range(groups):
        rng = np.random.default_rng(number)
        ids = np.repeat(np.arange(number * GROUP, (number + 1) * GROUP), STEPS)
        steps = np.tile(np.arange(STEPS), GROUP)
        walk = rng.normal(size=(GROUP, STEPS)).cumsum(axis=1).reshape(-1)
        table = pa.table({"unique_id": pa.array(ids).cast(pa.string()), "t": steps, "y": walk})
        writer = writer or pa_parquet.ParquetWriter(
            path, table.schema, compression="none", use_dictionary=False
        )
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return groups * GROUP * STEPS


def augment(path: str, output: str) -> None:
    """Augment the file here and print the peak resident size."""
    from optimizing_resources.tools.augment_series import AugmentSeriesRequest
    from optimizing_resources.tools.augment_series.augment_file import augment_file

    request = AugmentSeriesRequest(path=Path(path), output=Path(output), methods=["jitter"], train_until=449)
    augment_file({**request.model_dump(mode="json"), "root": str(Path(output).parent)}, lambda *_: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    """One line of the table."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        rows = write(path, gigabytes)
        code = f"import series_memory as s; s.augment({str(path)!r}, {str(output)!r})"
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, check=True
        )
        row = {
            "rows": rows, "value_bytes": rows * ROW_BYTES, "file_bytes": path.stat().st_size,
            "output_bytes": output.stat().st_size, "seconds": round(time.perf_counter() - started, 1),
            "peak_rss_bytes": int(done.stdout),
        }  # fmt: skip
    print(row)
    target = Path(__file__).with_name("results") / "series_memory.csv"
    is_new = not target.exists()
    with target.open("a", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, row)
        if is_new:
            out.writeheader()
        out.writerow(row)


if __name__ == "__main__":
    main()
