"""Darwin Core archives and packages: surveys out of sampling events, presence-only records out of occurrences."""

from cube.records.darwincore.events import raw_surveys
from cube.records.darwincore.observations import stream_records

__all__ = ["raw_surveys", "stream_records"]
