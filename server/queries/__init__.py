"""Questions with other answers than a tile: a cell, an area, a window as a file."""
