"""Scripts that use mixed precision already: kept, migrated from deprecated names, or declined when half done."""

from ..context import Context
from ..patch import Patch


def existing_amp(context: Context) -> Patch | None:
    """None where the script uses no mixed precision."""
    return None
