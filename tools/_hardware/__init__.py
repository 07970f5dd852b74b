"""Readings of the machine, shared by the tools that need one: what this process may really use, not what the box has.

survey       all readings together: `survey_here(python)` for this machine
system       where readings come from (a tree, an environment), and their notes
host         processor, memory, disk; cgroup and scheduler hold the limits on them
nvidia       GPUs through NVML, asked in a process of its own (nvml_probe); other_gpus reads AMD, Intel, Jetson, Apple
software     the frameworks of an interpreter (engine), and why CUDA is not available there
recommend    first settings that follow; text is what people and models read
"""
