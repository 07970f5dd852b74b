"""Which remedies belong to which constraint, and which of them change results: views of the one table."""

from .._remedies import BY_ID, ORDER

CONSTRAINTS = tuple(dict.fromkeys(constraint for constraint, _ in ORDER))
FOR = {
    wanted: frozenset(
        name for (constraint, _), names in ORDER.items() if constraint == wanted for name in names
    )
    for wanted in CONSTRAINTS
}
FOR["host_memory"] |= FOR["gpu_memory"]  # where the CPU is the device, its tensors lie in host memory
KNOWN = frozenset(BY_ID)
CHANGES_RESULTS = frozenset(name for name, remedy in BY_ID.items() if remedy.changes_results)
