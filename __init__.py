"""optimizing_resources: the repository root is this package; see README.md for people and SKILL.md for agents."""

from importlib.resources import files
from importlib.resources.abc import Traversable

__version__ = "0.1.0"


def skill_root() -> Traversable:
    """The folder that holds SKILL.md and references/, in a checkout and in a wheel alike."""
    return files(__name__)
