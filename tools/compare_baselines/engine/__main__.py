"""Runs `compare_file`; our own interpreter starts it, so our package is at hand."""

from optimizing_resources.tools._series.report import replying
from optimizing_resources.tools.compare_baselines.compare_file import compare_file

answer = replying(compare_file)
