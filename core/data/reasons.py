"""Reasons: why a file cannot be used as a picture, in short words. Light: loads no decoder until it is needed."""

from __future__ import annotations

import codecs
from typing import BinaryIO

#: Pictures above this are taken for decompression bombs: 1.5 GB as RGB.
MAX_PIXELS = 500_000_000

UNREADABLE = "the file cannot be read"
MISSING = "the file is missing"

#: What each signature in a file's first bytes is called in a reason.
_OTHER_FILES = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"<htm": "a web page",
    b"<!DO": "a web page",
    b"<svg": "an SVG drawing",
    b"<?xm": "an XML file",
}


class PictureError(Exception):
    """A file that cannot be used as a picture; its text is the reason, short, without the path."""


def too_large(width: int, height: int) -> str:
    """The reason for a picture above MAX_PIXELS."""
    return f"too large: {width} x {height} pixels; the limit is {MAX_PIXELS // 1_000_000} million"


def may_pass(reason: str) -> bool:
    """True for a reason that lies in the disk or the permissions and may be gone without a new file."""
    return reason.startswith((UNREADABLE, MISSING))


def reason_of(error: Exception, head: bytes = b"") -> str:
    """The short reason for what a decoder raised; `head` is the file's beginning, for files of another kind."""
    if isinstance(error, PictureError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, OSError) and error.errno is not None:
        return f"{UNREADABLE} ({error.strerror})"
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine"
    if type(error).__name__ == "UnidentifiedImageError":
        return what_else(head)
    text = str(error)
    if "truncated" in text or isinstance(error, EOFError):
        return "the file is cut short"
    return f"the file is damaged ({text or type(error).__name__})"


def head_of(file: BinaryIO) -> bytes:
    """The first bytes of an open file, for reason_of(); b"" when they cannot be read."""
    try:
        file.seek(0)
        return file.read(256)
    except (OSError, ValueError):
        return b""


def what_else(head: bytes) -> str:
    """The reason for a file that no decoder knows."""
    head = head[:256]
    if not head:
        return "the file is empty"
    if not any(head):
        return "the file holds only zeros; the disk or the copying may have failed"
    for signature, name in _OTHER_FILES.items():
        if head.startswith(signature):
            return f"not a picture but {name}"
    return "not a picture but a text file" if _is_text(head) else "not a picture, or its beginning is damaged"


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # takes a letter cut off at the end
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)
