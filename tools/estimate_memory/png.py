"""Areas, lines and text as a PNG, by the standard library alone: nothing to install, nothing for a server to load.

Text is set in a font of five columns and eight rows, twice enlarged.
"""

import struct
import zlib
from collections.abc import Sequence

from .shapes import Area, Line, Shape, Text

ADVANCE, HEIGHT = 12, 16  # of a character, in pixels
_SCALE = 2
# Five bytes a character from blank to tilde, a byte a column, the lowest bit on top.
_FONT = bytes.fromhex(
    "000000000000005f00000007000700147f147f14242a7f2a12231308646236495620500008070300001c2241000041221c002a1c7f1c2a"
    "08083e080800503000000808080808006060000020100804023e5149453e00427f400072494949462141494d331814127f102745454539"
    "3c4a49493141211109073649494936464949291e0036360000005636000000081422411414141414004122140802015909063e415d594e"
    "7c1211127c7f494949363e414141227f4141413e7f494949417f090909013e414151737f0808087f00417f41002040413f017f08142241"
    "7f404040407f021c027f7f0408107f3e4141413e7f090909063e4151215e7f09192946264949493203017f01033f4040403f1f2040201f"
    "3f4038403f631408146303047804036159494d43007f4141410204081020004141417f0402010204404040404000030708002054547840"
    "7f284444383844444428384444287f385454541800087e090218a4a49c787f0804047800447d40002040403d007f1028440000417f4000"
    "7c047804787c080404783844444438fc1824241818242418fc7c08040408485454542404043f44243c4040207c1c2040201c3c4030403c"
    "44281028444c9090907c4464544c440008364100000077000000413608000201020402"
)


def draw(width: int, height: int, shapes: Sequence[Shape]) -> bytes:
    """The shapes, later ones on top, on white. What lies outside the picture is cut off."""
    colours = ["#ffffff", *dict.fromkeys(shape.colour for shape in shapes)]
    canvas = _Canvas(width, height)
    for shape in shapes:
        _paint(canvas, shape, colours.index(shape.colour))
    rows = b"".join(b"\0" + canvas.pixels[at : at + width] for at in range(0, width * height, width))
    palette = b"".join(bytes.fromhex(colour[1:7]) for colour in colours)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # eight bits a pixel, from a palette
    parts = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


class _Canvas:
    """Pixels as palette numbers, row by row."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height, self.pixels = width, height, bytearray(width * height)

    def fill(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        x, right = max(0, x), min(self.width, x + width)
        for row in range(max(0, y), min(self.height, y + height)):
            self.pixels[row * self.width + x : row * self.width + right] = bytes([colour]) * max(0, right - x)


def _paint(canvas: _Canvas, shape: Shape, colour: int) -> None:
    if isinstance(shape, Area):
        _paint_area(canvas, shape, colour)
    elif isinstance(shape, Line):
        _paint_line(canvas, shape, colour)
    else:
        _paint_text(canvas, shape, colour)


def _paint_area(canvas: _Canvas, area: Area, colour: int) -> None:
    """Column by column, in a straight line from one point to the next."""
    at = 0
    for x in range(round(area.xs[0]), round(area.xs[-1]) + 1):
        while at < len(area.xs) - 2 and area.xs[at + 1] < x:
            at += 1
        after = min(at + 1, len(area.xs) - 1)
        span = area.xs[after] - area.xs[at]
        share = min(1.0, max(0.0, (x - area.xs[at]) / span)) if span else 0.0
        top, bottom = (round(ys[at] + (ys[after] - ys[at]) * share) for ys in (area.tops, area.bottoms))
        canvas.fill(x, top, 1, bottom - top, colour)


def _paint_line(canvas: _Canvas, line: Line, colour: int) -> None:
    dash, gap = (10, 6) if line.dashed else (line.length, 0)
    for start in range(0, line.length, dash + gap):
        long = min(dash, line.length - start)
        if line.vertical:
            canvas.fill(round(line.x), round(line.y) + start, 1, long, colour)
        else:
            canvas.fill(round(line.x) + start, round(line.y), long, 2, colour)


def _paint_text(canvas: _Canvas, text: Text, colour: int) -> None:
    x, y = round(text.x), round(text.y) - HEIGHT + 4
    x -= len(text.text) * ADVANCE if text.ends else 0
    for place, character in enumerate(text.text):
        number = ord(character) - 32
        for column, bits in enumerate(
            _FONT[5 * number : 5 * number + 5] if 0 <= number < 95 else b"\x7f" * 5
        ):
            for row in range(8):
                if bits >> row & 1:
                    left = x + place * ADVANCE + column * _SCALE
                    canvas.fill(left, y + row * _SCALE, _SCALE, _SCALE, colour)
