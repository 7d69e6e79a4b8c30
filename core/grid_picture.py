"""A whole grid as one picture: cells in rows and columns, their labels drawn into it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from core.grid import GridPlan

_GROUND = (255, 255, 255)
_INK = (25, 28, 34)
_LINE = (214, 217, 223)
_MISSING = (238, 240, 243)
_GAP = 4

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(size: int) -> Font:
    """Pillow's built-in face (Aileron, CC0), so that a grid looks the same on every machine."""
    return ImageFont.load_default(size)


def wrap(text: str, face: Font, width: int) -> list[str]:
    """Break a text into lines not wider than `width` pixels; a word that is too long is broken too."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}".strip()
        if face.getlength(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        while face.getlength(word) > width and len(word) > 1:
            cut = len(word)
            while cut > 1 and face.getlength(word[:cut]) > width:
                cut -= 1
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line else lines


def compose(plan: GridPlan, cells: dict[tuple[int, int], Path], z: int) -> Image.Image:
    """Put the cells (x, y) -> file of one value of z together; cells that were not made stay grey."""
    columns, rows, depth = plan.size
    cell_width, cell_height = _cell_size(plan, cells)
    size = max(12, min(28, cell_width // 9))
    face = font(size)
    x_labels, y_labels, z_labels = (axis.labels for axis in plan.axes)
    pad = size // 2
    left = _row_label_width(y_labels, face, cell_width) + pad * 2 if any(y_labels) else 0
    wrapped = [wrap(text, face, cell_width - pad) for text in x_labels]
    head = max((len(lines) for lines in wrapped), default=0) * (size + 4) + pad * 2 if any(x_labels) else 0
    title = size + pad * 3 if depth > 1 and z_labels[z] else 0
    width = left + columns * (cell_width + _GAP) + _GAP
    image = Image.new("RGB", (width, title + head + rows * (cell_height + _GAP) + _GAP), _GROUND)
    draw = ImageDraw.Draw(image)
    if title:
        draw.text((width / 2, title / 2), z_labels[z], _INK, font(size + 4), anchor="mm")
    for x, lines in enumerate(wrapped):
        centre = left + _GAP + x * (cell_width + _GAP) + cell_width / 2
        _draw_lines(draw, lines, centre, title + head / 2, face, size)
    for y, text in enumerate(y_labels):
        middle = title + head + _GAP + y * (cell_height + _GAP) + cell_height / 2
        _draw_lines(draw, wrap(text, face, max(1, left - pad * 2)), left / 2, middle, face, size)
    for x in range(columns):
        for y in range(rows):
            place = (left + _GAP + x * (cell_width + _GAP), title + head + _GAP + y * (cell_height + _GAP))
            _paste(image, draw, cells.get((x, y)), place, (cell_width, cell_height))
    return image


def _cell_size(plan: GridPlan, cells: dict[tuple[int, int], Path]) -> tuple[int, int]:
    """The largest width and height of the cells; the planned ones where none was made."""
    if not cells:
        return plan.shared.width, plan.shared.height
    sizes = []
    for path in cells.values():
        with Image.open(path) as image:
            sizes.append(image.size)
    return max(w for w, _ in sizes), max(h for _, h in sizes)


def _row_label_width(labels: list[str], face: Font, cell_width: int) -> int:
    """Room for the row labels: the longest one, at most one and a half cells."""
    return int(min(max((face.getlength(text) for text in labels), default=0), cell_width * 1.5)) + 1


def _draw_lines(draw: ImageDraw.ImageDraw, lines: list[str], x: float, y: float, face: Font, size: int) -> None:
    """Draw lines centred on a point."""
    top = y - len(lines) * (size + 4) / 2
    for number, line in enumerate(lines):
        draw.text((x, top + (number + 0.5) * (size + 4)), line, _INK, face, anchor="mm")


def _paste(
    image: Image.Image, draw: ImageDraw.ImageDraw, path: Path | None, place: tuple[int, int], size: tuple[int, int]
) -> None:
    if path is None:
        draw.rectangle((*place, place[0] + size[0] - 1, place[1] + size[1] - 1), _MISSING, _LINE)
        return
    with Image.open(path) as cell:
        image.paste(cell.convert("RGB"), place)
