"""Sending a mail by hand."""

import io
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest

from app.core.models import MessageState, Track
from app.core.scripting import WriteInDoubt
from app.core.store import MessageStore
from app.core.submit import Submitter
from app.factory import create_app
from app.services import build
from config import Settings
from tests.web.conftest import ENVIRONMENT, MAIL, Visitor, hidden_fields, with_settings

FULL = {
    "from": '"Shop, the" <orders@shop.example>',
    "to": '"Smith, Ann" <ann@example.net>, bob@example.org; Carol <carol@example.com>',
    "cc": "dan@example.net",
    "bcc": "eve@example.net",
    "reply_to": "Help <help@shop.example>, more@shop.example",
    "subject": "Grüße",
    "text": "Hello\r\nthere",
    "html": "<p>Hello</p>\r\n",
}


def the_message(services, answer):
    assert answer.status_code == 303, answer.text
    return services.store.get(answer.location.rpartition("/")[2])


def messages(services) -> list[str]:
    return services.store.page("shop", None, None, None, 100)


def value_of(page: str, name: str) -> str:
    """What stands in a field of the page."""
    area = re.search(rf'<textarea[^>]* name="{name}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    line = re.search(rf'<input[^>]* value="([^"]*)" id="{name}"', page)
    return unescape((area or line)[1])


def test_a_mail_is_sent_and_leads_to_its_page(visitor, services):
    answer = visitor.send()
    sent = the_message(services, answer)
    assert sent.state is MessageState.QUEUED
    assert sent.key == "shop"
    assert visitor.get(answer.location).status_code == 200


def test_every_field_is_carried(visitor, services):
    sent = the_message(services, visitor.send(**FULL))
    assert (sent.envelope.sender.name, sent.envelope.sender.email) == (
        "Shop, the",
        "orders@shop.example",
    )
    assert [(r.kind, r.name, r.email) for r in sent.recipients] == [
        ("to", "Smith, Ann", "ann@example.net"),
        ("to", "", "bob@example.org"),
        ("to", "Carol", "carol@example.com"),
        ("cc", "", "dan@example.net"),
        ("bcc", "", "eve@example.net"),
    ]
    assert [a.email for a in sent.envelope.reply_to] == ["help@shop.example", "more@shop.example"]
    assert sent.envelope.subject == "Grüße"


@pytest.mark.parametrize("opens", [True, False])
def test_what_is_ticked_is_tracked(visitor, services, opens):
    boxes = {"track_opens": "on"} if opens else {"track_clicks": "on"}
    message = the_message(services, visitor.send(html="<p>Hi</p>", **boxes))
    assert message.envelope.track == Track(opens=opens, clicks=not opens)


def test_a_ticked_box_stays_so_where_there_are_faults(visitor):
    page = visitor.send(to="", track_clicks="on").text
    (box,) = re.findall('<input[^>]* name="track_clicks"[^>]*>', page)
    assert " checked" in box
    assert " checked" not in re.findall('<input[^>]* name="track_opens"[^>]*>', page)[0]


def test_line_breaks_are_plain(visitor, services, clock):
    sent = the_message(services, visitor.send(**FULL))
    claim = services.store.claim(sent.id, "worker", clock(), timedelta(seconds=45))
    assert claim.body.text == "Hello\nthere"
    assert claim.body.html == "<p>Hello</p>\n"


def test_all_faults_stand_under_their_fields_and_the_input_is_kept(visitor, services):
    wrong = {**FULL, "from": "nobody", "to": "ann@example.net, bob@, carol@", "subject": ""}
    answer = visitor.send(**wrong)
    assert answer.status_code == 422
    page = answer.text
    for name in ("from", "to", "subject"):
        assert f'id="{name}-fault"' in page
        assert re.search(rf'<input[^>]* id="{name}"[^>]* aria-describedby="{name}-fault', page)
        assert f'<a href="#{name}">' in page
    assert page.count('aria-invalid="true"') == 3
    assert "bob@: " in page
    assert "carol@: " in page
    for name, text in wrong.items():
        assert value_of(page, name) == text.replace("\r\n", "\n")
    assert messages(services) == []


