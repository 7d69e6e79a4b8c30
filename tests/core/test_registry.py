"""Tests of core/registry.py: a file in a component folder is a choice, and its Options are a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import core.optimizers
from core import presets, registry
from core.errors import UserError
from core.reference import reference
from core.settings import settings_model

_COMPONENT = '''"""A component of a test."""
from core.schema import Section, opt
LABEL = "Shiny"
HELP = "Rubs the weights."
ORDER = 1
class Options(Section):
    """Its options."""
    grit: int = opt(400, label="Grit", help="How fine the paper is.", ge=1)
'''
_FOLDERS = (*registry.CHOOSERS, "families", "samplers", "axes")


@pytest.fixture
def shiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more optimizer: a file in another folder of the package's path."""
    (tmp_path / "shiny.py").write_text(_COMPONENT)
    (tmp_path / "_private.py").write_text("raise AssertionError('never imported')")
    monkeypatch.setattr(core.optimizers, "__path__", [*core.optimizers.__path__, str(tmp_path)])
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    registry.components.cache_clear()
    settings_model.cache_clear()


def test_a_new_file_is_a_choice_with_its_own_table(shiny: None) -> None:
    assert registry.names("optimizers")[0] == "shiny"  # by ORDER
    assert "_private" not in registry.names("optimizers")
    settings = presets.build({"training.optimizer": "shiny", "shiny.grit": 800}, "test")
    assert presets.flat(settings)["shiny.grit"] == 800
    assert "### `shiny.grit`" in reference() and "- `shiny`: Shiny. Rubs the weights." in reference()


def test_nothing_is_left_of_it_afterwards() -> None:
    assert "shiny" not in registry.names("optimizers")
    with pytest.raises(UserError, match=r"'shiny' is not one of"):
        presets.build({"training.optimizer": "shiny"}, "test")


def test_an_unknown_component_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"samplers: there is no 'x'; choose one of .*ddim.*euler"):
        registry.component("samplers", "x")


def test_the_table_of_a_name_goes_to_the_component_that_has_options() -> None:
    """Weightings and densities both have an "snr"; only the density has options."""
    settings = presets.build({"loss.weighting": "snr", "loss.density": "snr", "snr.width": 3.0}, "test")
    weighting, nothing = registry.chosen("weightings", settings)
    density, options = registry.chosen("densities", settings)
    assert (weighting.LABEL, nothing) == ("SNR", None)
    assert (density.LABEL, options.width) == ("By SNR", 3.0)


def test_two_tables_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snr.py").write_text(_COMPONENT)
    monkeypatch.setattr(core.optimizers, "__path__", [*core.optimizers.__path__, str(tmp_path)])
    _forget()
    try:
        with pytest.raises(TypeError, match="there is a table 'snr' already"):
            settings_model()
    finally:
        monkeypatch.undo()
        _forget()


@pytest.mark.parametrize("folder", _FOLDERS)
def test_every_component_says_what_it_is(folder: str) -> None:
    found = registry.components(folder)
    assert found
    for name, module in found.items():
        assert registry.label(folder, name) == module.LABEL != ""
        assert module.HELP and module.__doc__, name
    orders = [getattr(module, "ORDER", 100) for module in found.values()]
    assert orders == sorted(orders)
