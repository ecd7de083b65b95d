"""From cells to pictures: where a tile's pixels lie, how values become colours, how colours become bytes."""
