"""Run by the Python of an installed QGIS, not by ours: does what a JSON document on standard input asks, answers with JSON.

`{"layers": [{"uri", "provider", "crs", "box", "size", "out"}], "connections": FILE}`: each layer is drawn alone, without a
background, over `box` (west, south, east, north in `crs`) in `size` (columns, rows) pixels to the picture `out`; the file of
connections is imported by QGIS's own dialogue into the profile of `QGIS_CUSTOM_CONFIG_PATH`.
"""

import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRectangle,
    QgsSettings,
)
from qgis.gui import QgsManageConnectionsDialog
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QDialogButtonBox, QListWidget


def draw(request: dict) -> dict:
    layer = QgsRasterLayer(request["uri"], "layer", request["provider"])
    if not layer.isValid():
        return {"valid": False, "error": layer.error().summary()}
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem(request["crs"]))
    settings.setExtent(QgsRectangle(*request["box"]))
    settings.setOutputSize(QSize(*request["size"]))
    settings.setOutputDpi(96)
    settings.setBackgroundColor(QColor(0, 0, 0, 0))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(request["out"])
    renderer = layer.renderer()
    answer = {"valid": True, "crs": layer.crs().authid(), "renderer": renderer.type(), "bands": layer.bandCount()}
    if renderer.type() == "paletted":
        answer["classes"] = [[int(c.value), c.label, c.color.name()] for c in renderer.classes()]
    if renderer.type() == "singlebandpseudocolor":
        answer["range"] = [renderer.classificationMin(), renderer.classificationMax()]
    return answer


def imported(path: str) -> dict:
    dialogue = QgsManageConnectionsDialog(None, QgsManageConnectionsDialog.Import, QgsManageConnectionsDialog.XyzTiles, path)
    dialogue.findChild(QListWidget).selectAll()
    dialogue.findChild(QDialogButtonBox).button(QDialogButtonBox.Ok).click()
    settings = QgsSettings()
    settings.beginGroup("qgis/connections-xyz")
    names = settings.childGroups()
    return {name: {key: settings.value(f"{name}/{key}") for key in ("url", "zmin", "zmax")} for name in names}


application = QgsApplication([], True)
application.initQgis()
request = json.load(sys.stdin)
answer = {"layers": [draw(layer) for layer in request["layers"]], "connections": imported(request["connections"])}
print("ANSWER", json.dumps(answer), flush=True)
os._exit(0)  # QGIS's own end crashes now and then when Python owned its dialogues
