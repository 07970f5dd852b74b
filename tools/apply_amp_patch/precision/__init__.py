"""What mixed precision has to know about a script: device, hazards, gradient readings, updates, checkpoints, old AMP."""
