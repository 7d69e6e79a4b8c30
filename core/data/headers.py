"""Headers: a picture's upright size, and whether its file is whole, mostly without decoding it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import imagesize
import xxhash

from core.data.pictures import MAX_PIXELS, PictureError, open_picture, oriented_size, reason_of, too_large

#: Bytes read at a file's start and end.
_HEAD_BYTES = 16_384
_TAIL_BYTES = 4_096

_PNG = b"\x89PNG\r\n\x1a\n"

#: Words in a PNG file that announce an orientation, which imagesize does not read there.
_PNG_ORIENTATION = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


def measure(path: Path) -> tuple[int, int]:
    """(width, height) of a picture after EXIF orientation.

    imagesize reads the plain PNG, JPEG and WebP files, Pillow all others. Files whose end is missing are
    found by the marks that should be there; a file without them is decoded to be sure. Other damage shows
    when the picture is decoded for training.

    Raises PictureError with the reason when the file is no usable picture.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if not head:
                raise PictureError("the file is empty")
            tail = _tail(file, head)
            length = file.seek(0, io.SEEK_END)
        size = _quick_size(head, tail, length)
        return _checked(size) if size else _slow_size(path, _has_end(head, tail, length))
    except OSError as error:
        raise PictureError(reason_of(error, path)) from error


def _tail(file: BinaryIO, head: bytes) -> bytes:
    if len(head) < _HEAD_BYTES:
        return head[-_TAIL_BYTES:]
    file.seek(-_TAIL_BYTES, io.SEEK_END)
    return file.read(_TAIL_BYTES)


def _has_end(head: bytes, tail: bytes, length: int) -> bool:
    """False when the mark that ends a PNG, JPEG or WebP file is missing; other formats have no such mark."""
    if head.startswith(_PNG):
        return b"IEND" in tail
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in tail
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= length
    return True


def _quick_size(head: bytes, tail: bytes, length: int) -> tuple[int, int] | None:
    """The size by imagesize; None where Pillow must look: other formats, orientations, files cut short."""
    if not _has_end(head, tail, length):
        return None
    if head.startswith(_PNG):
        turned = any(word in head or word in tail for word in _PNG_ORIENTATION)
    elif head.startswith(b"\xff\xd8"):
        turned = b"Exif\0" in head or b"tiff:Orientation" in head
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        turned = head[12:16] == b"VP8X" and bool(head[20:21] and head[20] & 0b1100)
    else:
        return None
    if turned:
        return None
    try:
        width, height = imagesize.get(io.BytesIO(head))
    except Exception:  # a header that it does not know or that is longer than what was read: Pillow decides
        return None
    return (width, height) if width > 0 and height > 0 else None


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] * size[1] > MAX_PIXELS:
        raise PictureError(too_large(*size))
    return size


def _slow_size(path: Path, whole: bool) -> tuple[int, int]:
    """The size by Pillow; a file that seems cut short is decoded."""
    with open_picture(path) as image:
        try:
            if not whole:
                image.load()
            return oriented_size(image)
        except Exception as error:  # whatever a decoder stumbles over is the file's fault
            raise PictureError(reason_of(error, path)) from error


def content_hash(path: Path) -> str:
    """xxh3_128 of the file's bytes, 32 hex digits: the name of a picture's content; OSError if unreadable."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
