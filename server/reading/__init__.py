"""From the cube to values: one release with its layers, open arrays and a bounded memory of chunks."""
