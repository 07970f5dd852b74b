"""What a machine's name says about its processor: the families of the three large clouds."""

import re

from .._catalog.prices import Machine

# A share of a core, with credits for bursts: "Burstable performance instances" in the Amazon EC2 User Guide, and
# "Shared-core machine types" in Google's Compute Engine guide.
_SHARED = {
    "aws": re.compile(r"t[234]"),
    "gcp": re.compile(r"e2-(micro|small|medium)|f1-|g1-"),
    "azure": re.compile(r"Standard_B"),
}
_ARM = {
    "aws": re.compile(r"[a-z]+\d+[a-z]*g[a-z]*\."),
    "gcp": re.compile(r"c4a-|n4a-|t2a-"),
    "azure": re.compile(r"Standard_[A-Z]+\d+[a-z]*p"),
}

# Still listed, hard to get, and karpenter-provider-aws dropped their specs.
_LEGACY = re.compile(r"(p2|p3|p3dn|g2|g3|g3s)\.")


def is_legacy(machine: Machine) -> bool:
    return machine.provider == "aws" and bool(_LEGACY.match(machine.name))


def shares_a_core(machine: Machine) -> bool:
    """It cannot be busy all the time at the speed it starts with."""
    return bool((known := _SHARED.get(machine.provider)) and known.match(machine.name))


def is_arm(provider: str | None, machine: str | None) -> bool:
    """Packages and images must be built for arm64."""
    return bool((known := _ARM.get(provider or "")) and known.match(machine or ""))
