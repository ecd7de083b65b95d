"""The configuration: `document` is the whole file, `sources` and `records` are its two large parts."""

from cube.config.document import Config, EvaluateConfig, HabitatConfig, PredictConfig, load_config
from cube.config.place import Window
from cube.config.records import (
    Columns,
    Plots,
    RecordColumns,
    RecordConfig,
    SpeciesConfig,
    SpeciesTable,
    SurveyConfig,
    SynonymTable,
    Trait,
)
from cube.config.sources import Source, StacSearch

__all__ = [
    "Columns",
    "Config",
    "EvaluateConfig",
    "HabitatConfig",
    "Plots",
    "PredictConfig",
    "RecordColumns",
    "RecordConfig",
    "Source",
    "SpeciesConfig",
    "SpeciesTable",
    "StacSearch",
    "SurveyConfig",
    "SynonymTable",
    "Trait",
    "Window",
    "load_config",
]
