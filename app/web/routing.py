"""Where mail goes: the providers, how they are, what of their quotas is used, and the routes."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.api.context import services
from app.core.breaker import Fitness
from app.core.event_inbox import Heard
from app.core.tokens import Window
from app.core.track_record import Impression, TrackRecord
from app.web.session import signed_in
from app.web.wording import Tone

blueprint = Blueprint("routing", __name__)


_RECORDS: Mapping[Impression, str] = {
    Impression.UNKNOWN: "There is too little to tell.",
    Impression.WELL: "It looks well.",
    Impression.SILENT: "It may deliver nothing, or its webhooks do not arrive.",
    Impression.BLOCKED: "What it sends is turned down for reasons of policy or reputation.",
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """A provider as the page shows it; `quotas` are its windows with what of each is used.

    `record` is what it did with the mail of the last hours, and `record_text` says what of that.
    """

    name: str
    tone: Tone
    state: str
    text: str
    quotas: tuple[tuple[Window, int], ...]
    record: TrackRecord
    record_text: str
    heard: Heard


@blueprint.get("/routing")
@signed_in
def show() -> ResponseReturnValue:
    known, used = services().breakers.all(), services().quotas.used()
    records, heard = services().track_records.all(), services().event_inbox.heard()
    return render_template(
        "web/routing.html",
        providers=[
            _shown(
                name,
                known.get(name, Fitness()),
                used.get(name, ()),
                records[name],
                heard.get(name, Heard()),
            )
            for name in services().order
        ],
        table=services().routes.current(),
    )


def _shown(
    name: str, fitness: Fitness, used: tuple[int, ...], record: TrackRecord, heard: Heard
) -> _Shown:
    now = services().clock()
    fit_from = fitness.fit_from(now)
    if fit_from is not None and fit_from <= now and not fitness.needs_probe:
        tone, state, text = Tone.GOOD, "fit", "It is asked."
    elif fitness.paused:
        tone, state, text = Tone.OVER, "paused", "It is not asked until somebody resumes it."
    elif fitness.needs_probe:
        tone, state, text = Tone.BAD, "out of order", f"It {fitness.in_words()}."
    else:
        tone, state, text = Tone.WAITING, "resting", "It asked to be left alone for a while."
    windows = services().quotas.of(name)
    told = _RECORDS[record.impression]
    if record.reason is not None:
        demoted = services().settings.delivery_evidence == "demote"
        told = f"{record.reason}. {told}" + (" It is asked last." if demoted else "")
        tone = Tone.DOUBT if tone is Tone.GOOD else tone
    quotas = tuple(zip(windows, used, strict=True))
    return _Shown(name, tone, state, text, quotas, record, told, heard)
