"""What a rule is given: the script, its roles, its training, and the caller's wishes."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .loops import Training, find_training
from .project import imported_scripts
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
    root: Path | None = None  # files outside of it are not read

    @cached_property
    def roles(self) -> Roles:
        return Roles(self.script, self._made_elsewhere)

    @cached_property
    def project(self) -> dict[Path, Script]:
        """The project files that the script imports."""
        return imported_scripts(self.script, self.path, self.root)

    def _made_elsewhere(self, name: str) -> str | None:
        *module, last = name.split(".")
        for path, script in self.project.items():
            if not module or path.stem == module[-1] or path.parent.name == module[-1]:
                found = Roles(script).made_by(last)
                if found is not None and found != "unknown":
                    return found
        return None

    @cached_property
    def training(self) -> Training:
        return find_training(self.script, self.roles)
