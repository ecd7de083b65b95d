"""The pictures of the page about QGIS, drawn by QGIS itself without a screen: tiles of a server, and an exported GeoTIFF.

    floracube export demo-out/cube.zarr habitats.level3 habitats.tif; floracube serve demo-out/cube.zarr &
    /usr/bin/python3 docs/make/qgis_pictures.py http://127.0.0.1:8000 habitats.tif docs/how-to

Run by the Python that the package python3-qgis belongs to, not by ours.
"""

import os
import sys
from urllib.parse import quote

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsLayoutExporter,
    QgsLayoutItemLabel,
    QgsLayoutItemLegend,
    QgsLayoutItemMap,
    QgsLayoutItemScaleBar,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsLegendStyle,
    QgsPrintLayout,
    QgsProject,
    QgsRasterLayer,
    QgsUnitTypes,
)
from qgis.PyQt.QtCore import QRectF
from qgis.PyQt.QtGui import QFont, QImage

SIDE = 108.0  # mm, of the map
LEGEND = 92.0  # mm, beside it


def picture(layer: QgsRasterLayer, box, title: str, legend: bool, out: str) -> None:
    """A page with one layer over `box` (EPSG:3035), its title, a scale bar, and QGIS's own legend of it."""
    project = QgsProject.instance()
    project.clear()
    project.setCrs(QgsCoordinateReferenceSystem("EPSG:3035"))
    project.addMapLayer(layer)
    layout = QgsPrintLayout(project)
    layout.initializeDefaults()
    layout.pageCollection().page(0).setPageSize(QgsLayoutSize(SIDE + 8 + (LEGEND if legend else 0), SIDE + 16))
    label = QgsLayoutItemLabel(layout)
    label.setText(title)
    label.setFont(QFont("DejaVu Sans", 10))
    layout.addLayoutItem(label)
    label.attemptSetSceneRect(QRectF(4, 3, SIDE + LEGEND, 8))
    map_item = QgsLayoutItemMap(layout)
    map_item.setLayers([layer])
    layout.addLayoutItem(map_item)
    map_item.attemptSetSceneRect(QRectF(4, 12, SIDE, SIDE))
    map_item.setFrameEnabled(True)
    map_item.setExtent(box)
    bar = QgsLayoutItemScaleBar(layout)
    bar.setStyle("Single Box")
    bar.setLinkedMap(map_item)
    bar.setUnits(QgsUnitTypes.DistanceKilometers)
    bar.setUnitLabel("km")
    bar.setUnitsPerSegment(2.5)
    bar.setNumberOfSegments(2)
    bar.setNumberOfSegmentsLeft(0)
    bar.setBackgroundEnabled(True)
    layout.addLayoutItem(bar)
    bar.attemptMove(QgsLayoutPoint(8, SIDE - 4))
    if legend:
        beside = QgsLayoutItemLegend(layout)
        beside.setLinkedMap(map_item)
        for style in (QgsLegendStyle.SymbolLabel, QgsLegendStyle.Subgroup, QgsLegendStyle.Group):
            beside.setStyleFont(style, QFont("DejaVu Sans", 7))
        layout.addLayoutItem(beside)
        beside.attemptMove(QgsLayoutPoint(SIDE + 6, 12))
        beside.setSymbolHeight(3.5)
        beside.adjustBoxSize()
    image = QgsLayoutExporter(layout).renderPageToImage(0, dpi=110)
    image.convertToFormat(QImage.Format_RGB888).save(out, "PNG", 0)  # 0: the smallest file


application = QgsApplication([], True)
application.initQgis()
base, tiff, folder = sys.argv[1:4]
url = quote(f"{base}/layers/indicators.richness/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png", safe="")
values = QgsRasterLayer(tiff, os.path.basename(tiff))
extent = values.extent().buffered(500)
tiles = QgsRasterLayer(f"type=xyz&url={url}&zmin=7&zmax=15", "Expected species richness", "wms")
picture(tiles, extent, "XYZ tiles of indicators.richness", False, f"{folder}/qgis-tiles.png")
values = QgsRasterLayer(tiff, os.path.basename(tiff))  # the project took the first one with it
picture(values, extent, "An exported GeoTIFF of habitats.level3", True, f"{folder}/qgis-geotiff.png")
os._exit(0)  # QGIS's own end crashes now and then
