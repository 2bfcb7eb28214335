"""What every provider must do whose webhooks are read; its author feeds it with samples."""

import contextlib
import json
import re
import traceback
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.base import Provider, Timeouts
from providers.types import Bounce, DeliveryEvent, EventType
from providers.webhooks import (
    EventRow,
    NotAuthentic,
    NotReadable,
    VerifierUnavailable,
    WebhookContent,
    WebhookFault,
    WebhookRequest,
    WebhooksNotSetUp,
)
from tests.providers.hooks import NOW, request

ANN = "ann@example.net"
ATTEMPT = "msg_1-1"
#: What JSON can hold, the very large and the very deep besides.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([10**400, -(10**30), 1e308, "9" * 400, "\ud83c", "a\r\nb\x00", "\x85" * 9]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
DEEP: Any = json.loads("[" * 300 + "]" * 300)
fuzz = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
)


@dataclass(frozen=True)
class Told:
    """An event in a provider's words, and what it is; `type` is None where it is not for us.

    What else it must be found to say stands in `more`, by the names in `DeliveryEvent`.
    """

    words: dict[str, Any]
    type: EventType | None
    bounce: Bounce | None = None
    more: tuple[tuple[str, object], ...] = ()


class WebhookContract:
    """Inherit this as `Test…`, set what stands without a value here, and write `sealed`."""

    provider: type[Provider]
    #: Enough for its webhooks to be read; values of secret settings long enough to search for.
    settings: dict[str, str]
    #: The setting without which nothing can be verified.
    wanted: str
    #: The provider's own table, and samples of all that stands in it: each about Ann and ATTEMPT.
    rows: tuple[EventRow, ...]
    samples: tuple[Told, ...]
    #: Which member of an event says what it is.
    name: str
    #: The headers without which a request is not authentic, and whether they cover the body.
    headers: tuple[str, ...]
    covers_body = True
    #: How long after it was signed a request is believed, and how far ahead of us a clock may be.
    age: timedelta | None
    skew = timedelta(minutes=5)

    def sealed(self, body: bytes, at=NOW) -> WebhookRequest:
        """A request signed at a time, as by the provider, with this in the place of its JSON."""
        raise NotImplementedError

    def signed(self, event: object, at=NOW) -> WebhookRequest:
        """A genuine request that tells of one event."""
        return self.sealed(json.dumps(event).encode(), at)

    def about(self, event: dict[str, Any], recipient: str) -> dict[str, Any]:
        """The same about another recipient."""
        return json.loads(json.dumps(event).replace(ANN, recipient))

    def forgeries(self) -> Iterator[WebhookRequest]:
        """What is not the provider's, besides what is tried for every provider."""
        return iter(())

    # --- what the author need not look at

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "told" in metafunc.fixturenames:
            metafunc.parametrize("told", self.samples, ids=lambda t: str(t.words.get(self.name)))

    def configured(self, **changed: str) -> Provider:
        return self.provider.configure({**self.settings, **changed}, Timeouts())

    def read(self, sent: WebhookRequest) -> WebhookContent:
        return self.configured().read_webhook(sent)

    def fault(self, sent: WebhookRequest) -> WebhookFault:
        """What reading raises, fit to be shown to whoever sent it."""
        with pytest.raises(WebhookFault) as raised:
            self.read(sent)
        for shown in (str(raised.value), *traceback.format_exception(raised.value)):
            for setting in self.provider.settings:
                if setting.secret and self.settings.get(setting.name):
                    assert self.settings[setting.name] not in shown
        assert str(raised.value).isprintable()
        return raised.value

    def usual(self) -> dict[str, Any]:
        return next(t.words for t in self.samples if t.type is EventType.DELIVERED)

    def test_every_kind_of_event_is_what_it_should_be(self, told: Told) -> None:
        content = self.read(self.signed(told.words))
        if told.type is None:
            assert content.events == ()
            assert str(told.words.get(self.name, "")) in content.ignored[0]
            return
        (event,) = content.events
        assert content.ignored == ()
        assert (event.type, event.bounce) == (told.type, told.bounce)
        assert (event.attempt_id, event.recipient) == (ATTEMPT, ANN)
        assert event.occurred_at.tzinfo is not None
        assert NOW - timedelta(hours=1) < event.occurred_at < NOW
        assert event.provider_message_id
        assert {name: getattr(event, name) for name, _ in told.more} == dict(told.more)

    def test_every_row_of_the_table_has_its_sample(self) -> None:
        for name, *_, kind, bounce in self.rows:
            assert any(
                (told.type, told.bounce) == (kind, bounce)
                and re.fullmatch(name, str(told.words[self.name]))
                for told in self.samples
            ), (name, kind, bounce)

    def test_a_kind_that_nobody_knows_is_named_and_ignored(self) -> None:
        content = self.read(self.signed({**self.usual(), self.name: "something_new"}))
        assert content.events == ()
        assert "something_new" in content.ignored[0]

    def test_told_again_it_is_the_same_and_of_another_recipient_it_is_not(self) -> None:
        sent = self.signed(self.usual())
        (first,) = self.read(sent).events
        assert self.read(sent).events == (first,)
        (again,) = self.read(self.signed(self.usual(), NOW - timedelta(minutes=1))).events
        assert again.id == first.id
        (other,) = self.read(self.signed(self.about(self.usual(), "bob@example.net"))).events
        assert (other.id != first.id, other.recipient) == (True, "bob@example.net")

    def test_without_its_setting_nothing_can_be_verified(self) -> None:
        provider = self.configured(**{self.wanted: ""})
        assert not provider.hears
        assert self.configured().hears
        with pytest.raises(WebhooksNotSetUp, match=self.wanted):
            provider.read_webhook(self.signed(self.usual()))

    def test_a_signature_is_good_for_its_time(self) -> None:
        if self.age is None:
            return
        second = timedelta(seconds=1)
        for at in (NOW - self.age + second, NOW + self.skew - second):
            assert self.read(self.signed(self.usual(), at)).events
        for at in (NOW - self.age - second, NOW + self.skew + second):
            assert type(self.fault(self.signed(self.usual(), at))) is NotAuthentic

    def test_what_is_changed_on_the_way_is_not_authentic(self) -> None:
        genuine = self.signed(self.usual())
        assert self.read(genuine).events
        for header in self.headers:
            whole = genuine.headers[header]
            values = [_flipped(whole, place) for place in (0, len(whole) // 2)]
            values += ["", "\xff", whole[: len(whole) // 2], "9" * 5000, f"é{whole}", None]
            for value in values:
                changed = {**genuine.headers, header: value}
                sent = {name: value for name, value in changed.items() if value is not None}
                assert type(self.fault(replace(genuine, headers=sent))) is NotAuthentic
        for place in range(0, len(genuine.body) if self.covers_body else 0, 7):
            body = bytearray(genuine.body)
            body[place] ^= 1
            with contextlib.suppress(NotAuthentic, NotReadable, VerifierUnavailable):
                # A bit that says nothing, at the end of a signature in base64.
                assert self.read(replace(genuine, body=bytes(body))) == self.read(genuine)

    def test_what_another_sent_is_not_authentic(self) -> None:
        for forged in self.forgeries():
            assert type(self.fault(forged)) is NotAuthentic

    @pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"null", b"7", b'"x"'])
    def test_a_body_that_is_no_webhook_tells_nothing(self, body: bytes) -> None:
        assert isinstance(self.fault(request(body)), NotAuthentic | NotReadable)
        with contextlib.suppress(NotReadable, NotAuthentic):
            assert self.read(self.sealed(body)).events == ()

    @fuzz
    @given(st.binary(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=40)))
    def test_nothing_but_a_fault_comes_of_what_nobody_signed(self, body, headers) -> None:
        self.fault(request(body, headers))
        self.fault(request(body, dict.fromkeys(self.headers, next(iter(headers.values()), ""))))

    @fuzz
    @given(st.data())
    def test_whatever_is_signed_is_read_or_not_readable(self, data: st.DataObject) -> None:
        event: Any = deepcopy(data.draw(st.sampled_from(self.samples)).words)
        for _ in range(data.draw(st.integers(1, 3))):
            holder, key = data.draw(st.sampled_from(list(_places([event]))))
            holder[key] = deepcopy(data.draw(JSON | st.just(DEEP)))
        try:
            content = self.read(self.signed(event))
        except (NotReadable, NotAuthentic):
            return
        for one in content.events:
            _assert_sound(one)
        assert all(isinstance(name, str) for name in content.ignored)

    def test_anything_in_the_place_of_an_event_is_read_or_not_readable(self) -> None:
        for odd in (None, [], {}, 7, "x", [None], [[]], {"": {}}, DEEP):
            with contextlib.suppress(NotReadable, NotAuthentic):
                assert self.read(self.signed(odd)).events == ()


def _assert_sound(event: DeliveryEvent) -> None:
    assert event.id
    assert event.occurred_at.tzinfo is not None
    assert event.recipient.isprintable()
    for text in (event.id, event.recipient, event.attempt_id, event.provider_message_id):
        assert text is None or isinstance(text, str)
    for line in (event.code, event.reason, event.url):
        assert line is None or (0 < len(line) <= 300 and line.isprintable())


def _flipped(text: str, place: int) -> str:
    return f"{text[:place]}{'A' if text[place] != 'A' else 'B'}{text[place + 1 :]}"


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a structure with every key in it."""
    keys: Sequence[Any] = list(holder) if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])
