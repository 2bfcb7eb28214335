"""Routes for numbers: what became of the mail of some days, and what machines watch."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, ClassVar

from flask import Response
from marshmallow import Schema, ValidationError, fields, validates_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from app.api.auth import caller
from app.api.context import services
from app.api.openapi import ApiBlueprint
from app.core import stats
from app.core.event_inbox import Heard
from app.core.stats import BOUNDS, NAMES, RATES, Numbers, rates
from app.core.track_record import Impression
from app.services import Services

blueprint = ApiBlueprint("numbers", __name__, description="What became of the mail, in numbers")

_DAYS = 30
_MOST_TAGS = 200


class StatsQuery(Schema):
    """Which days, in UTC, both included."""

    since = fields.Date(
        load_default=None,
        metadata={"description": "The first day; 30 days up to the last one if it is not given."},
    )
    until = fields.Date(
        load_default=None, metadata={"description": "The last day; today if it is not given."}
    )
    tag = fields.String(load_default=None, metadata={"description": "Only this tag in `tags`."})

    @validates_schema
    def _in_order(self, data: Mapping[str, Any], **_: Any) -> None:
        since, until = data.get("since"), data.get("until")
        if since is not None and until is not None and since > until:
            raise ValidationError("It is after `until`.", "since")


_COUNT = {"type": "integer", "minimum": 0}
_RATE = {"type": ["number", "null"], "minimum": 0}


class _Numbers(Schema):
    """Counts of recipients, and rates."""

    counts = fields.Dict(
        required=True,
        metadata={"properties": dict.fromkeys(NAMES, _COUNT), "required": list(NAMES)},
    )
    rates = fields.Dict(
        required=True,
        metadata={
            "properties": dict.fromkeys(RATES, _RATE),
            "required": list(RATES),
            "description": "; ".join(
                f"`{name}` is {part} / {whole}" for name, (part, whole) in RATES.items()
            )
            + ". Null where there is nothing to divide by.",
        },
    )


class DayNumbers(_Numbers):
    """The mail that was accepted on a day."""

    day = fields.Date(required=True)


class ProviderNumbers(_Numbers):
    """The mail that a provider took; nothing is `accepted` here but by us."""

    provider = fields.String(required=True)


class TagNumbers(_Numbers):
    """The mail with a tag."""

    tag = fields.String(required=True)


class TimesAnswer(Schema):
    """How long it took from when a message was due, by classes of seconds."""

    up_to = fields.List(
        fields.Float(allow_none=True),
        required=True,
        metadata={"description": "The upper bound of each class; null is without one."},
    )
    sent = fields.List(fields.Integer(), required=True)
    delivered = fields.List(fields.Integer(), required=True)


class StatsAnswer(Schema):
    """What became of the mail that was accepted in some days."""

    since = fields.Date(required=True)
    until = fields.Date(required=True)
    total = fields.Nested(_Numbers, required=True)
    days = fields.List(fields.Nested(DayNumbers), required=True)
    providers = fields.List(fields.Nested(ProviderNumbers), required=True)
    tags = fields.List(
        fields.Nested(TagNumbers),
        required=True,
        metadata={"description": f"The {_MOST_TAGS} that most mail had, the most used first."},
    )
    times = fields.Nested(TimesAnswer, required=True)


@blueprint.route("/stats", methods=["GET"])
@blueprint.doc(operationId="getStats")
@blueprint.arguments(StatsQuery(), location="query")
@blueprint.response(200, StatsAnswer)
@blueprint.problems(401, 503)
def get_stats(query: Mapping[str, Any]) -> dict[str, Any]:
    """What became of the mail of some days, by day, provider and tag

    Every number counts recipients, and belongs to the day on which the message was accepted.
    """
    first, last = _period(query["since"], query["until"])
    days = services().stats.days(caller(), first, last)
    together = Numbers.together(days.values())
    tags = together.by_tag()
    most_used = sorted(tags, key=lambda tag: (-tags[tag]["accepted"], tag))
    shown = [tag for tag in most_used if query["tag"] in (None, tag)][:_MOST_TAGS]
    return {
        "since": first,
        "until": last,
        "total": _answer(together.all()),
        "days": [{"day": day, **_answer(numbers.all())} for day, numbers in days.items()],
        "providers": [
            {"provider": name, **_answer(counts)} for name, counts in together.by_provider().items()
        ],
        "tags": [{"tag": tag, **_answer(tags[tag])} for tag in shown],
        "times": {
            "up_to": [*BOUNDS, None],
            "sent": together.times("sent"),
            "delivered": together.times("delivered"),
        },
    }


def _period(since: date | None, until: date | None) -> tuple[date, date]:
    """The first and the last day, of those that may have numbers."""
    today = stats.day_of(services().clock())
    oldest = today - stats.KEPT
    last = min(until or today, today)
    first = since or max(last, oldest + timedelta(days=_DAYS)) - timedelta(days=_DAYS - 1)
    return max(first, oldest), max(last, oldest)


def _answer(counts: Mapping[str, int]) -> dict[str, Any]:
    return {"counts": counts, "rates": rates(counts)}


class _Collector:
    """Reads what is to be told to Prometheus when it asks."""

    describe: ClassVar[None] = None

    def __init__(self, of: Services) -> None:
        self._of = of

    def collect(self) -> Iterator[Metric]:
        totals = self._of.stats.totals()
        recipients = CounterMetricFamily(
            "steadpost_recipients", "Recipients, by what became of their mail", labels=["fate"]
        )
        for name, count in totals.all().items():
            recipients.add_metric([name], count)
        yield recipients
        by_provider = CounterMetricFamily(
            "steadpost_provider_recipients",
            "Recipients, by the provider that took their mail and what became of it",
            labels=["provider", "fate"],
        )
        for provider, counts in totals.by_provider().items():
            for name, count in counts.items():
                if name != "accepted":
                    by_provider.add_metric([provider, name], count)
        yield by_provider
        for name in ("sent", "delivered"):
            yield _histogram(name, totals.times(name))
        backlog = GaugeMetricFamily(
            "steadpost_unfinished_messages", "Messages that are not finished", labels=["in"]
        )
        for place, count in self._of.store.unfinished().items():
            backlog.add_metric([place], count)
        yield backlog
        fit = GaugeMetricFamily(
            "steadpost_provider_fit", "Whether a provider is asked now", labels=["provider"]
        )
        now, known = self._of.clock(), self._of.breakers.all()
        for provider in self._of.order:
            fit_from = known[provider].fit_from(now) if provider in known else now
            fit.add_metric([provider], float(fit_from is not None and fit_from <= now))
        yield fit
        suspect = GaugeMetricFamily(
            "steadpost_provider_suspect",
            "Whether a provider seems to deliver nothing: it is silent, or blocked",
            labels=["provider", "impression"],
        )
        lately = GaugeMetricFamily(
            "steadpost_provider_lately",
            "Recipients of the last hours: taken, heard of, blocked",
            labels=["provider", "what"],
        )
        for provider, record in self._of.track_records.all().items():
            for impression in (Impression.SILENT, Impression.BLOCKED):
                found = float(record.impression is impression)
                suspect.add_metric([provider, impression.value], found)
            lately.add_metric([provider, "taken"], record.counts.taken)
            lately.add_metric([provider, "heard"], record.counts.heard)
            lately.add_metric([provider, "blocked"], record.counts.blocked)
        yield suspect
        yield lately
        yield from _reports(self._of)
        yield GaugeMetricFamily(
            "steadpost_waiting_events",
            "Reports of providers that are to be applied",
            value=self._of.event_inbox.waiting(),
        )


def _reports(of: Services) -> Iterator[Metric]:
    """What the providers have told, and when last."""
    reports = CounterMetricFamily(
        "steadpost_provider_reports",
        "Events that a provider told, and what of them or of its webhooks was left aside",
        labels=["provider", "what"],
    )
    last = GaugeMetricFamily(
        "steadpost_provider_last_report_timestamp_seconds",
        "When a provider last told anything",
        labels=["provider"],
    )
    heard = of.event_inbox.heard()
    for provider in of.order:
        told = heard.get(provider, Heard())
        ignored = sum(told.ignored.values())
        for what in ("events", "repeated", "strays", "given_up"):
            reports.add_metric([provider, what], getattr(told, what))
        reports.add_metric([provider, "ignored"], ignored)
        if told.last_at is not None:
            last.add_metric([provider], told.last_at.timestamp())
    yield reports
    yield last


def _histogram(name: str, classes: list[int]) -> HistogramMetricFamily:
    buckets, count = [], 0
    for bound, number in zip([*map(str, BOUNDS), "+Inf"], classes, strict=True):
        count += number
        buckets.append((bound, count))
    family = HistogramMetricFamily(
        f"steadpost_{name}_seconds", f"Seconds from when mail was due until it was {name}"
    )
    family.add_metric([], buckets, sum_value=None)
    return family


@blueprint.route("/metrics", methods=["GET"])
@blueprint.doc(operationId="getMetrics")
@blueprint.response(200, {"type": "string"}, content_type="text/plain")
@blueprint.problems(401, 503)
def metrics() -> Response:
    """Numbers over everybody's mail, as Prometheus reads them"""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(services()))
    return Response(generate_latest(registry), content_type="text/plain; version=0.0.4")
