"""What is known to be off in the simulation of the step at hand: by operation, with the direction of the error."""

found = {}  # operation -> {"operation", "direction": "too_low" | "too_high" | "either", "note"}


def note(operation, direction, text):
    """The prediction may be off in this direction because of this operation; said once for each."""
    found.setdefault(operation, {"operation": operation, "direction": direction, "note": text})


def upper_bounds():
    """The operations that were taken at their largest."""
    return {name for name, caveat in found.items() if caveat["direction"] == "too_high"}