def test_the_first_thing_that_has_the_focus_is_the_summary_of_faults(visitor):
    page = visitor.send(subject="").text
    assert re.search(r'id="faults" role="alert" tabindex="-1" autofocus', page)


def test_input_is_never_markup(visitor):
    attack = '"><script>alert(1)</script>'
    page = visitor.send(**dict.fromkeys(MAIL, attack), html="</textarea>" + attack).text
    assert "<script>alert" not in page
    assert value_of(page, "html") == "</textarea>" + attack


def test_a_missing_content_and_a_missing_recipient_are_faults(visitor):
    page = visitor.send(to="", text="").text
    assert 'id="to-fault"' in page
    assert 'id="text-fault"' in page


def test_line_breaks_get_nowhere_near_a_header(visitor, services):
    for name in ("subject", "from", "to"):
        answer = visitor.send(**{name: "Ann <ann@example.net>\r\nBcc: eve@example.net"})
        assert answer.status_code == 422
    assert messages(services) == []


def test_the_same_form_sent_twice_sends_one_mail(visitor, services):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL}
    first, second = visitor.post("/", fields), visitor.post("/", fields)
    assert first.location == second.location
    assert len(messages(services)) == 1
    assert "sent already" in visitor.get(second.location).text


def test_each_form_sends_a_mail_of_its_own(visitor, services):
    visitor.send()
    visitor.send()
    assert len(messages(services)) == 2


def test_another_mail_from_a_form_that_was_used_is_sent_only_when_asked_again(visitor, services):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL}
    visitor.post("/", fields)
    changed = {**fields, "subject": "Another order"}
    answer = visitor.post("/", changed)
    assert answer.status_code == 409
    assert value_of(answer.text, "subject") == "Another order"
    assert len(messages(services)) == 1
    renewed = {**changed, **hidden_fields(answer.text, "/")}
    assert visitor.post("/", renewed).status_code == 303
    assert len(messages(services)) == 2


def test_a_form_with_faults_keeps_its_idempotency_key(visitor):
    page = visitor.get("/").text
    fields = hidden_fields(page, "/")
    faulty = visitor.post("/", {**fields, **MAIL, "subject": ""})
    assert hidden_fields(faulty.text, "/")["idempotency_key"] == fields["idempotency_key"]


def test_an_idempotency_key_that_no_form_made_is_not_used(visitor, services):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL, "idempotency_key": "mine"}
    visitor.post("/", fields)
    visitor.post("/", fields)
    assert len(messages(services)) == 2


def test_a_store_that_is_away_keeps_the_input(visitor, services, redis_server):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL}
    redis_server.connected = False
    answer = visitor.post("/", fields)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert "does not answer" in answer.text
    assert value_of(answer.text, "text") == MAIL["text"]
    redis_server.connected = True
    again = {**MAIL, **hidden_fields(answer.text, "/")}
    assert visitor.post("/", again).status_code == 303
    assert len(messages(services)) == 1


def test_a_backlog_that_is_full_is_said_to_be_and_keeps_the_input(redis_client, clock):
    environment = {**ENVIRONMENT, "MAX_BACKLOG": "1"}
    app = create_app(build(Settings.from_env(environment), redis_client, clock))
    visitor = Visitor(app.test_client())
    visitor.log_in()
    assert visitor.send().status_code == 303
    answer = visitor.send()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "Too much mail waits" in answer.text
    assert "does not answer" not in answer.text
    assert value_of(answer.text, "text") == MAIL["text"]


class AnswerLost(MessageStore):
    """A store that writes the first message and loses the connection before it can say so."""

    lost = False

    def accept(self, *given):
        result = super().accept(*given)
        if self.lost:
            return result
        self.lost = True
        raise WriteInDoubt("the connection was lost")


