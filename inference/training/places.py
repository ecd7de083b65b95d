"""The reader of places beside that of lists, chosen on plots whose blocks were left out."""

from __future__ import annotations

import numpy as np
import torch

from inference.plantbert.evaluation import Skill, skill_of
from inference.plantbert.linear import LinearReader
from inference.plantbert.places import STRENGTHS, Mixture, PlaceReader, best_mixture, mixed
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme
from inference.training.predicted_lists import PredictedPlots


def place_reader(plots: Plots, predicted: PredictedPlots, scheme: Scheme | None = None) -> tuple[PlaceReader | None, list[Skill]]:
    """(the reader of places beside that of lists, None where lists alone do better; skill of maps on held-out plots).

    Each fold of the deep-SDM is left out in turn: by its member, by a linear reader of lists and by the regression on
    embeddings. The mixture of both is chosen on these plots, but those of a habitat that no other fold has, and the skill of
    `maps` is that of the best on all of them. No reader where fewer than two habitats can be chosen by.
    """
    label, classes = predicted.plots.label, len(plots.habitats)
    from_lists = np.full((len(predicted), classes), np.nan, np.float32)
    from_places = {strength: from_lists.copy() for strength in STRENGTHS}
    has_known_habitat = np.zeros(len(predicted), bool)  # plots whose habitat was learned without their fold
    for k in np.unique(predicted.fold):
        is_test = predicted.fold == k
        train, test = predicted.take(~is_test), predicted.take(is_test)
        other_plots = plots.take(~np.isin(plots.plot_id, test.plots.plot_id))
        if not len(train) or len(np.unique(other_plots.label[other_plots.label >= 0])) < 2:
            continue
        has_known_habitat[is_test] = np.isin(test.plots.label, train.plots.label)
        reader, lists = LinearReader.fit_path(other_plots, train.plots), test.plots
        from_lists[is_test] = reader.classify(lists.order, lists.size, np.arange(len(plots.species)))
        embedding, of_test = train.without_fold(int(k)), test.without_fold(int(k))
        for strength, p in from_places.items():
            places = PlaceReader.fit(embedding, 1, train.plots.label, classes, Mixture(0.0, 1.0, strength))
            p[is_test] = places.log_probability(torch.from_numpy(of_test))
    has_both = np.isfinite(from_lists).all(1)
    label, from_lists, has_known_habitat = label[has_both], from_lists[has_both], has_known_habitat[has_both]
    if len(np.unique(label[has_known_habitat])) < 2:
        return None, []
    from_places = {strength: p[has_both] for strength, p in from_places.items()}
    has_place = np.bincount(predicted.plots.label, minlength=classes) > 0
    choice = np.ix_(has_known_habitat, has_place)
    of_strength = {strength: p[choice] for strength, p in from_places.items()}
    mixture = best_mixture(from_lists[choice], of_strength, np.cumsum(has_place)[label[has_known_habitat]] - 1)
    of_place = from_places[mixture.strength]
    both = mixed(mixture, from_lists, of_place, has_place)
    maps = {"maps_from_lists": from_lists, "maps_from_places": np.exp(of_place), "maps": both}
    skills = [skill_of(name, p, label, scheme) for name, p in maps.items()]
    if mixture.place_weight == 0:
        return None, skills
    places = PlaceReader.fit(predicted.embedding, predicted.members, predicted.plots.label, classes, mixture, predicted.networks)
    return places, skills
