"""Transforms of arrays (series, time, channels): same seed, same bytes, whatever threads, chunks, order or numba.

streams      a random stream for each (seed, method, series, copy), addressed by position
blocks       how work is cut into blocks for threads, and the checks on what comes in
loops        the fused loops in numba; plain holds the same arithmetic in numpy, operation for operation
noise, warps, mixing, spectral, bootstrap, generators   the transforms, a family a file
"""
