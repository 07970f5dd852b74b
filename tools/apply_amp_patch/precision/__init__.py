"""What mixed precision has to know about a script: device, hazards, readings, updates, checkpoints, old AMP."""
