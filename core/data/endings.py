"""Whether a picture file is whole, told by its own lengths and marks: a few bytes are read and nothing is decoded.

PNG, JPEG and GIF end with a mark; WebP and BMP say how long they are, and so do the boxes of which AVIF, HEIC and JPEG
XL in a container are made (ISO/IEC 14496-12, 18181-2). TIFF tells where its pieces lie, in tags that Pillow has read
anyway when it tells the size. A naked JPEG XL codestream says nothing of the kind without being decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
JXL_BARE, JXL_BOXES = b"\xff\x0a", b"\x00\x00\x00\x0cJXL "
_GIF = (b"GIF87a", b"GIF89a")

#: A file of more boxes than this is decoded to be sure.
_MOST_BOXES = 4_096

#: Gives bytes of the file: (offset, how many).
_Read = Callable[[int, int], bytes]


def is_webp(head: bytes) -> bool:
    """Whether a file that begins so is WebP."""
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def has_end(head: bytes, tail: bytes, length: int, read: _Read) -> bool:
    """False when something that should be at the end is missing, or cannot be told: decode the file to be sure.

    Args:
        head, tail: The first and last bytes of the file.
        length: Its bytes in all.
        read: For files of boxes, whose lengths stand anywhere.
    """
    if head.startswith(PNG):
        return b"IEND" in tail
    if head.startswith(JPEG):
        return tail.endswith(b"\xff\xd9") or b"\xff\xd9" in tail
    if is_webp(head):
        return int.from_bytes(head[4:8], "little") + 8 <= length
    if head.startswith(_GIF):
        return tail.endswith(b"\0;")  # the end of the last picture's data, and the trailer
    if head.startswith(b"BM"):
        return int.from_bytes(head[2:6], "little") <= length
    if head.startswith(JXL_BOXES):
        return _ends(_boxes(head, length, read), _is_last_of_jxl)
    if head[4:8] == b"ftyp":
        return _ends(_boxes(head, length, read), lambda box: box[4:8] == b"mdat")
    return not head.startswith(JXL_BARE)


def tiff_pieces_fit(tags: Mapping[int, Any], length: int) -> bool:
    """Whether the strips or tiles of a TIFF picture lie within its file of so many bytes, as far as its tags tell.

    TIFF 6.0, sections 3 and 15; `tags` are those of the picture: StripOffsets and StripByteCounts, or those of tiles.
    """
    for offsets, counts in ((273, 279), (324, 325)):
        places, sizes = tags.get(offsets, ()), tags.get(counts, ())
        if any(place + size > length for place, size in zip(places, sizes, strict=False)):
            return False
    return True


def _boxes(head: bytes, length: int, read: _Read) -> Iterator[bytes]:
    """The first 20 bytes of each box on the outermost level; b"" for one that does not fit into the file."""
    place = 0
    for _ in range(_MOST_BOXES):
        if place == length:
            return
        start = head[place : place + 20]
        if len(start) < 20:
            start = read(place, 20)
        size = int.from_bytes(start[:4], "big")
        if size == 1:  # more than 4 GB
            size = int.from_bytes(start[8:16], "big")
        place += size
        if size < 8 or place > length:  # 0: up to the end of the file, wherever that is
            break
        yield start
    yield b""


def _ends(boxes: Iterator[bytes], is_wanted: Callable[[bytes], bool]) -> bool:
    """Whether all boxes fit and one of them is wanted: a file may be cut right between two."""
    found = False
    for box in boxes:
        if not box:
            return False
        found = found or is_wanted(box)
    return found


def _is_last_of_jxl(box: bytes) -> bool:
    """Whether a box is the codestream of a JPEG XL file, or its last part, whose number has the highest bit set."""
    if box[4:8] == b"jxlp":
        place = 16 if box[:4] == b"\0\0\0\1" else 8
        return len(box) > place and bool(box[place] & 0x80)
    return box[4:8] == b"jxlc"
