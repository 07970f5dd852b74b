"""What a rule is given: the script, its roles, its training, and the caller's wishes."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .loops import Training, find_training
from .roles import Roles
from .script import Script


@dataclass(frozen=True)
class Wishes:
    """The fields of the request that rules read."""

    precision: str = "auto"
    accumulation_steps: int | None = None
    grow_batch: bool = False


@dataclass
class Context:
    script: Script
    wishes: Wishes = field(default_factory=Wishes)
    path: Path | None = None

    @cached_property
    def roles(self) -> Roles:
        return Roles(self.script)

    @cached_property
    def training(self) -> Training:
        return find_training(self.script, self.roles)
