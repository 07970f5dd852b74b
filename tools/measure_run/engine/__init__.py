"""Runs one command to its end: limits, samples of its process tree, its output; the probe rides inside it."""
