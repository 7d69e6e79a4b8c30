"""Forms are made from the schema alone: a new option is in the form, its search and its tooltip by being declared."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, Field
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLineEdit

from core.grid import GridSettings
from core.schema import Section, opt
from gui.forms.choices import ChoiceBox
from gui.forms.form import Form
from gui.forms.lists import FolderListEditor, LinesEditor, LongTextEditor
from gui.forms.numbers import NumberEdit, linear_step, next_nice
from gui.forms.path_edit import PathEditor
from gui.forms.plan import sections
from gui.forms.search import Search
from gui.forms.tables import TablesEditor
from gui.settings_model import SettingsModel


class Dish(Section):
    """One item of a list of tables."""

    title: ClassVar[str] = "Dish"

    name: str = opt("", label="Name", help="What it is called.")
    plates: int = opt(1, label="Plates", help="How many.", ge=0)


class KitchenPage(Section):
    """Options of every kind that no code of the program has heard of."""

    title: ClassVar[str] = "Kitchen"

    oven_degrees: int = opt(
        180,
        label="Oven",
        help="Hotter is crisper.",
        unit="°C",
        ge=0,
        le=400,
        usual=(120, 250),
        aliases=("gas_mark",),
    )
    salt: float = opt(1e-3, label="Salt", help="Share of the dough.", ge=0, le=1, editor="log")
    fan: bool = opt(False, label="Fan", help="Moves the air.")
    fan_speed: int = opt(3, label="Fan speed", help="How fast.", ge=1, when=("kitchen.fan", True))
    shelf: Literal["top", "middle"] = opt("middle", label="Shelf", help="Where it stands.", level="advanced")
    guests: list[str] = opt([], label="Guests", help="Who comes.", editor="lines")
    cellars: list[str] = opt([], label="Cellars", help="Where things lie.", editor="folder")
    recipe: str = opt("", label="Recipe", help="A file.", editor="path")
    note: str = opt("", label="Note", help="Anything.", editor="text", group="Words")
    dishes: list[Dish] = opt([], label="Dishes", help="What there is.")


class Kitchen(BaseModel):
    """A settings model of one page."""

    kitchen: KitchenPage = Field(default_factory=KitchenPage)


@pytest.fixture
def settings(qapp: QApplication) -> SettingsModel:
    """A model of options declared here."""
    return SettingsModel(Kitchen)


@pytest.fixture
def form(qtbot, settings: SettingsModel) -> Form:
    """Its form, on the screen."""
    made = Form(settings)
    qtbot.addWidget(made)
    made.resize(700, 700)
    made.show()
    made.ensure_built()
    return made


def _row(form: Form, key: str):
    row = form.find_row(key)
    assert row is not None
    return row


def test_every_declared_option_is_in_the_form(form: Form) -> None:
    assert list(form.sections) == ["Kitchen", "Words"]
    keys = [key for plan in form.plans for key in plan.keys]
    assert set(keys) == set(form.settings.entries)
    row = _row(form, "kitchen.oven_degrees")
    assert row.title.text() == "Oven"
    tip = row.title.toolTip()
    for part in ("Hotter is crisper.", "120", "250", "°C", "gas_mark", "kitchen.oven_degrees"):
        assert part in tip


def test_editing_the_field_changes_the_model(qtbot, form: Form) -> None:
    edit = _row(form, "kitchen.oven_degrees").editor.field()
    assert isinstance(edit, NumberEdit)
    edit.selectAll()
    qtbot.keyClicks(edit, "200")
    assert form.settings.value("kitchen.oven_degrees") == 200
    assert form.settings.settings().kitchen.oven_degrees == 200
    assert _row(form, "kitchen.oven_degrees").mark.isVisible()


def test_the_mark_resets(qtbot, form: Form) -> None:
    form.settings.set("kitchen.oven_degrees", 210)
    mark = _row(form, "kitchen.oven_degrees").mark
    assert mark.isVisible() and "180 °C" in mark.toolTip()
    qtbot.mouseClick(mark, Qt.MouseButton.LeftButton)
    assert form.settings.value("kitchen.oven_degrees") == 180
    assert not mark.isVisible()


@pytest.mark.parametrize(("text", "value"), [("1e-6", 1e-6), ("5e-2", 0.05), ("0.25", 0.25), ("10%", 0.1)], ids=str)
def test_numbers_as_people_write_them(qtbot, form: Form, text: str, value: float) -> None:
    edit = _row(form, "kitchen.salt").editor.field()
    edit.selectAll()
    qtbot.keyClicks(edit, text)
    assert form.settings.value("kitchen.salt") == pytest.approx(value)


def test_thousands(qtbot, form: Form) -> None:
    edit = _row(form, "kitchen.oven_degrees").editor.field()
    edit.selectAll()
    qtbot.keyClicks(edit, "0.2k")
    assert form.settings.value("kitchen.oven_degrees") == 200


def test_arrow_keys_walk_on_a_logarithmic_ladder(qtbot, form: Form) -> None:
    edit = _row(form, "kitchen.salt").editor.field()
    qtbot.keyClick(edit, Qt.Key.Key_Up)
    assert form.settings.value("kitchen.salt") == pytest.approx(2e-3)
    qtbot.keyClick(edit, Qt.Key.Key_Down)
    qtbot.keyClick(edit, Qt.Key.Key_Down)
    assert form.settings.value("kitchen.salt") == pytest.approx(5e-4)


def test_what_is_no_number_is_an_error_in_place(qtbot, form: Form) -> None:
    row = _row(form, "kitchen.oven_degrees")
    edit = row.editor.field()
    edit.selectAll()
    qtbot.keyClicks(edit, "hot")
    qtbot.waitUntil(lambda: edit.property("problem") == "error")
    assert "whole number" in row._note_text.text()
    assert form.settings.errors()[0].key == "kitchen.oven_degrees"
    form.settings.undo()
    qtbot.waitUntil(lambda: not edit.property("problem"))
    assert edit.text() == "180"


def test_unusual_values_are_amber(qtbot, form: Form) -> None:
    form.settings.set("kitchen.oven_degrees", 300)
    row = _row(form, "kitchen.oven_degrees")
    qtbot.waitUntil(lambda: row.editor.field().property("problem") == "warning")
    assert "120" in row._note_text.text()
    assert not form.settings.errors()


def test_visible_when_hides_the_whole_row(qtbot, form: Form) -> None:
    assert form.find_row("kitchen.fan_speed") is None or not _row(form, "kitchen.fan_speed").isVisible()
    qtbot.mouseClick(_row(form, "kitchen.fan").editor.field(), Qt.MouseButton.LeftButton)
    row = _row(form, "kitchen.fan_speed")
    assert row.isVisible() and row.title.isVisible()
    form.settings.undo()
    assert not row.isVisible() and not row.title.isVisible()


def test_more_opens_the_advanced_options_in_place(qtbot, form: Form) -> None:
    section = form.sections["Kitchen"]
    assert form.find_row("kitchen.shelf") is None
    assert "1 more option" in section.more.text()
    qtbot.mouseClick(section.more, Qt.MouseButton.LeftButton)
    row = _row(form, "kitchen.shelf")
    assert row.isVisible()
    order = [section._body.itemAt(i).widget().entry.key for i in range(section._body.count())]
    assert order == [key for key in section.plan.keys if key in order]


def test_search_finds_by_label_help_key_and_foreign_name(form: Form) -> None:
    search = Search(form.settings)
    assert "kitchen.oven_degrees" in search.matches("Oven")
    assert "kitchen.oven_degrees" in search.matches("crisper")
    assert "kitchen.oven_degrees" in search.matches("oven_deg")
    assert "gas_mark" in search.matches("gas-mark")["kitchen.oven_degrees"]
    assert search.matches("spaceship") == {}


def test_searching_shows_only_what_is_found(form: Form) -> None:
    assert form.filter("gas_mark") == 1
    assert _row(form, "kitchen.oven_degrees").isVisible()
    assert not _row(form, "kitchen.fan").isVisible()
    assert not form.sections["Words"].isVisible()
    assert form.filter("spaceship") == 0
    assert form._nothing.isVisible()
    form.filter("")
    assert _row(form, "kitchen.fan").isVisible() and form.sections["Words"].isVisible()


def test_searching_for_a_hidden_option_shows_what_unlocks_it(form: Form) -> None:
    form.filter("fan speed")
    row = _row(form, "kitchen.fan")
    assert row.isVisible()
    assert "Fan speed" in row._note_text.text() and "on" in row._note_text.text()


def test_focusing_a_field_opens_its_section(qtbot, form: Form) -> None:
    form.activateWindow()
    qtbot.waitActive(form)
    assert form.focus_field("kitchen.shelf")
    row = _row(form, "kitchen.shelf")
    assert row.isVisible()
    qtbot.waitUntil(lambda: row._help is not None and row._help.isVisible())
    assert "Where it stands." in row._help.text()
    assert not form.focus_field("nothing.here")


def test_lists_and_paths(qtbot, form: Form) -> None:
    lines = _row(form, "kitchen.guests").editor
    assert isinstance(lines, LinesEditor)
    lines.field().setPlainText("Ada\n\n  Bob ")
    assert form.settings.value("kitchen.guests") == ["Ada", "Bob"]
    folders = _row(form, "kitchen.cellars").editor
    assert isinstance(folders, FolderListEditor)
    folders.add(["/a", "/b"])
    folders.add(["/a"])
    assert form.settings.value("kitchen.cellars") == ["/a", "/b"]
    folders.field().item(0).setSelected(True)
    folders.remove_selected()
    assert form.settings.value("kitchen.cellars") == ["/b"]
    path = _row(form, "kitchen.recipe").editor
    assert isinstance(path, PathEditor)
    path.take("/x/y.safetensors")
    assert form.settings.value("kitchen.recipe") == "/x/y.safetensors"
    note = _row(form, "kitchen.note").editor
    assert isinstance(note, LongTextEditor)
    note.field().setPlainText("a\nb")
    assert form.settings.value("kitchen.note") == "a\nb"


def test_a_list_of_tables(qtbot, form: Form) -> None:
    dishes = _row(form, "kitchen.dishes").editor
    assert isinstance(dishes, TablesEditor)
    dishes.field().setPlainText('name = "a, b", plates = 2\n\nname = "c"')
    assert form.settings.value("kitchen.dishes") == [{"name": "a, b", "plates": 2}, {"name": "c"}]
    assert form.settings.settings().kitchen.dishes[1].plates == 1
    dishes.field().setPlainText("name =")
    problem = form.settings.problem_of("kitchen.dishes")
    assert problem is not None and "entry 1: 'name =' is not possible" in problem.text
    form.settings.set("kitchen.dishes", [{"name": "d", "plates": 1}, {"plates": 7}])
    assert dishes.field().toPlainText() == 'name = "d"\nplates = 7'


def test_undo_in_a_field_means_the_settings(qtbot, form: Form) -> None:
    from PySide6.QtGui import QKeySequence, QShortcut

    shortcut = QShortcut(QKeySequence("Ctrl+Z"), form, form.settings.undo)
    form.activateWindow()
    qtbot.waitActive(form)
    form.settings.set("kitchen.fan", True)
    form.settings.end_edit()
    edit = _row(form, "kitchen.oven_degrees").editor.field()
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, "99")
    qtbot.keyClick(edit, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert form.settings.value("kitchen.oven_degrees") == 180
    assert edit.text() == "180"
    assert form.settings.value("kitchen.fan") is True
    shortcut.deleteLater()


def test_the_wheel_changes_nothing(form: Form) -> None:
    section = form.sections["Kitchen"]
    section.set_expanded(True)
    for kind in (NumberEdit, ChoiceBox):
        for widget in form.findChildren(kind):
            assert widget.focusPolicy() != Qt.FocusPolicy.WheelFocus or isinstance(widget, QLineEdit)


def test_real_settings_and_their_components(qtbot) -> None:
    settings = SettingsModel()
    form = Form(settings)
    qtbot.addWidget(form)
    form.resize(700, 700)
    form.show()
    form.ensure_built()
    for plan in form.plans:
        form.sections[plan.title].set_expanded(True)
        for key in plan.keys:
            row = form.find_row(key)
            assert (row is not None and row.isVisible()) == settings.visible(key), key
    owned = [key for key in settings.entries if settings.entries[key].owner]
    assert owned
    for key in owned:
        chooser = settings.chooser(key)
        settings.set(chooser, settings.entries[key].owner.split(".")[1])
        assert form.find_row(key).isVisible(), key
        plan = next(plan for plan in form.plans if key in plan.keys)
        assert plan.keys.index(chooser) < plan.keys.index(key)


def test_forms_of_another_model_and_of_some_pages(qtbot) -> None:
    settings = SettingsModel(GridSettings)
    assert {plan.title for plan in sections(settings)} >= {"Grid", "X axis", "Y axis"}
    form = Form(settings, pages=["x", "y"])
    qtbot.addWidget(form)
    form.ensure_built()
    assert {key.split(".")[0] for plan in form.plans for key in plan.keys} == {"x", "y"}


def test_a_narrow_form_has_no_horizontal_overflow(qtbot, form: Form) -> None:
    form.resize(340, 600)
    QApplication.processEvents()
    assert form.widget().width() <= form.viewport().width()
    assert form.widget().minimumSizeHint().width() <= 340


def test_steps_of_numbers() -> None:
    assert next_nice(1e-4, up=True) == pytest.approx(2e-4)
    assert next_nice(1e-4, up=False) == pytest.approx(5e-5)
    assert next_nice(3, up=True) == pytest.approx(5)
    assert linear_step(0, 1, whole=False) == pytest.approx(0.05)
    assert linear_step(1, 64, whole=True) == 1
