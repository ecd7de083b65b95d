"""What the STAC extensions that we use ask of a document, as JSON schemas in our own words, by the address of the published ones.

pystac carries the schemas of STAC's core; those of extensions it would fetch. Each is written after the text of the
extension's specification at the version in its address, and is stricter where we promise more.
"""

from __future__ import annotations

from typing import Any, Final

_BASE: Final = "https://stac-extensions.github.io"
_NUMBER: Final = {"type": "number"}
_STRINGS: Final = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}


def _declares(name: str) -> dict[str, Any]:
    return {"type": "array", "contains": {"const": f"{_BASE}/{name}/schema.json"}}


def _numbers(minimum: int, maximum: int) -> dict[str, Any]:
    return {"type": "array", "minItems": minimum, "maxItems": maximum, "items": _NUMBER}


_DIMENSION: Final = {
    "type": "object",
    "required": ["type"],
    "if": {"properties": {"type": {"const": "spatial"}}},
    "then": {
        "required": ["axis", "extent", "reference_system"],
        "properties": {
            "axis": {"enum": ["x", "y"]},
            "extent": _numbers(2, 2),
            "step": {"type": ["number", "null"]},
            "reference_system": {"const": 3035},
        },
    },
    "else": {
        "not": {"required": ["axis"]},
        "anyOf": [{"required": ["extent"]}, {"required": ["values"]}],
        "properties": {
            "type": {"type": "string", "not": {"enum": ["spatial", "temporal"]}},
            "values": {"type": "array", "minItems": 1, "items": {"type": ["number", "string"]}},
            "extent": _numbers(2, 2),
        },
    },
}
_CUBE: Final = {
    "required": ["cube:dimensions", "cube:variables"],
    "properties": {
        "cube:dimensions": {"type": "object", "minProperties": 2, "additionalProperties": _DIMENSION},
        "cube:variables": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["dimensions", "type"],
                "properties": {
                    "dimensions": _STRINGS,
                    "type": {"enum": ["data", "auxiliary"]},
                    "unit": {"type": "string"},
                    "description": {"type": "string"},
                },
            },
        },
    },
}
_PROJECTED: Final = {
    "type": "object",
    "required": ["proj:code", "proj:bbox", "proj:shape", "proj:transform"],
    "properties": {
        "proj:code": {"type": ["string", "null"], "pattern": r"^[A-Z]+:\d+$"},
        "proj:bbox": _numbers(4, 4),
        "proj:shape": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer", "minimum": 1}},
        "proj:transform": _numbers(6, 6),
        "proj:epsg": False,  # of versions before 2.0
    },
}
_RENDER: Final = {
    "type": "object",
    "required": ["assets", "title"],
    "properties": {
        "assets": _STRINGS,
        "title": {"type": "string"},
        "rescale": {"type": "array", "minItems": 1, "items": _numbers(2, 2)},
        "colormap_name": {"type": "string"},
        "colormap": {"type": "object", "minProperties": 1},
        "resampling": {"enum": ["nearest", "bilinear"]},
        "minmax_zoom": _numbers(2, 2),
    },
    "oneOf": [{"required": ["colormap_name", "rescale"]}, {"required": ["colormap"]}],
}
_STRUCTURE: Final = {
    "type": "object",
    "required": ["shape", "dim_order", "data_type"],
    "properties": {
        "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": -1}},
        "dim_order": {"type": "array", "uniqueItems": True, "minItems": 1, "items": {"type": "string", "pattern": "^[a-z_-]+$"}},
        "data_type": {"enum": ["uint8", "uint16", "int16", "int32", "float32", "float64"]},
    },
}


def _object(structure: str) -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "required": ["name", structure], "properties": {structure: _STRUCTURE}},
    }


_MODEL: Final = {
    "required": ["mlm:name", "mlm:architecture", "mlm:framework", "mlm:tasks", "mlm:input", "mlm:output"],
    "properties": {
        "mlm:name": {"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_.-]+[a-zA-Z0-9]$"},
        "mlm:architecture": {"type": "string", "minLength": 1},
        "mlm:framework": {"const": "PyTorch"},
        "mlm:tasks": {"type": "array", "uniqueItems": True, "items": {"enum": ["regression", "classification"]}},
        "mlm:input": _object("input"),
        "mlm:output": _object("result"),
        "mlm:hyperparameters": {"type": "object", "minProperties": 1},
    },
}
_LINKS: Final = {
    "type": "array",
    "contains": {"required": ["rel", "href"], "properties": {"rel": {"enum": ["xyz", "tilejson", "wmts"]}}},
    "items": {
        "type": "object",
        "allOf": [
            {
                "if": {"properties": {"rel": {"const": "wmts"}}},
                "then": {
                    "required": ["wmts:layer"],
                    "properties": {"wmts:layer": {"oneOf": [_STRINGS, {"type": "string", "minLength": 1}]}},
                },
            },
            {
                "if": {"properties": {"rel": {"const": "xyz"}}},
                "then": {"required": ["href", "type"], "properties": {"href": {"pattern": r"\{z\}.*\{x\}.*\{y\}"}}},
            },
        ],
    },
}


def _of_item(properties: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {"properties": {"type": "object", **properties}}}


_RULES: Final[dict[str, dict[str, Any]]] = {
    f"{_BASE}/datacube/v2.2.0/schema.json": {
        "properties": {"stac_extensions": _declares("datacube/v2.2.0")},
        "if": {"properties": {"type": {"const": "Feature"}}},
        "then": _of_item(_CUBE),
        "else": _CUBE,
    },
    f"{_BASE}/projection/v2.0.0/schema.json": {
        "properties": {
            "stac_extensions": _declares("projection/v2.0.0"),
            "assets": {"type": "object", "minProperties": 1, "additionalProperties": _PROJECTED},
        },
        "if": {"properties": {"type": {"const": "Feature"}}},
        "then": {"properties": {"properties": _PROJECTED}},
    },
    f"{_BASE}/render/v2.0.0/schema.json": {
        "properties": {
            "type": {"const": "Feature"},
            "stac_extensions": _declares("render/v2.0.0"),
            "properties": {
                "required": ["renders"],
                "properties": {"renders": {"type": "object", "minProperties": 1, "additionalProperties": _RENDER}},
            },
            "links": {"type": "array", "contains": {"required": ["rel", "render"], "properties": {"render": {"type": "string"}}}},
        },
    },
    f"{_BASE}/web-map-links/v1.2.0/schema.json": {
        "properties": {"stac_extensions": _declares("web-map-links/v1.2.0"), "links": _LINKS},
    },
    f"{_BASE}/mlm/v1.4.0/schema.json": {
        "properties": {"type": {"const": "Collection"}, "stac_extensions": _declares("mlm/v1.4.0")},
        "allOf": [_MODEL],
    },
}
SCHEMAS: Final = {
    address: {"$schema": "http://json-schema.org/draft-07/schema#", "$id": address, **rules} for address, rules in _RULES.items()
}
