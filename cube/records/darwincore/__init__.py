"""Darwin Core archives: surveys out of sampling events, presence-only records out of occurrences."""

from cube.records.darwincore.observations import raw_surveys, stream_records

__all__ = ["raw_surveys", "stream_records"]
