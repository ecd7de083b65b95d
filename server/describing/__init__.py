"""How the cube describes itself to other programs: STAC, WMTS, TileJSON, QGIS."""
