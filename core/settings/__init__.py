"""All settings: one pydantic section per page, and one table per component that has options of its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from core import registry
from core.schema import Section
from core.settings.data import DataSettings
from core.settings.hardware import HardwareSettings
from core.settings.loss import LossSettings
from core.settings.model import ModelSettings
from core.settings.output import OutputSettings
from core.settings.sample import SampleSettings
from core.settings.training import TrainingSettings
from core.settings.validation import ValidationSettings

Table = TypeVar("Table", bound=Section)
Pages = TypeVar("Pages", bound=BaseModel)


class Settings(BaseModel):
    """Everything that describes a run. settings_model() adds the tables of the components."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    model: ModelSettings = Field(default_factory=ModelSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    loss: LossSettings = Field(default_factory=LossSettings)
    validation: ValidationSettings = Field(default_factory=ValidationSettings)
    sample: SampleSettings = Field(default_factory=SampleSettings)
    output: OutputSettings = Field(default_factory=OutputSettings)
    hardware: HardwareSettings = Field(default_factory=HardwareSettings)

    def table(self, name: str, kind: type[Table]) -> Table:
        """The component table `name`, typed; for a component that reads its own options."""
        return cast(Table, getattr(self, name))


@cache
def settings_model() -> type[Settings]:
    """Settings with one more table for each component that declares Options, found by the registry."""
    return with_tables(Settings, registry.SETTINGS_FOLDERS)


def with_tables(base: type[Pages], folders: Iterable[str]) -> type[Pages]:
    """A model of pages with one more table for each component of `folders` that declares Options."""
    tables: dict[str, Any] = {}
    for folder in folders:
        for name, module in registry.components(folder).items():
            options = getattr(module, "Options", None)
            if options is not None:
                if name in tables or name in base.model_fields:
                    raise TypeError(
                        f"core/{folder}/{name}.py: there is a table '{name}' already; call the file otherwise"
                    )
                extra: dict[str, Any] = {"owner": f"{folder}.{name}"}
                tables[name] = (options, Field(default_factory=options, json_schema_extra=extra))
    return create_model(base.__name__, __base__=base, **tables)


def default_settings() -> Settings:
    """A fresh Settings with every option at its default."""
    return settings_model()()
