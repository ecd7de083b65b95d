"""The one tree of exceptions that speak to the user: each message is a sentence that names the file, the field and the fix."""

from __future__ import annotations


class FloracubeError(Exception):
    """A mistake that the user can fix; the command line prints it as one sentence and exits with 2."""


class ConfigError(FloracubeError):
    """A configuration file with a wrong, missing or contradictory key."""


class SourceError(FloracubeError):
    """A raster, a scene or a catalogue that cannot be read as what it is declared to be."""


class TableError(FloracubeError):
    """A table of surveys, records, species or traits without what is needed of it."""


class CubeError(FloracubeError):
    """A cube, a group or a layer that is absent, incomplete or of another format."""


class UnknownNameError(CubeError, KeyError):
    """A release, product, layer or species that a cube does not have; a `KeyError` too, as mappings raise it."""

    __str__ = Exception.__str__  # that of `KeyError` puts the sentence into quotes


class ModelError(FloracubeError):
    """A checkpoint that is absent, damaged or made for other inputs or species."""


class WorkersError(FloracubeError):
    """A run that cannot continue: no room in the store, or a scheduler that is not there."""


class ServerError(FloracubeError):
    """A server that cannot start as it was asked to: an address that is not this machine's, a port that is taken."""
