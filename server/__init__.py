"""Cube to tiles, legends, point queries and the map page; reads cubes, never writes them."""
