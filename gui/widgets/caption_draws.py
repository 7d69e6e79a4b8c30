"""What the model will read of a picture: ten draws, with what is cut off struck through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from gui import theme
from gui.widgets.basics import label

if TYPE_CHECKING:
    from core.data.captions import Explained


class CaptionDraws(QWidget):
    """Nothing is drawn by it: it shows what core.data.caption_view.draws() gave."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Sequence[Explained] = ()
        self.words = label("", "dim", wrap=True)
        self.texts = label("", wrap=True)
        self.texts.setTextFormat(Qt.TextFormat.RichText)
        self.texts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.texts.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.words)
        layout.addWidget(self.texts)
        theme.signals().changed.connect(self._recolour)

    def _recolour(self, *_: object) -> None:
        self.show_draws(self._shown)

    def show_draws(self, draws: Sequence[Explained]) -> None:
        """Show these, each text once, with how often it was drawn."""
        self._shown = draws
        times = Counter(one.text for one in draws)
        first = {one.text: one for one in reversed(draws)}
        alike = len(times) <= 1
        self.words.setText("The same at every use:" if alike else f"In the first {len(draws)} epochs:")
        self.words.setVisible(bool(draws))
        dim = theme.current().dim
        lines = []
        for text, count in times.items():
            place = "" if alike else f'<span style="color:{dim}">{count} ×&nbsp;&nbsp;</span>'
            lines.append(f'<p style="margin:0 0 6px 0">{place}{_words(first[text])}</p>')
        self.texts.setText("".join(lines))


def _words(draw: Explained) -> str:
    """One text as HTML, with what is cut off struck through."""
    tokens = theme.current()
    if not draw.text:
        return f'<span style="color:{tokens.dim}">{"left empty by chance" if draw.emptied else "empty"}</span>'
    if not draw.unread:
        return escape(draw.read)
    cut = f'<span style="color:{tokens.bad};text-decoration:line-through">{escape(draw.unread)}</span>'
    return escape(draw.read) + cut
