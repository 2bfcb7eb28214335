"""The rules of breakers: what opens one, and who may ask a provider that is not fit."""

from collections.abc import Mapping

import orjson

from tests.simulation.ledger import Ledger
from tests.simulation.world import Task, Violation

_OWN_FAULTS = ("refuse account", "unavailable", "unknown", "no answer", "the provider class raised")


class BreakerRules:
    """Looks at what is written of providers, and at who is asked."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: dict[str, dict] = {}

    @property
    def paused(self) -> list[str]:
        return [name for name, known in self._seen.items() if known["paused"]]

    def written(self, task: Task | None, texts: Mapping[str, str], now: int) -> None:
        """What is known of the providers has been written."""
        for name, text in texts.items():
            after = _read(text)
            before = self._seen.get(name)
            if after == before:
                continue
            self._seen[name] = after
            version = 0 if before is None else before["version"]
            _demand(after["version"] == version + 1, "breaker", f"{name}: written over a change")
            _demand(
                after["failures"] <= self._ledger.faults[name],
                "breaker",
                f"{name}: {after['failures']} failures, {self._ledger.faults[name]} were its own",
            )
            state, old = after["breaker"], "closed" if before is None else before["breaker"]
            if state == "open" and (old != state or before["changed"] != after["changed"]):
                own = str(after["reason"]).startswith(_OWN_FAULTS)
                _demand(own, "breaker", f"{name}: opened by '{after['reason']}'")
            if state == "half_open" and (before is None or before["changed"] != after["changed"]):
                _demand(
                    old == "open" or (old == state and before["until"] <= now),
                    "probe",
                    f"{name}: a second probe",
                )
                if task is not None:
                    task.probing[name] = after["version"]

    def asked(self, task: Task, name: str, why: str) -> None:
        """A task has opened an attempt: it must have seen that the provider is fit."""
        reads, blind = task.reads, task.blind
        task.reads, task.blind = reads[-1:], False
        if (
            not blind
            and reads
            and not any(self._fit(task, name, why, now, texts) for now, texts in reads)
        ):
            text = f"{name} was asked by {task.name}, and was {reads[-1][1].get(name)}"
            raise Violation("unfit", text)

    def _fit(self, task: Task, name: str, why: str, now: int, texts: Mapping[str, str]) -> bool:
        if name not in texts:
            return True
        known = _read(texts[name])
        if known["paused"] or (known["rest"] or 0) > now:
            return False
        if known["breaker"] == "closed":
            return True
        if why.startswith("the least bad"):
            return known["breaker"] == "open"
        return name in task.probing


def _read(text: str) -> dict:
    version, _, rest = text.partition(" ")
    return {"version": int(version), **orjson.loads(rest)}


def _demand(holds: bool, rule: str, text: str) -> None:
    if not holds:
        raise Violation(rule, text)
