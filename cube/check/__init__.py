"""Does a cube keep its promises? `check` asks each of them; one small function a promise, all in one registry.

The promises are those of the data model: how maps lie and are stored (`layout`), what they say of themselves (`meaning`),
that nothing is missing (`completeness`), and what can be seen in the values (`values`, of the products `predictions`).
"""

from __future__ import annotations

from cube.check.promise import Finding, check, text

__all__ = ["Finding", "check", "text"]
