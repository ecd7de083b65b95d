"""The model card that stands beside a saved reader: what it read, how it was trained, how well it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from inference.plantbert.plots import Plots

if TYPE_CHECKING:
    from inference.plantbert.training import ReaderSpec

LIMITS = (
    "## Limits",
    "",
    "It knows the habitats above and no others, and reads any list as one of them: mask where they cannot be.",
)


def card(plots: Plots, spec: ReaderSpec, report: dict[str, Any], skill: Iterable[str] = ()) -> str:
    """The card in Markdown with the hub's front matter; `skill`: a line a method about held-out plots, if any were."""
    skill_rows = list(skill)
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "tags: [biodiversity, habitats, vegetation]",
        "---",
        "# Habitats from species read as a sentence",
        "",
        "A BERT in the text format of Pl@ntBERT (Leblanc et al. 2025, Learning the syntax of plant assemblages):",
        'lower-case two-word binomials by descending cover, joined by ", ". Fill-mask first, then classification.',
        "The classifier lies in this folder, the fill-mask model in `fill_mask`; `from_pretrained` opens both.",
        "Maps add to its log probabilities those of a linear path on the species and their covers (`linear.safetensors`);",
        "the skill below is that of both together.",
        "",
        *_read(plots, report),
        "## Skill on held-out blocks",
        "",
        *(skill_rows or ["Not measured in this training; run `floracube habitats train`, which measures it."]),
        "",
        *LIMITS,
        "Species that it never read are [UNK]; text above the model's length loses its last species.",
        "",
        "## Trained with",
        "",
        f"* parameters: {report['parameters']}",
        *(f"* {k}: {v}" for k, v in asdict(spec).items()),
    ]
    return "\n".join(lines) + "\n"


def linear_card(plots: Plots, report: dict[str, Any], skill: Iterable[str]) -> str:
    """The card of a linear reader in Markdown; `skill`: lines about held-out plots."""
    lines = [
        "# Habitats from species by a linear reader",
        "",
        "Multinomial logistic regression (scikit-learn, L2), naive Bayes and a hidden layer on the species of a list and their",
        "log covers. Where there are no covers a species has the mean log cover of its place in the lists of the plots.",
        "`linear.safetensors` holds the weights, `linear.json` the species and the habitats, `habitats.csv` the scheme.",
        "",
        *_read(plots, report),
        "## Skill on held-out plots",
        "",
        *skill,
        "",
        *LIMITS,
        "Species that it never read are left out.",
    ]
    return "\n".join(lines) + "\n"


def _read(plots: Plots, report: dict[str, Any]) -> list[str]:
    """The section on what a reader learned from."""
    return [
        "## Read",
        "",
        f"* plots: {report['plots']}, labelled: {report['plots_labelled']}; species: {len(plots.species)}",
        *([f"* predicted lists of labelled places: {report['lists_predicted']}"] if report["lists_predicted"] else []),
        f"* habitats: {', '.join(plots.habitats)}",
        "",
    ]
