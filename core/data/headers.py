"""Headers: a picture's upright size, its signature, and whether its file is whole, mostly without decoding it."""

# Numbers of open files and os functions: a file object costs as much time as reading from a warm disk.

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imagesize
import xxhash

from core.data.endings import JPEG, JXL_BARE, JXL_BOXES, PNG, has_end, is_webp, tiff_pieces_fit
from core.data.reasons import MAX_PIXELS, PictureError, reason_of, too_large

if TYPE_CHECKING:
    from PIL import Image

#: Bytes read at a file's start, in its middle and at its end.
_HEAD_BYTES = 16_384
_MIDDLE_BYTES = 4_096
_TAIL_BYTES = 4_096

#: Larger files that are not compressed are told apart only by all of their bytes.
_BLOCK = 1 << 20

#: Words in a PNG file that announce an orientation, which imagesize does not read there.
_PNG_ORIENTATION = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")

_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Header:
    """What the beginning and the end of a picture file tell.

    Attributes:
        width, height: Pixels after EXIF orientation.
        signature: 16 bytes, xxh3_128 over the length (8 bytes, little end first) and the first 16 KiB, 4 KiB in the
            middle and the last 4 KiB; over the whole file where it is no longer than that, or of a kind that is not
            compressed, in which a change may leave all these places as they are.
        alpha: Whether it has transparency.
    """

    width: int
    height: int
    signature: bytes
    alpha: bool


def _seek_and_read(descriptor: int, size: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


_read_at = getattr(os, "pread", _seek_and_read)  # Windows has none


class Part:
    """A stretch of an open file: all of it, or a member of an archive."""

    def __init__(self, descriptor: int, start: int = 0, length: int = -1) -> None:
        """`length` is found out for -1, which is a whole file."""
        self._descriptor = descriptor
        self._start = start
        self.length = os.lseek(descriptor, 0, os.SEEK_END) if length < 0 else length

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; OSError as the disk gives it."""
        size = min(size, self.length - offset)
        if size <= 0:
            return b""
        start = self._start + offset
        data: bytes = _read_at(self._descriptor, size, start)
        while len(data) < size and (more := _read_at(self._descriptor, size - len(data), start + len(data))):
            data += more
        return data


def examine(path: str) -> Header:
    """The header of a picture file.

    imagesize reads plain PNG, JPEG and WebP files, Pillow all others. Files whose end is missing are found by the marks
    and lengths in them (core/data/endings.py); a file without them is decoded to be sure. Other damage shows when the
    picture is decoded for training.

    Raises PictureError with the reason when the file is no usable picture.
    """
    try:
        descriptor = os.open(path, _OPEN)
        try:
            return examine_part(Part(descriptor))
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise PictureError(reason_of(error)) from error


def examine_part(part: Part) -> Header:
    """The same for a stretch of an open file; raises OSError too."""
    head = part.read(0, _HEAD_BYTES)
    if not head:
        raise PictureError("the file is empty")
    tail = head[-_TAIL_BYTES:] if part.length <= _HEAD_BYTES else part.read(part.length - _TAIL_BYTES, _TAIL_BYTES)
    signature = _signature(part, head, tail)
    whole = has_end(head, tail, part.length, part.read)
    size = _quick_size(head, tail) if whole else None
    if size is None:
        width, height, alpha = _slow_size(part, head, whole)
        return Header(width, height, signature, alpha)
    return Header(*_checked(size), signature, _has_alpha(head))


def measure(path: Path) -> tuple[int, int]:
    """(width, height) of a picture after EXIF orientation; PictureError as examine()."""
    header = examine(str(path))
    return header.width, header.height


def _signature(part: Part, head: bytes, tail: bytes) -> bytes:
    digest = xxhash.xxh3_128(part.length.to_bytes(8, "little"))
    digest.update(head)
    if part.length <= _HEAD_BYTES:
        return digest.digest()
    if part.length > _HEAD_BYTES + _MIDDLE_BYTES + _TAIL_BYTES and _is_compressed(head):
        digest.update(part.read((part.length - _MIDDLE_BYTES) // 2, _MIDDLE_BYTES))
        digest.update(tail)
        return digest.digest()
    for offset in range(_HEAD_BYTES, part.length, _BLOCK):
        digest.update(part.read(offset, _BLOCK))
    return digest.digest()


def _is_compressed(head: bytes) -> bool:
    """Whether any change of the picture changes the length or the bytes after it: PNG, JPEG, WebP, AVIF, HEIC, JXL."""
    return head.startswith((PNG, JPEG, JXL_BARE, JXL_BOXES)) or head[4:8] == b"ftyp" or is_webp(head)


def _quick_size(head: bytes, tail: bytes) -> tuple[int, int] | None:
    """The size of a plain PNG, and by imagesize that of a JPEG or WebP file.

    None where Pillow must look: other formats, orientations that imagesize does not read.
    """
    if head.startswith(PNG):
        place = head.find(b"IDAT")
        if place < 0 or any(word in head[:place] or word in tail for word in _PNG_ORIENTATION):
            return None
        size = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        return size if head[12:16] == b"IHDR" and all(size) else None
    if head.startswith(JPEG):
        turned = b"tiff:Orientation" in head
    elif is_webp(head):
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


def _has_alpha(head: bytes) -> bool:
    """Whether a PNG or WebP file announces transparency."""
    if head.startswith(PNG):
        return head[25:26] in (b"\4", b"\6") or b"tRNS" in head[: head.find(b"IDAT")]
    if head[12:16] == b"VP8X":
        return bool(head[20] & 0x10)
    return head[12:16] == b"VP8L" and bool(head[24] & 0x10)


def _checked(size: tuple[int, int]) -> tuple[int, int]:
    if size[0] * size[1] > MAX_PIXELS:
        raise PictureError(too_large(*size))
    return size


def _slow_size(part: Part, head: bytes, whole: bool) -> tuple[int, int, bool]:
    """(width, height, alpha) by Pillow; a file that seems cut short is decoded."""
    from core.data.pictures import open_picture, oriented_size

    file = io.BufferedReader(_PartFile(part))
    with open_picture(file) as image:
        try:
            if not whole or not tiff_pieces_fit(getattr(image, "tag_v2", {}), part.length):
                image.load()
            return *oriented_size(image), has_alpha(image)
        except Exception as error:  # whatever a decoder stumbles over is the file's fault
            raise PictureError(reason_of(error, head)) from error


def has_alpha(image: Image.Image) -> bool:
    """Whether an opened picture has transparency."""
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


class _PartFile(io.RawIOBase):
    """A Part as a file for Pillow."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part, self._place = part, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._part.length}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._part.read(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def content_hash(path: Path) -> str:
    """xxh3_128 of the file's bytes, 32 hex digits: the name of a picture's content; OSError if unreadable."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
