"""Coarser levels of any layers: a tree of squares, each the exact mean or true majority of the cells below it."""
