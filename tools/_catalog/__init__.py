"""Dated facts with a source each.

gpus        accelerators by name: memory, bandwidth, dense throughput by precision, native number formats
"""
