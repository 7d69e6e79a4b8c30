"""The selected picture with its captions, edited in place; what the model will read of them; pictures like it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from core.data.caption_edit import Part
from core.errors import Stopped
from gui.widgets.background import Background
from gui.widgets.basics import Empty, IconLabel, Scroller, button, label, row, set_icon
from gui.widgets.caption_draws import CaptionDraws
from gui.widgets.caption_field import CaptionField
from gui.widgets.picture_box import PictureBox
from gui.widgets.picture_views import NO_CAPTION, Mark, Tile

if TYPE_CHECKING:
    from core.data.captions import Captions
    from core.data.index import Picture
    from core.data.token_jobs import TokenCounter

#: Writes a caption file: (picture, which file, text); raises UserError.
Write = Callable[["Picture", Part, str], None]


class CaptionPanel(QWidget):
    """Picture, facts, the two captions.

    Signals:
        written: The Tile with its new captions.
        failed: A sentence for the user.
        hold_wanted: (whether to hold the picture out, None to leave it to chance).
        tile_wanted: The Tile of a picture like this one, which was clicked.
    """

    written = Signal(object)
    failed = Signal(str)
    hold_wanted = Signal(object)
    tile_wanted = Signal(object)

    def __init__(self, write: Write, tokens: TokenCounter) -> None:
        super().__init__()
        self.tile: Tile | None = None
        self._tokens = tokens
        self._write = write
        self._settings: Any = None
        self._counter = Background(self)
        self._picture = PictureBox(208)
        self.name, self.facts = label("", "value", wrap=True), label("", "dim", wrap=True)
        self.marks = _Marks()
        self.twins = _Twins()
        self.hold = button("Hold out", "ruler", tip="Never train on this picture, but measure on it")
        self.put_back = button("Leave to chance", look="quiet", tip="Let the held-out share decide again")
        self.tags = CaptionField("Tags (.txt)", "Tags, separated by commas")
        self.sentence = CaptionField("Sentence (.caption)", "A sentence that says what is to be seen")
        self.saved = label("", "dim", wrap=True)
        self.draws = CaptionDraws()
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        self._empty = Empty(
            "picture", "No picture selected", "Click a picture to see it large and edit its captions.", width=240
        )
        self._whole = Scroller(
            self._picture,
            self.name,
            self.facts,
            self.marks,
            self.tags,
            self.sentence,
            self.saved,
            row(self.hold, self.put_back, None),
            self.twins,
            label("What the model will read", "heading"),
            self.draws,
            spacing=8,
        )
        self._whole.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._empty)
        layout.addWidget(self._whole)

    def _connect(self) -> None:
        for field in self.fields:
            field.written.connect(self._written)
            field.failed.connect(self.failed)
            field.uncounted.connect(self._count)
        self._counter.done.connect(self._counted)
        self._counter.failed.connect(self._not_counted)
        self.hold.clicked.connect(lambda: self.hold_wanted.emit(not self._held))
        self.put_back.clicked.connect(lambda: self.hold_wanted.emit(None))
        self.twins.clicked.connect(self.tile_wanted)

    @property
    def fields(self) -> tuple[CaptionField, CaptionField]:
        """The two captions."""
        return self.tags, self.sentence

    @property
    def _held(self) -> bool:
        return self.tile is not None and any(mark.icon == "ruler" for mark in self.tile.marks)

    # -- showing ----------------------------------------------------------------------------------------------

    def show_settings(self, settings: Any) -> None:
        """The settings decide what is read, and how much of it."""
        self._settings = settings
        if self.tile is not None:
            self._count()

    def show_tile(self, tile: Tile) -> None:
        """Show a picture and its captions; those of the picture before are saved first."""
        again = self.tile is not None and self.tile.picture.path == tile.picture.path
        self.save()
        self.tile = tile
        picture = tile.picture
        self._empty.hide()
        self._whole.show()
        self.name.setText(Path(picture.path).name)
        self.name.setToolTip(picture.path)
        self.facts.setText(f"{picture.width} × {picture.height} px" if picture.width else "")
        self._show_marks()
        if again:
            return
        self._picture.show_path(picture.path)
        self.twins.show_tiles(())
        self._show_texts(picture)

    def _show_texts(self, picture: Picture) -> None:
        from core.data import source

        archived = source.split(picture.path) is not None
        usable = not picture.reason
        for field, part, text in ((self.tags, "tags", picture.tags), (self.sentence, "natural", picture.natural)):
            write = None if archived or not usable else self._writer(picture, part)  # type: ignore[arg-type]
            field.show_text(text, write)
            field.setVisible(usable)
        hint = "It lies in an archive, so its captions cannot be changed here."
        self.saved.setText(hint if archived else "Saved by itself when you leave the field.")
        for widget in (self.saved, self.hold, self.put_back):
            widget.setVisible(usable)
        self.draws.show_draws(())
        self._count()

    def _writer(self, picture: Picture, part: Part) -> Callable[[str], None]:
        return lambda text: self._write(picture, part, text)

    def _show_marks(self) -> None:
        self.marks.show_marks(self.tile.marks if self.tile is not None else ())
        self.hold.setText("Train on it" if self._held else "Hold out")
        tip = "Train on this picture, whatever chance says" if self._held else "Never train on it, but measure on it"
        self.hold.setToolTip(tip)
        set_icon(self.hold, "training" if self._held else "ruler")

    def show_bucket(self, bucket: tuple[int, int]) -> None:
        """The size at which the picture is trained."""
        if self.tile is not None:
            picture = self.tile.picture
            words = f"{picture.width} × {picture.height} px, trained at {bucket[0]} × {bucket[1]}"
            self.facts.setText(words)

    def show_hand(self, chosen: bool) -> None:
        """Whether a hand decided about this picture, so that it can be left to chance again."""
        self.put_back.setVisible(chosen)

    def show_twins(self, tiles: Sequence[Tile]) -> None:
        """Pictures that are the same as this one, or nearly."""
        self.twins.show_tiles([tile for tile in tiles if self.tile and tile.picture.path != self.tile.picture.path])

    # -- counting ---------------------------------------------------------------------------------------------

    def _captions(self) -> Captions:
        from core.data.captions import Captions

        return Captions(self.tags.text.strip(), self.sentence.text.strip())

    def _count(self) -> None:
        """Count tokens and draw anew, off the window's thread."""
        settings, tile = self._settings, self.tile
        if settings is None or tile is None or tile.picture.reason:
            return
        texts, captions = [field.text for field in self.fields], self._captions()

        def work() -> Any:
            from core.data.caption_view import count, draws
            from core.data.tokens import tokenizer_folder

            tokenizer, limit = self._tokens.open(tokenizer_folder(settings.model.base)), int(settings.data.max_tokens)
            counts = [count(text, limit, tokenizer) for text in texts]
            return counts, limit, draws(tile.picture, captions, settings, tokenizer)

        self._counter.start(work)

    def _not_counted(self, error: Exception) -> None:
        if not isinstance(error, Stopped):
            self.failed.emit(str(error))

    def _counted(self, result: Any) -> None:
        counts, limit, drawn = result
        for field, counted in zip(self.fields, counts, strict=True):
            field.show_count(counted, limit)
        self.draws.show_draws(drawn)

    # -- saving -----------------------------------------------------------------------------------------------

    def _written(self) -> None:
        """Keep the tile up to date; nothing but the words of the files is known of it."""
        if self.tile is None:
            return
        self.saved.setText("Saved. Undo below the pictures takes it back.")
        captions = self._captions()
        marks = tuple(mark for mark in self.tile.marks if mark != NO_CAPTION)
        if not captions.tags and not captions.natural:
            marks = (NO_CAPTION, *marks)
        picture = replace(self.tile.picture, tags=captions.tags, natural=captions.natural)
        self.tile = replace(self.tile, picture=picture, marks=marks)
        self._show_marks()
        self.written.emit(self.tile)

    def save(self) -> None:
        """Write what is not written yet."""
        for field in self.fields:
            field.save()

    def read_again(self) -> None:
        """Captions on the disk may have changed: show them as they are."""
        if self.tile is not None and not self.tile.picture.reason:
            from core.data.captions import read_captions

            found = read_captions(Path(self.tile.picture.path))
            self.tile = replace(self.tile, picture=replace(self.tile.picture, tags=found.tags, natural=found.natural))
            self._show_texts(self.tile.picture)


