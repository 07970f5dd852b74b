"""Time series for augment_series and compare_baselines: how they are read, changed and judged.

arrays/      the array engine: seeded streams, fused loops and the transforms f(x, *, seed, ...)
methods      what is known of each transform: what it keeps, how much history it needs, its parameters
intake/      files to series: tables, numbers, time stamps, which column plays which role
"""
