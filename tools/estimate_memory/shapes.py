"""What a picture is made of, in pixels from the upper left corner; picture.py makes SVG of it, png.py a PNG."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Area:
    """Filled between two curves."""

    colour: str
    xs: list[float]
    tops: list[float]
    bottoms: list[float]


@dataclass(frozen=True)
class Line:
    """To the right or, if vertical, down."""

    colour: str
    x: float
    y: float
    length: int
    vertical: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """Begins or ends at x, stands on y."""

    colour: str
    x: float
    y: float
    text: str
    ends: bool = False


Shape = Area | Line | Text
