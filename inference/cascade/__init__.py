"""From inputs to products: a unit's way through species, indicators and habitats, and the runs over all units."""
