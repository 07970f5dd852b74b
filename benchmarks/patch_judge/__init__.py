"""The parts of an independent judge of patched training scripts; it imports nothing of optimizing_resources."""

from .judge import faults
from .words import Fault

__all__ = ["Fault", "faults"]
