"""Measures the service beside its peers: `python -m bench [--long] [part …]`.

Everything is measured in one run on one machine, in turns, and a ratio is that of the medians:
other work on the machine then weighs on all alike. Without a part, all of them: sending, accepting,
growth, profile. Only where it is asked for, `executors`: ours in greenlets and in threads.
"""

import argparse
import os
import platform
from collections.abc import Sequence
from statistics import median

from bench import accepting, growth, profile
from bench.accepting import BARE, ONE_SET, Accepted, Web
from bench.machine import Machine, Provider, machine
from bench.report import goals, table
from bench.sending import Rate, Rates, measure
from bench.systems import (
    CEILING,
    CELERY,
    DRAMATIQ,
    EXECUTORS,
    FAILING_OVER,
    OURS,
    RQ,
    SIMPLE_RQ,
    System,
)

_PARTS = ("sending", "accepting", "growth", "profile")
_KNOWN = (*_PARTS, "executors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(_KNOWN)}")
    parser.add_argument("--long", action="store_true", help="more runs, and a larger backlog")
    asked = parser.parse_args()
    # argparse's `choices` takes an empty list for a wrong choice, in Python 3.11.
    parts = asked.parts or _PARTS
    if unknown := set(parts) - set(_KNOWN):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: {', '.join(_KNOWN)}")
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {cores} cores, load {load:.1f} before")  # noqa: T201
    ratios: dict[str, float] = {}
    with machine() as found:
        if "sending" in parts:
            ratios |= _sending(found, asked.long)
        if "accepting" in parts:
            ratios |= _accepting(found, asked.long)
        if "growth" in parts:
            ratios |= _growth(found, asked.long)
        if "profile" in parts:
            _profile(found, asked.long)
        if "executors" in parts:
            _executors(found, asked.long)
    if ratios:
        goals(ratios)


def _sending(found: Machine, long: bool) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for milliseconds in (0, 50):
        provider = Provider(found, milliseconds / 1000)
        systems = [OURS, CEILING, *DRAMATIQ, *CELERY, RQ, SIMPLE_RQ]
        if not milliseconds:
            systems.insert(1, FAILING_OVER)
        often = 5 if long else 3
        # Those who are nowhere near are measured once, where time is short.
        runs = {
            s: often if long or s in (OURS, CEILING, FAILING_OVER, *DRAMATIQ) else 1
            for s in systems
        }
        rates = _in_turns(found, provider, runs, 4.0 if long else 1.5)
        found.stop(provider.process)
        _show(f"Sending, provider answers after {milliseconds} ms", rates, provider)
        ours = rates[OURS].sent
        name = f"{milliseconds}ms"
        ratios |= {
            f"sends_vs_ceiling_{name}": ours / rates[CEILING].sent,
            f"sends_vs_rq_{name}": ours / rates[RQ].sent,
            f"sends_vs_celery_{name}": ours / max(rates[one].sent for one in CELERY),
            f"sends_vs_dramatiq_{name}": ours / max(rates[one].sent for one in DRAMATIQ),
        }
        if not milliseconds:
            ratios["sends_failing_over_vs_not"] = rates[FAILING_OVER].sent / ours
    return ratios


def _in_turns(
    found: Machine, provider: Provider, runs: dict[System, int], seconds: float
) -> dict[System, Rates]:
    measured: dict[System, list[Rate]] = {system: [] for system in runs}
    for turn in range(max(runs.values())):
        for system, often in runs.items():
            if turn < often:
                earlier = measured[system]
                earlier.append(measure(found, system, provider, seconds, earlier))
    return {system: Rates(tuple(rates)) for system, rates in measured.items()}


def _show(title: str, rates: dict[System, Rates], provider: Provider) -> None:
    head = ("", "mails/s", "least", "most", "runs", "worker ms", "store ms")
    rows = [
        (
            system.name,
            f"{found.sent:.0f}",
            f"{found.least:.0f}",
            f"{found.most:.0f}",
            str(len(found.runs)),
            f"{found.worker_ms:.3f}",
            f"{found.store_ms:.3f}",
        )
        for system, found in rates.items()
    ]
    table(f"{title} (ms: CPU a mail)", head, rows)


