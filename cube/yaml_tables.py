"""Tables of names and sentences that lie as YAML beside the modules which use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def yaml_table(module: str, name: str) -> Any:
    """The document `name` beside a module, whose `__file__` is given, read by libyaml where PyYAML has it."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(Path(module).with_name(name).read_text(encoding="utf-8"), loader)  # nosec B506: both are safe
