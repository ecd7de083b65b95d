"""What a reader did with the rows of a table: used, or left out for a reason. Counts that do not add up are an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MAX_NAMES: Final = 5  # how many rows a report names for each reason


@dataclass
class Tally:
    """Rows of one table: read = used + those of each reason in `left_out`."""

    read: int = 0
    used: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every row that was read is used or left out for one reason."""
        return self.read == self.used + sum(self.left_out.values())

    def line(self) -> str:
        """`5 read = 3 used + 2 outside the region`."""
        return f"{self.read:,} read = " + " + ".join(
            [f"{self.used:,} used", *(f"{n:,} {reason}" for reason, n in self.left_out.items())]
        )


@dataclass
class Report:
    """What a reader used, left out or changed: counts, and the first few rows of each remark.

    `tallies` has an account for each kind of row, such as "rows of plots.csv": `count` what is read, `leave_out` what is
    not used, `use` the rest. `note` is for what is used all the same (a decimal comma, a missing area).
    """

    title: str
    totals: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)  # whole lists, for those who correct a table by them
    tallies: dict[str, Tally] = field(default_factory=dict)

    def note(self, reason: str, rows: Sequence[Any], count: int | None = None) -> None:
        """Add `rows` (or `count` of them, where `rows` are examples) to those of `reason`; nothing is noted for none."""
        count = len(rows) if count is None else count
        if count:
            count_before, names = self.remarks.get(reason, (0, []))
            self.remarks[reason] = (count_before + count, names + [str(r) for r in rows[: max(MAX_NAMES - len(names), 0)]])

    def count(self, account: str, rows: int) -> None:
        """Add `rows` to those read of `account`."""
        self._tally(account).read += rows

    def use(self, account: str, rows: int) -> None:
        """Add `rows` to those used of `account`."""
        self._tally(account).used += rows

    def leave_out(self, account: str, reason: str, rows: Sequence[Any], count: int | None = None) -> None:
        """Count `rows` of `account` as left out for `reason`, and name the first of them."""
        self.note(f"{reason}, skipped", rows, count)
        count = len(rows) if count is None else count
        if count:
            left_out = self._tally(account).left_out
            left_out[reason] = left_out.get(reason, 0) + count

    def withdraw(self, account: str, reason: str, rows: Sequence[Any], count: int | None = None) -> None:
        """Leave `rows` out that were counted as used."""
        self.leave_out(account, reason, rows, count)
        self._tally(account).used -= len(rows) if count is None else count

    def check(self) -> None:
        """Raise `ArithmeticError` where rows read are not rows used plus rows left out: a defect of the reader."""
        for account, tally in self.tallies.items():
            if not tally.balanced:
                raise ArithmeticError(f"{self.title}: {account} do not add up: {tally.line()}.")

    def lines(self) -> list[str]:
        """The report as sentences."""
        out = [f"{self.title}: " + ", ".join(f"{n:,} {what}" for what, n in self.totals.items())]
        out += [f"  {account}: {tally.line()}" for account, tally in self.tallies.items()]
        return out + [f"  {reason}" for reason in self.reasons()]

    def reasons(self) -> list[str]:
        """The remarks as sentences."""
        out = []
        for reason, (count, names) in self.remarks.items():
            more = ", ..." if count > len(names) else ""
            out.append(f"{count:,} {reason} ({', '.join(names)}{more})" if names else f"{count:,} {reason}")
        return out

    def document(self) -> dict[str, Any]:
        """The report for JSON: kept, rows (read, used, left_out by reason), remarks, and whole lists."""
        rows = {k: {"read": t.read, "used": t.used, "left_out": t.left_out} for k, t in self.tallies.items()}
        remarks = {k: {"count": n, "first": names} for k, (n, names) in self.remarks.items()}
        return {
            "title": self.title,
            "kept": self.totals,
            **({"rows": rows} if rows else {}),
            "remarks": remarks,
            **({"lists": self.lists} if self.lists else {}),
        }

    def _tally(self, account: str) -> Tally:
        return self.tallies.setdefault(account, Tally())
