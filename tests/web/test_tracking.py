"""What the pages show of opens and clicks."""

from msgspec.structs import replace

from app.core.models import Happening
from app.core.store import Change
from providers.types import EventType
from tests.core.examples import attempt


def test_a_message_shows_what_a_person_and_a_machine_did(visitor, services, clock):
    sent = visitor.send(to="ann@example.net, bob@example.net", html="<p>Hi</p>")
    message = services.store.get(sent.location.rpartition("/")[2])
    link = "https://shop.example/<b>"
    clicked = Happening("1", EventType.CLICKED, clock(), "steadpost", 1, "", url=link)
    opened = replace(clicked, id="2", type=EventType.OPENED, url=None, automatic=True)
    after = replace(message, attempts=(attempt("mailgun"),))
    services.store.move(Change(message, after, happenings=(clicked, opened)))
    page = visitor.get(sent.location).text
    assert "Opened by a machine" in page
    assert "by one of the recipients" in page
    assert "https://shop.example/&lt;b&gt;" in page
