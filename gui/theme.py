"""Colours as tokens for light and dark, the style sheet made of them, and icons that follow the theme."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from PySide6.QtCore import QByteArray, QObject, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

from core.paths import RESOURCES


@dataclass(frozen=True, slots=True)
class Tokens:
    """One theme. Text on its ground has a contrast of 4.5:1 or more."""

    name: str
    window: str
    surface: str
    raised: str
    border: str
    text: str
    dim: str
    accent: str
    accent_hover: str
    on_accent: str
    good: str
    warn: str
    bad: str
    selection: str
    #: Okabe and Ito's colour-blind-safe palette, adapted to the ground.
    curves: tuple[str, ...]


LIGHT = Tokens(
    name="light",
    window="#f4f5f7",
    surface="#ffffff",
    raised="#eceef2",
    border="#d7dae0",
    text="#1b1e24",
    dim="#5c6370",
    accent="#b4500f",
    accent_hover="#99430a",
    on_accent="#ffffff",
    good="#1a7f37",
    warn="#8a5a00",
    bad="#c62828",
    selection="#fbe6d8",
    curves=("#0072b2", "#d55e00", "#009e73", "#aa3377", "#56a0d3", "#b8860b", "#555555"),
)
DARK = Tokens(
    name="dark",
    window="#16181d",
    surface="#1e2127",
    raised="#292d35",
    border="#383d47",
    text="#e8eaee",
    dim="#a0a7b4",
    accent="#f0883e",
    accent_hover="#ff9d57",
    on_accent="#1b1206",
    good="#5cc98a",
    warn="#e3b341",
    bad="#ff7b72",
    selection="#4a2f1c",
    curves=("#56b4e9", "#ff9248", "#2fc79a", "#e07bb8", "#8fd0ff", "#f0c040", "#b0b0b0"),
)


class ThemeSignals(QObject):
    """Tells widgets that paint by themselves that the tokens have changed."""

    changed = Signal(object)


@cache
def signals() -> ThemeSignals:
    """The one emitter of theme changes; made when first asked for."""
    return ThemeSignals()


def current() -> Tokens:
    """The tokens in force."""
    app = QApplication.instance()
    name = app.property("burnishTheme") if app else "light"
    return DARK if name == "dark" else LIGHT


def apply(app: QApplication, name: str = "system") -> Tokens:
    """Set "light", "dark" or "system" for the whole application and tell everyone."""
    if name == "system":
        dark = app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        name = "dark" if dark else "light"
    tokens = DARK if name == "dark" else LIGHT
    app.setProperty("burnishTheme", tokens.name)
    app.setStyle("Fusion")
    app.setPalette(_palette(tokens))
    app.setStyleSheet(style_sheet(tokens))
    signals().changed.emit(tokens)
    return tokens


def _palette(tokens: Tokens) -> QPalette:
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: tokens.window,
        QPalette.ColorRole.WindowText: tokens.text,
        QPalette.ColorRole.Base: tokens.surface,
        QPalette.ColorRole.AlternateBase: tokens.raised,
        QPalette.ColorRole.Text: tokens.text,
        QPalette.ColorRole.Button: tokens.raised,
        QPalette.ColorRole.ButtonText: tokens.text,
        QPalette.ColorRole.Highlight: tokens.accent,
        QPalette.ColorRole.HighlightedText: tokens.on_accent,
        QPalette.ColorRole.ToolTipBase: tokens.raised,
        QPalette.ColorRole.ToolTipText: tokens.text,
        QPalette.ColorRole.PlaceholderText: tokens.dim,
        QPalette.ColorRole.Link: tokens.accent,
    }
    for role, color in roles.items():
        palette.setColor(role, QColor(color))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText, QPalette.ColorRole.WindowText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(tokens.dim))
    return palette


def style_sheet(tokens: Tokens) -> str:
    """The application's style sheet; object names and properties used by it are named in resources/style.qss."""
    text = (RESOURCES / "style.qss").read_text(encoding="utf-8")
    fields = {name: str(getattr(tokens, name)) for name in Tokens.__slots__ if name != "curves"}
    fields["icons"] = (RESOURCES / "icons").as_posix()
    base = QApplication.font().pointSizeF() if QApplication.instance() else 9.0
    base = base if base > 0 else 9.0
    fields |= {"body_size": f"{base:g}", "heading_size": f"{base * 1.2:g}", "title_size": f"{base * 1.7:g}"}
    for name, value in fields.items():
        text = text.replace(f"@{name}@", value)
    return text


def icon(name: str, color: str | None = None, size: int = 20) -> QIcon:
    """A monochrome icon of resources/icons/NAME.svg (which draws with currentColor) in a colour of the theme."""
    return QIcon(_drawn_icon(name, color or current().text, size))


@cache
def _drawn_icon(name: str, color: str, size: int) -> QIcon:
    """Drawn once for each colour and size; callers get copies, since icons can be added to."""
    from PySide6.QtSvg import QSvgRenderer

    svg = (RESOURCES / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    svg = svg.replace("currentColor", color)
    made = QIcon()
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    for factor in (1, 2, 3):
        pixmap = QPixmap(size * factor, size * factor)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter)
        painter.end()
        pixmap.setDevicePixelRatio(factor)
        made.addPixmap(pixmap)
    return made
