"""Inputs to species to indicators to habitats: training, evaluation and prediction; reads layers, writes layers."""
