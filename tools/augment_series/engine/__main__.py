"""Runs `augment_file`; our own interpreter starts it, so our package is at hand."""

from optimizing_resources.tools._series.report import replying
from optimizing_resources.tools.augment_series.augment_file import augment_file

answer = replying(augment_file)
