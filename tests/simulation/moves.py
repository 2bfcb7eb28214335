"""The rules of a record's life: what one write may change, and who may write."""

from collections.abc import Mapping

from tests.simulation.ledger import Ledger
from tests.simulation.seen import Seen
from tests.simulation.world import Task, Violation

TAKEN = frozenset({"sent", "delivered", "deferred", "bounced", "complained"})
"""The states of recipients for whom a provider took the mail; reports lead from one to another."""

_ONWARD: Mapping[str, frozenset[str]] = {
    "queued": TAKEN | {"failed", "unknown", "expired", "cancelled"},
    "unknown": TAKEN | {"failed", "queued", "expired", "cancelled"},
    "expired": TAKEN | {"failed", "queued"},
    "failed": TAKEN | {"queued"},
    "cancelled": TAKEN,
    **dict.fromkeys(TAKEN, TAKEN),
}
"""Where a recipient may go with one write; whatever is not here would be a way back."""


def born(after: Seen) -> None:
    """The rules of a new record."""
    _demand(
        after.version == 1 and after.state in ("queued", "scheduled"),
        "birth",
        f"{after.id} is not new",
    )
    _demand(not after.attempts and not after.flagged, "birth", f"{after.id} has a past")


def moved(before: Seen, after: Seen, ledger: Ledger) -> None:
    """The rules of every change of a record."""
    name = after.id[-4:]
    _demand(after.version in (before.version, before.version + 1), "version", f"{name} leaps")
    _demand(
        after.flagged or not before.flagged, "flag", f"{name} is no possible duplicate any more"
    )
    _demand(after.recipients.keys() == before.recipients.keys(), "recipients", f"{name}: others")
    for item, finding in before.evidence.items():
        _demand(after.evidence.get(item) == finding, "evidence", f"{name}: {item} has changed")
    for (number, source), finding in after.evidence.items():
        if (number, source) not in before.evidence and source != "operator":
            _truthful(f"{after.id}-{number}", finding, ledger)
    _attempts(before, after, ledger)
    for email, state in after.recipients.items():
        if state != before.recipients[email]:
            _recipient(before, after, email, ledger)
    if after.ended:
        _demand(after.state in _ends(after), "state", f"{name} ended as {after.state}")


def written_by(
    task: Task | None, before: Seen, after: Seen, lease_end: int | None, now: int
) -> None:
    """The rules of who may move a message, and when: `lease_end` is that of the state before."""
    role = task.role if task is not None else ""
    name = f"{after.id[-4:]} ({before.state} to {after.state}) by {task.name if task else 'nobody'}"
    if role == "take":
        _demand(before.state == "queued", "claim", f"{name}: it was not free")
        return
    if before.state == "sending":
        if role == "sweep":
            over = lease_end is not None and lease_end <= now
            _demand(over, "live lease", f"{name}: the lease holds until {lease_end}, it is {now}")
            return
        claim = task.claim if task is not None else None
        _demand(claim == (after.id, before.fence), "fence", f"{name}: another one has it")
        if len(after.attempts) > len(before.attempts):
            started = after.attempts[-1]["started"]
            held = lease_end is not None and started < lease_end
            _demand(held, "lease", f"{name}: an attempt on a lease that is over")
            _demand(started < after.expires, "expiry", f"{name}: an attempt after its time")
        return
    _demand(role != "deliver" or task.in_evidence, "fence", f"{name}: it is not his any more")  # type: ignore[union-attr]
    if role == "sweep":
        _demand(before.next is not None and before.next <= now, "early", f"{name}: not due")
    _demand(len(after.attempts) == len(before.attempts), "fence", f"{name}: an attempt unclaimed")


def _attempts(before: Seen, after: Seen, ledger: Ledger) -> None:
    name = after.id[-4:]
    grown = len(after.attempts) - len(before.attempts)
    _demand(grown in (0, 1), "attempts", f"{name}: {grown} more at once")
    _demand(not grown or after.open_attempt is not None, "attempts", f"{name}: closed at once")
    for number, attempt in enumerate(before.attempts, 1):
        now = after.attempts[number - 1]
        if "outcome" in attempt:
            _demand(now == attempt, "attempts", f"{name}: attempt {number} was closed")
        elif "outcome" in now:
            _truthful(f"{after.id}-{number}", now["outcome"], ledger)
    for number in range(1, len(after.attempts)):
        _demand("outcome" in after.attempts[number - 1], "attempts", f"{name}: two are open")


def _truthful(attempt_id: str, outcome: str, ledger: Ledger) -> None:
    """Nobody may be sure of what is not so."""
    call = ledger.calls.get(attempt_id)
    taken = call is not None and call.may_make_a_copy
    if outcome == "accepted":
        _demand(taken, "truth", f"{attempt_id[-6:]} is said to be accepted")
    elif outcome != "unknown":
        _demand(not taken, "truth", f"{attempt_id[-6:]} was accepted and is said to be {outcome}")


def _recipient(before: Seen, after: Seen, email: str, ledger: Ledger) -> None:
    old, new = before.recipients[email], after.recipients[email]
    text = f"{after.id[-4:]}: {email} went from {old} to {new}"
    if new == "queued" and after.passed_on.get(email) != before.passed_on.get(email):
        _passed_on(before, after, email, ledger)
        return
    _demand(new in _ONWARD[old], "way back", text)
    if new in TAKEN and old not in TAKEN:
        known = ledger.took(after.id, email) or ledger.said["sent"][after.id] > 0
        _demand(known, "truth", f"{text}, and nobody took it")
    elif old == "unknown" and new in ("queued", "expired", "cancelled"):
        _demand(not after.doubtful, "release", f"{text}, and {after.doubtful} are in doubt")
    elif old in ("expired", "failed") and new == "queued":
        _demand(ledger.said["resend"][after.id] > 0, "release", f"{text}, and nobody wanted it")
    elif old in ("expired", "unknown") and new == "failed":
        rejected = any("rejected" in after.findings(n) for n in range(1, len(after.attempts) + 1))
        _demand(rejected or ledger.said["drop"][after.id] > 0, "release", f"{text} without a word")


def _passed_on(before: Seen, after: Seen, email: str, ledger: Ledger) -> None:
    """The one way back: somebody was blocked, wanted it, and had it from one provider alone."""
    number = after.passed_on[email]
    text = f"{after.id[-4:]}: {email} is passed on after {number}"
    known = (f"{after.id}-{number}", email) in ledger.blocked
    _demand(known, "passed on", f"{text}, and nobody reported a block")
    _demand(after.wants_failover, "passed on", f"{text}, and nobody wanted that")
    _demand(email not in before.passed_on, "passed on", f"{text} for the second time")
    # A block says as well that the mail was taken, where nobody knew.
    known_by_it = ("unknown",) if not after.doubtful else ()
    on_its_way = before.recipients[email] in ("sent", "deferred", *known_by_it)
    _demand(on_its_way, "passed on", f"{text} too late")
    _demand(not (after.hold and after.doubtful), "passed on", f"{text} while others are in doubt")


def _ends(after: Seen) -> set[str]:
    states = {"sent" if s == "deferred" else s for s in after.recipients.values()}
    ends = states if len(states) == 1 else {"partial"}
    # Held mail stays as it is when its time is over.
    return ends | ({"unknown"} if after.hold and "unknown" in states else set())


def _demand(holds: bool, rule: str, text: str) -> None:
    if not holds:
        raise Violation(rule, text)
