"""The pages in a real browser: live, by keyboard, in every theme and size, without violations."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.simulator.sending import MAILGUN, send
from tests.waiting import until

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def page(chromium, running):
    context = chromium.new_context(viewport=DESKTOP, base_url=running.url)
    yield context.new_page()
    context.close()


def fill(running):
    body = MAILGUN | {"cc": "bounce@example.net", "html": "<p style='color: green'>Hi</p>"}
    send(running, "mailgun", body)
    send(running, "sendgrid")
    running.set("ses", "slow", seconds=5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_pages_have_no_violations_and_fit(chromium, running, scheme, viewport, filled):
    if filled:
        fill(running)
    context = chromium.new_context(viewport=viewport, color_scheme=scheme, base_url=running.url)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path in ("/", "/mails/1"):
        page.goto(path)
        for details in page.locator("details").all():
            details.evaluate("element => { element.open = true }")
        assert page.locator("html").get_attribute("data-bs-theme") == scheme
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert errors == []
    context.close()


def test_mail_appears_by_itself(page, running):
    page.goto("/")
    expect(page.get_by_text("No mail yet")).to_be_visible()
    send(running, "mailgun")

    expect(page.get_by_role("link", name="Your order")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("1 mail")


def test_news_does_not_take_the_focus_away(page, running):
    send(running, "mailgun", MAILGUN | {"subject": "First"})
    page.goto("/")
    page.get_by_role("link", name="First").focus()
    send(running, "mailgun", MAILGUN | {"subject": "Second"})
    expect(page.get_by_role("link", name="Second")).to_be_visible()

    expect(page.get_by_role("link", name="First")).to_be_focused()


def test_a_switch_that_moved_elsewhere_is_shown(page, running):
    page.goto("/")
    running.set("mailgun", "http-500")

    expect(page.locator("#state-mailgun")).to_contain_text("http-500")
    expect(page.get_by_label("What Mailgun does")).to_have_value("http-500")


def test_the_keyboard_is_enough_to_flip_a_switch(page, running):
    page.goto("/")
    page.get_by_label("What SendGrid does").focus()
    page.keyboard.type("rate")
    page.keyboard.press("Tab")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    expect(page.locator("#state-sendgrid")).to_contain_text("rate-limit")

    state = running.session.get(f"{running.url}/control/sendgrid").json()
    assert (state["mode"], state["seconds"]) == ("rate-limit", 7.0)


def test_the_html_of_a_mail_is_styled_and_harmless(page, running):
    hostile = "<p style='color: rgb(1, 2, 3)'>Hi</p><script>document.body.remove()</script>"
    send(running, "mailgun", MAILGUN | {"html": f"{hostile}<img src='https://x.example/pixel'>"})
    asked = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.goto("/mails/1")
    paragraph = page.frame_locator("iframe").locator("p")

    expect(paragraph).to_have_css("color", "rgb(1, 2, 3)")
    assert asked
    assert all(url.startswith(running.url) for url in asked)


def test_a_simulator_that_is_gone_is_missed(page, running):
    page.goto("/")
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.context.set_offline(False)
    until(lambda: not page.get_by_role("alert").is_visible())