def test_sending_again_settles_what_was_in_doubt(services, redis_client, clock):
    store = AnswerLost(redis_client)
    submitter = Submitter(store, "failover", timedelta(hours=24), clock)
    losing = replace(services, store=store, submitter=submitter)
    visitor = Visitor(create_app(losing).test_client())
    visitor.log_in()
    answer = visitor.send()
    assert answer.status_code == 503
    assert "accepted already" in answer.text
    assert len(messages(services)) == 1
    again = visitor.post("/", {**MAIL, **hidden_fields(answer.text, "/")})
    assert again.status_code == 303
    assert again.location.endswith(messages(services)[0])
    assert len(messages(services)) == 1


def test_a_session_that_ended_while_writing_loses_nothing(visitor, services, clock):
    fields = {**hidden_fields(visitor.get("/").text, "/"), **MAIL}
    clock.tick(12 * 3600)
    answer = visitor.post("/", fields)
    assert answer.status_code == 401
    assert "not logged in any more" in answer.text
    assert value_of(answer.text, "text") == MAIL["text"]
    assert messages(services) == []
    visitor.log_in()
    stale = visitor.post("/", {**MAIL, **hidden_fields(answer.text, "/")})
    assert stale.status_code == 403
    assert value_of(stale.text, "text") == MAIL["text"]
    assert visitor.post("/", {**MAIL, **hidden_fields(stale.text, "/")}).status_code == 303


@pytest.mark.parametrize("token", [None, "", "x" * 32])
def test_a_form_without_the_token_of_the_session_sends_nothing(visitor, services, token):
    fields = {**MAIL, **({} if token is None else {"form_token": token})}
    assert visitor.post("/", fields).status_code == 403
    assert messages(services) == []


def test_the_simulator_is_introduced_where_it_is_on(visitor):
    page = visitor.get("/").text
    assert value_of(page, "from") == "Steadpost <hello@mg.steadpost.example>"
    assert "http://127.0.0.1:8025/" in page
    assert "bounce@" in page


def test_nothing_is_said_of_the_simulator_where_it_is_off(services):
    visitor = with_settings(services, SIMULATOR="off")
    visitor.log_in()
    page = visitor.get("/").text
    assert "imulator" not in page
    assert value_of(page, "from") == ""


def test_too_much_is_told_so(services):
    visitor = with_settings(services, MAX_BODY_BYTES="1KiB")
    visitor.log_in()
    answer = visitor.send(text="x" * 2000)
    assert answer.status_code == 413
    assert "<h1>Too large</h1>" in answer.text


def test_files_are_attached_and_shown_on_the_page_of_the_mail(visitor, services):
    files = [(io.BytesIO(b"%PDF"), "Rechnung März.pdf"), (io.BytesIO(b"x" * 2000), "a.csv")]
    answer = visitor.send(attachments=files)
    sent = the_message(services, answer)
    assert [(f.filename, f.content_type, f.size) for f in sent.envelope.attachments] == [
        ("Rechnung März.pdf", "application/pdf", 4),
        ("a.csv", "text/csv", 2000),
    ]
    page = visitor.get(answer.location).text
    assert "Rechnung März.pdf" in page
    assert "2.0 kB" in page


def test_a_file_with_a_fault_is_named_and_to_be_chosen_again(visitor, services):
    answer = visitor.send(attachments=[(io.BytesIO(b""), "a.csv"), (io.BytesIO(b""), "a/b.csv")])
    assert answer.status_code == 422
    page = unescape(answer.text)
    assert "a/b.csv: A name without a path is needed" in page
    assert "Please choose them again: a.csv, a/b.csv" in page
    assert messages(services) == []


def test_no_file_chosen_is_no_attachment(visitor, services):
    sent = the_message(services, visitor.send(attachments=[(io.BytesIO(b""), "")]))
    assert sent.envelope.attachments == ()