class _Marks(QWidget):
    """What is remarkable about a picture, a line each with its badge's sign."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._lines: list[QWidget] = []
        self.texts: list[str] = []

    def show_marks(self, marks: Sequence[Mark]) -> None:
        """Show these."""
        for old in self._lines:
            old.hide()
            old.deleteLater()
        self._lines, self.texts = [], [mark.text for mark in marks]
        for mark in marks:
            made = QWidget()
            line = row(spacing=8)
            line.addWidget(IconLabel(mark.icon, mark.token, 16), 0, Qt.AlignmentFlag.AlignTop)
            line.addWidget(label(mark.text, "warning" if mark.token == "warn" else "dim", wrap=True), 1)
            made.setLayout(line)
            self._layout.addWidget(made)
            self._lines.append(made)
        self.setVisible(bool(marks))


class _Twins(QWidget):
    """Pictures that are the same as the one above, side by side.

    Signals:
        clicked: The Tile of one.
    """

    clicked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._words = label("The same, or nearly:", "dim")
        self._boxes = QHBoxLayout()
        self._boxes.setSpacing(8)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._words)
        layout.addLayout(self._boxes)
        self.tiles: list[Tile] = []
        self.show_tiles(())

    def show_tiles(self, tiles: Sequence[Tile]) -> None:
        """Show the first few."""
        while (item := self._boxes.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        self.tiles = list(tiles)
        for tile in tiles[:3]:
            self._boxes.addWidget(_TwinBox(tile, self.clicked.emit))
        more = f" (3 of {len(tiles):,})" if len(tiles) > 3 else ""
        self._words.setText(f"The same, or nearly{more}:")
        self.setVisible(bool(tiles))


class _TwinBox(PictureBox):
    """One of them; a click leads to it."""

    def __init__(self, tile: Tile, clicked: Callable[[Tile], None]) -> None:
        super().__init__(96)
        self._tile, self._clicked = tile, clicked
        picture = tile.picture
        self.setToolTip(f"{picture.path}\n{picture.width} × {picture.height}")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.show_path(picture.path)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Lead to it."""
        self._clicked(self._tile)
