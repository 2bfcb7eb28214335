"""Where mail goes: the providers, how they are, what of their quotas is used, and the routes."""

from dataclasses import dataclass

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from app.api.context import services
from app.core.breaker import Fitness
from app.core.tokens import Window
from app.web.session import signed_in
from app.web.wording import Tone

blueprint = Blueprint("routing", __name__)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A provider as the page shows it; `quotas` are its windows with what of each is used."""

    name: str
    tone: Tone
    state: str
    text: str
    quotas: tuple[tuple[Window, int], ...]


@blueprint.get("/routing")
@signed_in
def show() -> ResponseReturnValue:
    known, used = services().breakers.all(), services().quotas.used()
    return render_template(
        "web/routing.html",
        providers=[
            _shown(name, known.get(name, Fitness()), used.get(name, ()))
            for name in services().order
        ],
        table=services().routes.current(),
    )


def _shown(name: str, fitness: Fitness, used: tuple[int, ...]) -> _Shown:
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
    return _Shown(name, tone, state, text, tuple(zip(windows, used, strict=True)))
