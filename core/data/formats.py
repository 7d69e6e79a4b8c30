"""Formats that Pillow does not read itself: JPEG XL by pylibjxl, HEIC by pi-heif; loaded when such a file is met."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from PIL import Image, ImageFile

#: Bytes of a JPEG XL file that mostly tell its size.
_PROBED = 65_536

_JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")


#: Formats of Pillow's that are read, whatever a file is called. Left out: what another program would draw (EPS, WMF),
#: what has no mark of its own (TGA takes noise for a picture), and what no one trains on.
OF_PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "DIB", "ICO", "PSD", "QOI")


def others() -> list[str]:
    """The further formats, as Pillow knows them now; without those whose library is not installed (rare machines)."""
    if JxlFile.format not in Image.OPEN:
        with contextlib.suppress(ImportError):
            import pi_heif

            pi_heif.register_heif_opener()
        with contextlib.suppress(ImportError):
            import pylibjxl  # noqa: F401  # only to see whether it is there

            Image.register_open(JxlFile.format, JxlFile, lambda head: head.startswith(_JXL))
    return [name for name in ("HEIF", JxlFile.format) if name in Image.OPEN]


class JxlFile(ImageFile.ImageFile):
    """A JPEG XL file, upright already (libjxl turns it) and of 8 bits; of an animation the first frame."""

    format = "JXL"
    format_description = "JPEG XL"

    _decoded = False

    def _open(self) -> None:
        assert self.fp is not None
        found = self._probe()
        if found is None:
            raise SyntaxError("not a JPEG XL file")  # Pillow's sign
        self._size = found["width"], found["height"]
        grey, alpha = found["color_channels"] == 1, found["has_alpha"]
        self._mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
        self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]

    def _probe(self) -> dict[str, Any] | None:
        assert self.fp is not None
        head = self.fp.read(_PROBED)
        return _probed(head) or _probed(head + self.fp.read())

    def load(self) -> Any:
        """Decode; ValueError for damaged data."""
        if self.tile and self.fp is not None and not self._decoded:
            import pylibjxl

            self.fp.seek(0)
            try:
                pixels = pylibjxl.decode(self.fp.read())
            except RuntimeError as error:
                raise ValueError(f"JPEG XL: {error}") from error
            if self._exclusive_fp:
                self.fp.close()
            self._decoded = True
            self.fp = io.BytesIO(pixels.tobytes())
        return super().load()


def _probed(data: bytes) -> dict[str, Any] | None:
    import pylibjxl

    try:
        found: dict[str, Any] = pylibjxl.probe(data)
    except RuntimeError:
        return None
    return found
