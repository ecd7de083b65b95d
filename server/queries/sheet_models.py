"""What the fact sheets of a species and of a habitat answer; null is what was not measured, never a guess."""

from __future__ import annotations

from pydantic import BaseModel, Field

from server.queries.point import Status


class MapSource(BaseModel):
    """The cells that a sheet's figures of the whole map were read from."""

    level: int = Field(description="Pyramid level: 0 is 50 m, each further one twice as coarse.")
    cell_m: int = Field(description="Side of the cells, metres.")
    cells: int = Field(description="Cells of 50 m with a value; a coarser one stands for those below it.")
    km2: float


class Share(BaseModel):
    """How much of the map reaches a probability."""

    least: float
    share: float = Field(description="Of the mapped cells.")


class SpeciesOnMap(MapSource):
    """A species over the whole mapped region."""

    mean_probability: float = Field(description="Share of plots of the reference area that are expected to hold the species.")
    highest_probability: float = Field(description="In the best cell.")
    listed: float | None = Field(
        description="Share of the cells in whose most likely list of species it is; null where coarser cells were read."
    )
    shares: list[Share]
    applicable: float | None = Field(description="Share of the cells within the model's area of applicability; null: not mapped.")
    applicable_occurrences: float | None = Field(description="Share of the species' expected occurrences within it.")


class TrainingRows(BaseModel):
    """What the model learned the species from."""

    surveys: int | None = Field(description="Surveys with the species, in blocks that were learned from.")
    records: int | None = Field(description="Presence-only records of it.")


class Skill(BaseModel):
    """How well this very model does for the species on surveys of blocks that it never saw."""

    surveys: int = Field(description="Held-out surveys.")
    blocks: int | None = Field(description="Held-out spatial blocks.")
    present: int = Field(description="Of them with the species.")
    expected: float = Field(description="As many as the model expected: the sum of its probabilities.")
    auc: float | None = Field(description="Area under the ROC curve; null with fewer than 5 presences or absences.")
    auc_se: float | None = Field(description="Its standard error (Hanley and McNeil 1982), surveys taken as independent.")
    log_loss: float | None
    log_loss_of_prevalence: float | None = Field(
        description="Log loss of always predicting the species' share of the training surveys."
    )


class ResponseCurve(BaseModel):
    """Probability along one input, all else as it is at surveyed places: mean over places, and their 10 to 90 % band."""

    modality: str
    input: str
    title: str
    units: str
    values: list[float]
    mean: list[float]
    lower: list[float]
    upper: list[float]
    at_surveys: list[float] = Field(description="The input at surveys: where there are none, the curve is a guess.")


class Importance(BaseModel):
    """How much worse the model does on held-out blocks, over all species, with this input taken from other places."""

    modality: str
    channel: str = Field(description="Empty for the whole modality.")
    title: str
    more_log_loss: float | None
    more_log_loss_sd: float | None
    less_auc: float | None


class ModelSummary(BaseModel):
    """The model behind the maps."""

    model: str = Field(description="Fingerprint of its weights and settings.")
    statement: str
    members: int
    modalities: list[str]
    metrics: dict[str, float | int | None]


class SpeciesSheet(Status):
    """Everything that the cube knows of one species."""

    id: str
    name: str
    vernacular: str
    traits: dict[str, float | int | str | bool]
    release: str
    version: str = Field(description="Of the species maps.")
    reference_area_m2: float | None
    reference_year: int | None
    region: SpeciesOnMap | None = Field(description="Null where no cell is mapped.")
    learned: TrainingRows | None = Field(description="Null where the version says nothing of it.")
    skill: Skill | None = Field(description="Null: not evaluated.")
    responses: list[ResponseCurve]
    importance: list[Importance]
    model: ModelSummary | None
    notes: list[str]
    attribution: str
    license: str


class HabitatName(BaseModel):
    """One class of the scheme."""

    code: str
    label: str
    level: str
    colour: str


class HabitatOnMap(MapSource):
    """A habitat over the whole mapped region; `cells` are those that are classified at all."""

    share: float = Field(description="Of the classified cells: where it is the most probable habitat.")
    habitat_km2: float
    mean_probability: float | None = Field(description="Of the most probable habitat, where this is it.")
    among_three: float | None = Field(description="Share of the cells where it is among the three best; level 0 alone.")


class TellingSpecies(BaseModel):
    """A species that tells the habitat from the others on this map."""

    id: str
    name: str
    vernacular: str
    inside: float = Field(description="Mean probability in the cells of the habitat.")
    outside: float = Field(description="Mean probability in the other classified cells.")
    fidelity: float = Field(description="phi, -1 to 1 (Chytry et al. 2002), of expected occurrences.")


class HabitatSheet(HabitatName):
    """Everything that the cube knows of one habitat."""

    id: str = Field(description="The layer that shows it.")
    title: str = Field(description="Of that layer.")
    release: str
    version: str
    parents: list[HabitatName] = Field(description="From the next level up.")
    children: list[HabitatName]
    region: HabitatOnMap | None
    species: list[TellingSpecies]
    metrics: dict[str, float | int | None] | None = Field(description="Of the habitats reader on plots; null: not said.")
    notes: list[str]
    attribution: str
    license: str
