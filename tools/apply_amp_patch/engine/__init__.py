"""Runs one version of the caller's script for a few optimizer steps and reports the losses. Python 3.9, needs torch."""
