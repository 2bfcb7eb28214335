"""Tables for people, and one line for each ratio."""

from collections.abc import Iterable, Mapping, Sequence

GOALS: Mapping[str, tuple[float, float]] = {
    "sends_vs_ceiling_0ms": (0.6, 0.8),
    "sends_vs_ceiling_50ms": (0.6, 0.8),
    "sends_vs_rq_0ms": (80, 130),
    "sends_vs_rq_50ms": (120, 250),
    "sends_vs_celery_0ms": (3, 4),
    "sends_vs_celery_50ms": (4, 5),
    "sends_vs_dramatiq_0ms": (1.4, 1.8),
    "sends_vs_dramatiq_50ms": (1.8, 2.3),
    "sends_failing_over_vs_not": (0.4, 0.47),
    "accept_vs_bare_flask": (0.18, 0.25),
    "accept_vs_one_set": (0.5, 0.7),
    "batch_vs_single": (4, 8),
    "backlog_big_vs_10k": (0.9, 1),
    "idle_latency_ms": (15, 8),
}
"""What each ratio should reach, and what would be better."""


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; the first column is for names."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}\n")  # noqa: T201
    for line in lines:
        first, *others = (
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join([first, *others]), flush=True)  # noqa: T201


def goals(ratios: Mapping[str, float]) -> None:
    """Prints how each ratio stands against its goal, and the ratios by themselves."""
    rows = []
    for name, value in ratios.items():
        reach, better = GOALS[name]
        reached = value <= reach if better < reach else value >= reach
        rows.append((name, f"{value:.3g}", f"{reach:g}", f"{better:g}", "yes" if reached else "no"))
    table("Ratios", ("", "is", "goal", "better", "reached"), rows)
    print()  # noqa: T201
    for name, value in ratios.items():
        print(f"ratio {name} {value:.4g}")  # noqa: T201
