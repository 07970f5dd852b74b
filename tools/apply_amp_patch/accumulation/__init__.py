"""What gradient accumulation needs to know of losses, and the helpers it puts into a script."""
