"""Export: any layer leaves the cube as a file that GDAL and QGIS read, with its colours."""
