"""Tests of core/schema.py, and the proof that an option is declared in one place and found everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from core import checks, presets
from core.errors import UserError
from core.grid import GridSettings
from core.reference import reference
from core.schema import Section, opt, unusual, walk
from core.settings import Settings, default_settings, settings_model


class Polish(Section):
    """A page that exists in this test only."""

    title: ClassVar[str] = "Polish"

    strength: float = opt(
        0.25,
        label="Strength",
        help="How hard it is rubbed.",
        unit="N",
        gt=0,
        le=2,
        usual=(0.1, 1),
        level="advanced",
        when=("polish.cloth", ("wool", "felt")),
        aliases=("rub",),
    )
    cloth: Literal["wool", "felt", "paper"] = opt("wool", label="Cloth", help="What it is rubbed with.")
    words: list[str] = opt([], label="Words", help="What is said meanwhile.", editor="lines")
    times: int | None = opt(None, label="Times", help="How often.", ge=1)


class Local(settings_model()):  # type: ignore[misc]
    """All settings and the test's own page."""

    polish: Polish = Field(default_factory=Polish)


def test_an_option_is_declared_once_and_found_everywhere(tmp_path: Path) -> None:
    entry = presets.entries(Local)["polish.strength"]
    assert (entry.kind, entry.default, entry.low, entry.low_open, entry.high) == ("float", 0.25, 0, True, 2)
    assert entry.option.unit == "N" and entry.option.aliases == ("rub",)

    assert presets.parse_changes(["polish.strength=5e-1", "polish.words=['a','b']"], Local) == {
        "polish.strength": 0.5,
        "polish.words": ["a", "b"],
    }

    settings = presets.build({"polish.strength": 1.5}, "test", Local)
    presets.save(tmp_path / "mine.toml", settings, "mine")
    assert "[polish]\nstrength = 1.5" in (tmp_path / "mine.toml").read_text()
    loaded = presets.read(tmp_path / "mine.toml", Local)
    assert loaded.values == {"polish.strength": 1.5}

    with pytest.raises(UserError, match=r"polish.strength = 3 is not possible: .* above 0 and at most 2"):
        presets.build({"polish.strength": 3}, "test", Local)
    with pytest.raises(UserError, match=r"no setting 'polish.strenght'.*'polish.strength'"):
        presets.parse("[polish]\nstrenght = 1", "x.toml", Local)
    warnings = [problem.text for problem in checks.problems(settings) if problem.key == "polish.strength"]
    assert warnings == ["Strength is 1.5: usually between 0.1 and 1 N."]

    text = reference(Local)
    assert "### `polish.strength`" in text and "How hard it is rubbed." in text and "`rub`" in text
    assert 'counts when `polish.cloth` is `"wool"` or `"felt"`' in text


def test_kinds_of_fields() -> None:
    found = presets.entries(Local)
    assert found["polish.cloth"].kind == "choice" and found["polish.cloth"].choices == ("wool", "felt", "paper")
    assert found["polish.words"].kind == "list" and found["polish.words"].default == []
    assert found["polish.times"].kind == "int" and found["polish.times"].optional
    assert found["training.optimizer"].kind == "choice" and "adamw" in found["training.optimizer"].choices
    assert found["lora.rank"].owner == "methods.lora" and found["training.seed"].owner == ""


def test_range_in_words() -> None:
    assert presets.entries(Local)["polish.strength"].range_text() == "above 0 and at most 2"
    assert presets.entries()["training.max_steps"].range_text() == "at least 0"
    assert presets.entries()["model.base"].range_text() == ""


def test_unusual_is_inclusive_and_knows_numbers_only() -> None:
    entry = presets.entries(Local)["polish.strength"]
    assert unusual(entry, 0.1) == "" and unusual(entry, 1) == ""
    assert unusual(entry, 1.01) == "usually between 0.1 and 1 N"
    assert unusual(entry, True) == "" and unusual(entry, "x") == ""


def test_a_list_default_is_not_shared() -> None:
    first, second = Polish(), Polish()
    first.words.append("x")
    assert second.words == [] and Polish().words == []


def test_assignments_are_validated_and_unknown_fields_refused() -> None:
    page = Polish()
    with pytest.raises(ValueError, match="less than or equal to 2"):
        page.strength = 9
    with pytest.raises(ValueError, match="no attribute"):
        page.stength = 1  # type: ignore[attr-defined]


def test_a_field_without_opt_or_of_another_type_is_a_bug() -> None:
    class Bare(Section):
        x: int = 1

    class Odd(Section):
        x: bytes = opt(b"", label="x", help="x")

    class Plain(BaseModel):
        page: Bare = Field(default_factory=Bare)

    class Strange(BaseModel):
        page: Odd = Field(default_factory=Odd)

    with pytest.raises(TypeError, match="declared with opt"):
        list(walk(Plain))
    with pytest.raises(TypeError, match="does not know fields"):
        list(walk(Strange))


@pytest.mark.parametrize("model", [settings_model(), GridSettings])
def test_every_option_is_explained_and_its_default_is_possible(model: type[BaseModel]) -> None:
    known = {entry.key: entry for entry in walk(model)}
    assert len(known) > 10
    for entry in known.values():
        assert entry.option.label and len(entry.option.help) > 5, entry.key
        assert unusual(entry, entry.default) == "", entry.key
        if entry.choices:
            defaults = entry.default if entry.kind == "list" else [entry.default]
            assert set(defaults) <= set(entry.choices), entry.key
        if entry.option.when:
            assert entry.option.when[0] in known, entry.key
    presets.build({key: entry.default for key, entry in known.items()}, "defaults", model)


def test_defaults_are_a_settings_with_the_components_tables() -> None:
    settings = default_settings()
    assert isinstance(settings, Settings)
    assert presets.flat(settings)["lora.rank"] == 16
