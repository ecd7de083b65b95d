"""The free-form-looking keys of a configuration, typed: how models are sized, trained, read and evaluated.

What an option does is told where it is read, in `inference`; here stand its name, type, range and default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from cube.config.strict import Strict, refuse_unknown_keys

Likelihood = Literal["joint", "surveys_only", "records_only"]
Precision = Literal["auto", "float32", "bfloat16"]
Count = Annotated[int, Field(ge=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]  # a text such as "yes" is none


class NetworkConfig(Strict):
    """Size of the deep-SDM: a named one, of which single keys are overridden."""

    size: Literal["tiny", "small", "medium", "geoplant"] | None = Field(None, description="a named size, see the table below")
    modalities: tuple[str, ...] | None = Field(
        None,
        description="what to learn from: `table_50m` (layers of 50 m), `table_1km` (of 1 km), `survey`, `satellite`, or the name"
        " of an image of 10 m or of a series; left out, all that the cube has",
    )
    d: Count | None = Field(None, description="length of a member's embedding")
    hidden: Count | None = Field(None, description="width of the encoders of tables")
    depth: Count | None = Field(None, description="layers of the encoders of tables")
    width: Count | None = Field(None, description="channels of the encoders of images and series")
    dilations: tuple[Count, ...] | None = Field(
        None, min_length=1, description="of the layers of images: a cell sees 1 + 2 x their sum cells"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="share of values hidden in training")


@dataclass(frozen=True)
class TrainOptions:
    """How to train. Defaults were chosen on Czech surveys (other fold draws than reported) and on a landscape."""

    members: int = Field(default=5, ge=1, description="each is trained without one fold of the spatial blocks, and judged there")
    search: tuple[NetworkConfig, ...] = Field(default=(), description="keys of `network` to try beside it; the best is trained")
    epochs: int = Field(default=15, ge=1, description="passes over the surveys")
    least_steps: int = Field(
        default=400, ge=0, description="small data get more passes: up to 64 of surveys alone, up to 25 of records alone"
    )
    batch: int = Field(default=128, ge=1, description="surveys a step")
    learning_rate: float = Field(default=3e-3, gt=0, description="the highest of the schedule")
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW")
    forest_trees: int = Field(default=0, ge=0, description="of a forest beside the networks, a member; 0: none")
    coarse_noise: float = Field(default=1.0, ge=0, description="noise on the columns of 1 km in training, in standard deviations")
    modality_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="chance that a modality is hidden from a survey in training"
    )
    seed: int = Field(default=0, description="of the folds, the weights and the order of surveys")
    threads: int | None = Field(default=None, description="left out: torch's own choice")
    device: str = Field(default="auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1")
    precision: Precision = Field(default="auto", description="of the forward pass: bfloat16 on a GPU that has it, else float32")
    loaders: int | None = Field(
        default=None, ge=0, description="threads that read batches ahead; left out: 4 for a GPU or samples on disk, else 0"
    )
    checkpoint_seconds: float = Field(
        default=120.0, ge=0, description="between states from which an interrupted training resumes"
    )
    memory_gb: float = Field(default=8.0, ge=0, description="samples that would not fit are cut once to disk")
    # Where there are records:
    likelihood: Likelihood = Field(
        default="joint", description="what is learned from, see One likelihood for surveys and records"
    )
    record_batch: int = Field(default=512, ge=1, description="records a step: each says one name, a survey all names of a place")
    record_weight: float = Field(default=1.0, description="of a record against what its likelihood says")
    reporting_rate: float = Field(default=0.03, description="learning rate of reporting rates")
    po_allowed: bool = Field(
        default=False, description="records of the blocks that a member leaves out train it too, as GeoPlant does"
    )
    recorded_sites: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="without surveys: share of the compared sites that are places of records",
    )

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, value: Any) -> Any:
        return refuse_unknown_keys(value, cls.__dataclass_fields__)


class EvaluateDetails(Strict):
    """What the out-of-fold scores are compared with, and how long it takes."""

    trees: Count = Field(100, description="of a forest")
    threads: Count = Field(1, description="forests fitted side by side")
    records_allowed: Flag = Field(
        False, description="where there are records: a row of our network with the records of the blocks left out allowed; trains"
    )
    bootstraps: Count = Field(200, description="of blocks, for the interval of the gain")
    baselines: tuple[Literal["random_forest", "shared_forest", "gradient_boosting", "frequency"], ...] = Field(
        ("random_forest",),
        description="peers, each fitted on the folds of the training; shared_forest is one forest for all species, random_forest"
        " one a species; the frequency by 100 km square always is",
    )


class ReaderOptions(Strict):
    """Size and schedule of the reader of habitats, and how maps are read.

    `base` and `tokens` as published by Pl@ntBERT; from scratch there are species alone.
    """

    hidden: Count = Field(64, description="width of the model, a multiple of heads")
    layers: Count = Field(2, description="of the transformer")
    heads: Count = Field(2, description="of attention, a layer")
    intermediate: Count = Field(128, description="width within a layer")
    mask_epochs: int = Field(8, ge=0, description="passes over all plots, filling gaps")
    epochs: Count = Field(20, description="passes over the labelled plots, naming habitats")
    least_steps: int = Field(700, ge=0, description="of naming habitats: few labelled plots get smaller batches and more passes")
    batch: Count = Field(64, description="plots a step")
    learning_rate: float = Field(4e-3, gt=0, description="the highest of the schedule")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW")
    dropout: float = Field(0.1, ge=0, lt=1, description="of hidden values and attention")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the label spread over all habitats")
    seed: int = Field(0, description="of weights, order and masks")
    base: str | None = Field(None, description="folder of a BERT to start from instead of scratch")
    tokens: Literal["species", "term"] = Field("species", description="species: a token a binomial; term: a token a word")
    complete_only: Flag = Field(True, description="leave out plots that lost much to curation, as published")
    folds: int | None = Field(
        None,
        ge=0,
        description="parts of the plots that are held out in turn to measure skill, with naive Bayes and logistic regression;"
        " left out, 1 for `plantbert` (a fifth, held out once) and 5 for `linear`; 0: baselines alone",
    )
    predicted: Flag = Field(True, description="predicted lists and the places of labelled plots teach habitats, too")
