"""What every provider must do that can be asked afterwards what became of an attempt."""

import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote_plus

import pytest

from providers.base import HttpProvider
from providers.errors import ProviderFailure
from providers.types import Accepted
from tests.providers.contract import ANN, DEADLINE, READ_TIMEOUT, TIMEOUTS, in_about
from tests.providers.server import Behaviour, Reply, Request, Server, answering, serving

SINCE = datetime(2026, 11, 23, 19, 10, 34, tzinfo=UTC)
RECIPIENTS = (ANN.email, "bob@example.net")
OURS = "att_7f3-1"


class FindContract:
    """Inherit this as `Test…`, set what stands without a value here, and write `knowing`."""

    provider: type[HttpProvider]
    #: Enough for it to be asked.
    settings: dict[str, str]
    #: The id of the mail that is found, as the answer to its sending had it.
    found_id: str
    #: How it is asked, what says that our key may not read, and JSON that is no answer.
    method = "GET"
    no_key: tuple[Reply, ...] = (Reply(401, b"{}"), Reply(403, b"{}"))
    no_answer = b"[]"

    def knowing(self, *attempt_ids: str) -> Behaviour:
        """A provider that took a mail to Ann for each of these attempts, in this order."""
        raise NotImplementedError

    def credentials(self, request: Request) -> str:
        """What a request has to let it in."""
        return request.headers["authorization"]

    def question(self, request: Request) -> str:
        """What is asked with a request."""
        return unquote_plus(request.path)

    def listed(self, entries: bytes) -> bytes:
        """An answer with these entries, in JSON."""
        return b'{"items": %b, "messages": %b, "Messages": %b}' % (entries, entries, entries)

    # --- what the author need not look at

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "refusal" in metafunc.fixturenames:
            metafunc.parametrize("refusal", self.no_key)

    @pytest.fixture
    def server(self) -> Iterator[Server]:
        with serving(self.knowing("att_7f3-0", OURS)) as server:
            yield server

    @pytest.fixture
    def configured(self, server: Server) -> Iterator[HttpProvider]:
        provider = self.configure(server.url)
        yield provider
        provider.close()

    def configure(self, url: str, **timeouts: float) -> HttpProvider:
        values = {**self.settings, f"{self.provider.name.upper()}_BASE_URL": url}
        return self.provider.configure(values, replace(TIMEOUTS, **timeouts))

    def failure(self, provider: HttpProvider) -> ProviderFailure:
        """What looking raises, never with a secret or a whole address in it."""
        with pytest.raises(ProviderFailure) as raised:
            provider.find(OURS, RECIPIENTS, SINCE)
        failure = raised.value
        for shown in (failure.reason, *traceback.format_exception(failure)):
            for setting in self.provider.settings:
                if setting.secret and self.settings.get(setting.name):
                    assert self.settings[setting.name] not in shown
        assert ANN.email not in failure.reason
        assert "message was sent" not in failure.reason
        return failure

    def test_an_attempt_that_was_accepted_is_found_with_its_id(self, configured):
        assert configured.can_tell
        assert configured.find(OURS, RECIPIENTS, SINCE) == Accepted(self.found_id)

    def test_another_attempt_to_the_same_recipient_is_no_evidence(self, server, configured):
        server.behaviour = self.knowing("att_7f3-0", "att_7f3-11", "att_7f3")
        assert configured.find(OURS, RECIPIENTS, SINCE) is None

    def test_silence_is_no_evidence(self, server, configured):
        server.behaviour = self.knowing()
        assert configured.find(OURS, RECIPIENTS, SINCE) is None

    def test_it_is_asked_with_our_key_about_the_recipient(self, server, configured):
        configured.find(OURS, RECIPIENTS, SINCE)
        for request in server.requests:
            assert request.method == self.method
            assert bool(request.body) == ("content-type" in request.headers)
            assert bool(request.body) == (self.method == "POST")
            assert self.credentials(request)
        assert ANN.email in self.question(server.requests[0])
        assert server.connections == 1

    def test_an_address_that_means_something_in_a_filter_is_not_put_into_one(
        self, server, configured
    ):
        hostile = '"x\\" OR \\"y"@example.net'
        configured.find(OURS, (hostile, "ann@bücher.example"), SINCE)
        asked = self.question(server.requests[0])
        assert "example.net" not in asked
        assert "ann@xn--bcher-kva.example" in asked
        configured.find(OURS, (hostile,), SINCE)

    def test_a_key_that_may_not_read_is_not_tried_again_for_a_while(self, server, refusal):
        now = 1_000_000.0
        settings = {s.name: s.default or "" for s in self.provider.settings} | self.settings
        settings[f"{self.provider.name.upper()}_BASE_URL"] = server.url
        provider = self.provider(settings, TIMEOUTS, clock=lambda: now)
        knowing, server.behaviour = server.behaviour, answering(refusal)
        assert self.failure(provider).status == refusal.status
        assert not provider.can_tell
        asked = len(server.requests)
        assert str(refusal.status) in self.failure(provider).reason
        assert len(server.requests) == asked

        now += 3600
        server.behaviour = knowing
        assert provider.can_tell
        assert provider.find(OURS, RECIPIENTS, SINCE) == Accepted(self.found_id)
        provider.close()

    @pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 502, 503])
    def test_an_error_is_no_evidence_and_is_not_asked_about_again(self, server, configured, status):
        location = (("Location", f"{server.url}/elsewhere"),)
        server.behaviour = answering(Reply(status, b'{"message": "no"}', headers=location))
        assert self.failure(configured).status == status
        assert len(server.requests) == 1
        assert configured.can_tell

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(200, b"<html>Please sign in</html>", "text/html"),
            Reply(200, b'{"items": [{"eve'),
            Reply(200, b"17"),
            Reply(200, b'{"items": 17, "messages": null, "Messages": {}}'),
            Reply(204),
        ],
        ids=["a page", "cut short", "a number", "of other types", "nothing"],
    )
    def test_what_cannot_be_read_is_no_evidence(self, server, configured, reply):
        for one in (reply, Reply(200, self.no_answer)):
            server.behaviour = answering(one)
            self.failure(configured)
        assert len(server.requests) == 2

    def test_odd_entries_are_passed_over(self, server, configured):
        odd = b'[null, 1, "x", [], {}, {"msg_id": 1}, {"user-variables": [], "event": []}]'
        server.behaviour = answering(Reply(200, self.listed(odd)))
        assert configured.find(OURS, RECIPIENTS, SINCE) is None

    def test_no_answer_in_time_is_no_evidence(self, server):
        server.behaviour = lambda line, request: line.hang()
        provider = self.configure(server.url, read=READ_TIMEOUT)
        with in_about(READ_TIMEOUT):
            self.failure(provider)
        assert len(server.requests) == 1
        provider.close()

    def test_a_dripping_answer_is_cut_at_the_deadline(self, server):
        server.behaviour = lambda line, request: line.drip(b"HTTP/1.1" + b" " * 1000)
        provider = self.configure(server.url, deadline=DEADLINE)
        with in_about(DEADLINE):
            self.failure(provider)
        provider.close()

    def test_a_lost_connection_is_no_evidence(self, server, configured):
        server.behaviour = lambda line, request: line.reset()
        self.failure(configured)
        assert len(server.requests) == 1
