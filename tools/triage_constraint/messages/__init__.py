"""The catalogue of message formats, one file per family.

A row speaks for a constraint; its points say how decisive it is (see clues.py). Patterns run over lower-cased
text. To add a format, add a row to the family it belongs to; nothing else changes.
"""

from . import disk_network, gpu_memory, host_memory, machine, not_resource

MESSAGES = (
    *not_resource.MESSAGES,
    *host_memory.MESSAGES,
    *gpu_memory.MESSAGES,
    *machine.MESSAGES,
    *disk_network.MESSAGES,
)
