"""Every page, on a phone and on a desktop, light and dark: it fits, and axe finds no fault."""

import base64
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.ports import free_ports
from tests.browser.conftest import DESKTOP, EMPTY_KEY, PHONE, Steadpost, Visit

pytestmark = pytest.mark.browser

VISITS = [
    pytest.param({"viewport": viewport, "color_scheme": scheme}, id=f"{size}-{scheme}")
    for size, viewport in (("phone", PHONE), ("desktop", DESKTOP))
    for scheme in ("light", "dark")
]
LONG = "A subject without an end, and a word that is " + "very" * 30 + "long"


def look_closely(page: Page) -> None:
    widths = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1], f"{page.url} is wider than its window"
    results = Axe().run(page)
    assert results.violations_count == 0, f"{page.url}\n{results.generate_report()}"


@pytest.fixture(scope="module")
def messages(running: Steadpost) -> dict[str, str]:
    """The pages of messages that fared differently."""
    running.switch("up")
    failed = running.send(LONG, to=["reject@example.net"])
    running.switch("http-503", "mailgun")
    running.switch("timeout-after-accept", "sendgrid")
    twice = running.send(
        "Perhaps twice",
        to=["Ann <ann@example.net>", "a-very-long-local-part-indeed@a-long-domain.example.org"],
        cc=["bob@example.org"],
        tags=["order"],
        metadata={"order": "17"},
        headers={"X-Order": "17"},
    )
    return {"failed": failed, "twice": twice}


@pytest.mark.parametrize("visit", VISITS, indirect=True)
def test_the_pages_are_accessible(
    visit: Visit, steadpost: Steadpost, messages: dict[str, str]
) -> None:
    visit.expect("401", "404", "422")
    page = visit.go("/login")
    look_closely(page)
    page.get_by_label("API key").fill("not a key")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("There is no such key.")).to_be_visible()
    look_closely(page)
    visit.go("/login/a-link")
    look_closely(page)

    visit.log_in()
    look_closely(page)
    page.get_by_label("To", exact=True).fill("ann@example.net, " + "bob" * 40 + "@")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#faults")).to_be_visible()
    look_closely(page)

    for name, state in (("failed", "Failed"), ("twice", "Sent")):
        visit.go(messages[name])
        expect(page.locator(".verdict-state")).to_have_text(state)
        look_closely(page)
    steadpost.switch("refuse-connections")
    visit.go(steadpost.send("Retrying"))
    expect(page.locator(".verdict-state")).to_have_text("Retrying")
    look_closely(page)
    steadpost.switch("up")

    message_id = messages["twice"].rpartition("/")[2]
    for path in (
        "/outbox",
        "/outbox?status=complained",
        "/check",
        f"/check?id={message_id}&email=bob@example.org",
        "/check?id=17",
        "/previews",
        "/previews/receipt",
        "/previews/receipt?variables={}",
        "/suppressed",
        "/suppressed?email=nobody@example.net",
        "/notified",
        "/notified/default",
        "/nowhere",
    ):
        visit.go(path)
        look_closely(page)

    page.get_by_role("button", name="Log out").click()
    visit.log_in(EMPTY_KEY)
    visit.go("/outbox")
    expect(page.get_by_text("Nothing was sent with this key yet.")).to_be_visible()
    look_closely(page)


@pytest.fixture(scope="module")
def link(running: Steadpost) -> str:
    """Where a recipient unsubscribes."""
    running.switch("up")
    running.send("Unsubscribe?", to=["leaving@example.net"], unsubscribe=True)
    return running.unsubscribe_path("Unsubscribe?")


@pytest.fixture(scope="module")
def with_file(running: Steadpost) -> str:
    """The page of a message with a file."""
    content = base64.b64encode(b"%PDF-1.7").decode()
    file = {"filename": "an invoice " + "of" * 40 + ".pdf", "content": content}
    return running.send("With a file", attachments=[file])


@pytest.fixture(scope="module")
def routes(running: Steadpost) -> Iterator[None]:
    route = {"name": "receipts", "tags": ["receipt"], "domains": ["*.example.net"]}
    places = ["ses:10%", "mailgun"]
    running.call("PUT", "/routes", json={"routes": [{**route, "providers": places}]})
    try:
        yield
    finally:
        running.call("PUT", "/routes", json={"routes": []})


@pytest.fixture(scope="module")
def told(running: Steadpost) -> str:
    """The page of an endpoint that callbacks go to; nobody listens there."""
    (port,) = free_ports(1, "127.0.0.1")
    url = f"http://127.0.0.1:{port}/mail-events"
    endpoint = running.call("POST", "/callbacks", json={"url": url})
    return f"/notified/{endpoint['id']}"


@pytest.mark.parametrize("visit", VISITS, indirect=True)
def test_the_pages_of_lists_files_and_links_are_accessible(
    visit: Visit, link: str, with_file: str, told: str, routes: None
) -> None:
    visit.expect("404", "422")
    page = visit.go(link)
    look_closely(page)
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("heading", name="You are unsubscribed")).to_be_visible()
    look_closely(page)
    visit.go("/u/no-such-link")
    look_closely(page)

    page = visit.log_in()
    file = {"name": "virus.exe", "mimeType": "application/x-msdownload", "buffer": b"MZ"}
    page.get_by_label("Files").set_input_files([file])
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#faults")).to_be_visible()
    expect(page.get_by_text("Please choose them again: virus.exe")).to_be_visible()
    look_closely(page)
    visit.go(with_file)
    expect(page.locator(".verdict-state")).to_have_text("Sent")
    look_closely(page)

    visit.go("/routing")
    expect(page.get_by_role("heading", name="Routes")).to_be_visible()
    look_closely(page)

    visit.go("/notified")
    expect(page.get_by_text("/mail-events").first).to_be_visible()
    look_closely(page)
    visit.go(told)
    look_closely(page)

    visit.go("/suppressed")
    expect(page.get_by_text("leaving@example.net", exact=True)).to_be_visible()
    look_closely(page)
    for email in ("not an address", "Not.Again@Example.org"):
        page.get_by_role("textbox", name="Address").last.fill(email)
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("status").or_(page.get_by_role("alert")).first).to_be_visible()
        look_closely(page)
