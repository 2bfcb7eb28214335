"""The ledger as people read it."""

from collections.abc import Sequence

from tests.chaos.ledger import Row

HEADINGS = (
    "scenario",
    "runs",
    "seconds",
    "kills",
    "accepted",
    "in doubt",
    "once",
    "more than once",
    "flagged",
    "unflagged",
    "lost",
    "unknown on hold",
    "copies on hold",
    "kill to sent",
)
NOTES = (
    "accepted: messages that got 202. in doubt: those whose first answer was lost, settled by the",
    "same Idempotency-Key. once, more than once: how often the judge got them. flagged: of the",
    "latter, those that say possible_duplicate. kill to sent: the longest time from the first blow",
    "that fell while a message was under way to its sending.",
)
_BREAKS_SHOWN = 20


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings, and a sum where there are several."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    if len(rows) > 1:
        total = sum(rows[1:], rows[0])
        lines.append(("together", *_cells(total)[1:]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [_line(cells, widths) for cells in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*shown, "", *NOTES])


def breaks(rows: Sequence[Row]) -> str:
    """How the promise was broken, scenario by scenario; an empty text if it was kept."""
    lines = []
    for row in rows:
        lines += [f"BROKEN  {row.scenario}: {line}" for line in row.breaks[:_BREAKS_SHOWN]]
        if len(row.breaks) > _BREAKS_SHOWN:
            lines.append(f"BROKEN  {row.scenario}: {len(row.breaks) - _BREAKS_SHOWN} more")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    kills = ", ".join(f"{count} {kind}" for kind, count in sorted(row.blows.items()))
    return (
        row.scenario,
        str(row.runs),
        f"{row.seconds:.0f}",
        kills or "-",
        str(row.accepted),
        str(row.in_doubt),
        str(row.once),
        str(row.more),
        str(row.flagged),
        str(row.unflagged),
        str(row.lost),
        str(row.unknown_on_hold),
        str(row.copies_on_hold),
        f"{row.slowest:.1f} s" if row.blows else "-",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    columns = zip(HEADINGS, cells, widths, strict=True)
    texts = ("scenario", "kills")
    words = [text.ljust(n) if name in texts else text.rjust(n) for name, text, n in columns]
    return "  ".join(words).rstrip()