def _accepting(found: Machine, long: bool) -> dict[str, float]:
    often, seconds = (7, 4.0) if long else (3, 1.5)
    webs = {name: Web(found, name) for name in (accepting.OURS, BARE, ONE_SET)}
    measured: dict[str, list[Accepted]] = {name: [] for name in webs}
    batches = []
    for _ in range(often):
        for name, web in webs.items():
            # A store of Flask's own would not be made slower by `always` than it is.
            fsync = "always" if name == accepting.OURS else "everysec"
            measured[name].append(accepting.measure(web, seconds, fsync, found))
        batches.append(accepting.measure_batch(webs[accepting.OURS], seconds, found))
    rates = {name: median(one.rate for one in runs) for name, runs in measured.items()}
    rows = [_accept_row(name, runs) for name, runs in measured.items()]
    rows.append(("ours, batches of 1000", f"{median(batches):.0f}", *_spread(batches), *[""] * 4))
    head = ("", "mails/s", "least", "most", "p50 ms", "p99 ms", "web ms", "load ms")
    table(
        f"Accepting, {accepting.CONNECTIONS} connections, {often} runs (ms: CPU a mail)", head, rows
    )
    for name in (BARE, ONE_SET):
        webs[name].stop()
    ours = rates[accepting.OURS]
    idle = _ways(found, webs[accepting.OURS], ours, long)
    webs[accepting.OURS].stop()
    return {
        "accept_vs_bare_flask": ours / rates[BARE],
        "accept_vs_one_set": ours / rates[ONE_SET],
        "batch_vs_single": median(batches) / ours,
        "idle_latency_ms": idle,
    }


def _accept_row(name: str, runs: Sequence[Accepted]) -> tuple[str, ...]:
    names = {accepting.OURS: "ours", BARE: "bare Flask JSON", ONE_SET: "Flask + one SET"}
    rates = [one.rate for one in runs]
    middle = [
        (f"{median(one.p50 for one in runs):.1f}", f"{median(one.p99 for one in runs):.1f}"),
        (f"{median(one.web_ms for one in runs):.3f}", f"{median(one.load_ms for one in runs):.3f}"),
    ]
    return (names[name], f"{median(rates):.0f}", *_spread(rates), *middle[0], *middle[1])


def _spread(rates: Sequence[float]) -> tuple[str, str]:
    return f"{min(rates):.0f}", f"{max(rates):.0f}"


def _ways(found: Machine, web: Web, rate: float, long: bool) -> float:
    """Prints how long a mail is under way; returns it for an idle system."""
    provider = Provider(found, 0.0)
    seconds = 20.0 if long else 5.0
    # Half of what it accepts while it does nothing else leaves room for sending it.
    loaded = max(round(rate / 6), 10)
    measured = {
        f"idle, {often} a second": accepting.ways(found, provider, web, often, seconds)
        for often in (10, loaded)
    }
    names = list(measured)
    rows = [
        (
            name if name == names[0] else name.replace("idle", "loaded"),
            *(f"{value:.1f}" for value in (*one.accept, *one.arrive)),
            str(one.mails),
        )
        for name, one in measured.items()
    ]
    head = ("", "accept p50", "p99", "at provider p50", "p99", "mails")
    table("From the request on, milliseconds", head, rows)
    found.stop(provider.process)
    return measured[names[0]].arrive[0]


def _growth(found: Machine, long: bool) -> dict[str, float]:
    provider = Provider(found, 0.0)
    sizes = [10_000, 1_000_000] if long else [10_000, 100_000]
    measured = growth.measure(found, provider, sizes, 4.0 if long else 2.0)
    rows = [(f"{one.waiting:,}", f"{one.sent:.0f}", f"{one.bytes_each:.0f}") for one in measured]
    table("Growth", ("waiting", "mails/s", "bytes a mail, beside its text"), rows)
    return {"backlog_big_vs_10k": measured[-1].sent / measured[0].sent}


def _executors(found: Machine, long: bool) -> None:
    for milliseconds in (0, 50):
        provider = Provider(found, milliseconds / 1000)
        runs = dict.fromkeys(EXECUTORS, 5 if long else 2)
        rates = _in_turns(found, provider, runs, 4.0 if long else 1.5)
        found.stop(provider.process)
        _show(f"Ours, provider answers after {milliseconds} ms", rates, provider)


def _profile(found: Machine, long: bool) -> None:
    provider = Provider(found, 0.0)
    shares = profile.measure(found, provider, 20.0 if long else 5.0)
    rows = [(room, f"{100 * share:.0f} %") for room, share in shares.items()]
    table("Where a worker's time goes", ("", "share"), rows)


if __name__ == "__main__":
    main()
