"""Does a cube keep the rules of the data model? `check` asks each of them; one small function a rule, all in one registry.

How maps lie and are stored is `metadata`, what they say of themselves `meaning`, that nothing is missing `completeness`, what
can be seen in the values `values`, of the products `predictions`.
"""

from __future__ import annotations

from cube.check.rules import Finding, check, text

__all__ = ["Finding", "check", "text"]
