"""An independent judge of patched training scripts: knows mixed precision, nothing of the rewriter.

`faults(patched, original)` lists what is wrong. It reads the source with `ast` alone, follows every path through the
events of a step (scaled backward, unscale, reading of gradients, step, update), and undoes the patch in its own way
to see that nothing else changed. It imports nothing of optimizing_resources.

    python benchmarks/patch_checker.py PATCHED [ORIGINAL]
"""

import sys
from pathlib import Path

from patch_judge import Fault, faults

__all__ = ["Fault", "faults"]

if __name__ == "__main__":
    texts = [Path(p).read_text(encoding="utf-8") for p in sys.argv[1:3]]
    for fault in faults(*texts):
        print(f"line {fault.line}: {fault.code} {fault.detail}")
