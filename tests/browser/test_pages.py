"""The pages as a person uses them, in a real browser, before the real service."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import KEY, PHONE, Steadpost, Visit
from tests.waiting import until

pytestmark = pytest.mark.browser

NAME_OF_THE_FOCUS = """
    (document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim()
"""
OUTLINES_OF_THE_FOCUS = """
    [null, "::after"].map((part) => getComputedStyle(document.activeElement, part).outlineStyle)
"""


def write(page: Page, **fields: str) -> None:
    for label, text in {
        "To": "Ann <ann@example.net>",
        "Text": "It is on its way.",
        **fields,
    }.items():
        page.get_by_label(label, exact=label == "To").fill(text)


def test_the_link_that_is_printed_at_the_start_logs_in_with_one_click(
    visit: Visit, steadpost: Steadpost
) -> None:
    page = visit.page
    page.goto(steadpost.login_link)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="New mail")).to_be_visible()
    visit.expect("410")
    page.goto(steadpost.login_link)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("This link was used before")).to_be_visible()


def test_a_mail_is_sent_and_seen_to_arrive_without_a_reload(
    visit: Visit, steadpost: Steadpost
) -> None:
    page = visit.log_in()
    steadpost.switch("slow", "mailgun", seconds=2.0)
    write(page, Subject="Seen live", HTML="<p>It is <b>on its way</b>.</p>")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Seen live")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    expect(page.locator(".verdict-state")).to_have_text("Sending")
    expect(page.locator(".verdict-state")).to_have_text("Sent")
    expect(page.locator(".verdict")).to_contain_text("Taken by mailgun.")
    expect(page.locator("[data-follow-news]")).to_have_text("Sent. Taken by mailgun.")
    expect(page.locator("[data-follow-note]")).to_be_empty()
    assert page.evaluate("window.sameDocument")
    (mail,) = steadpost.mails("Seen live")
    assert mail["html"] == "<p>It is <b>on its way</b>.</p>"


def test_a_failover_is_seen_attempt_by_attempt(visit: Visit, steadpost: Steadpost) -> None:
    page = visit.log_in()
    steadpost.switch("http-503", "mailgun")
    steadpost.switch("timeout-after-accept", "sendgrid")
    visit.go(steadpost.send("Goes another way"))
    expect(page.locator(".verdict")).to_contain_text("Taken by ses.")
    attempts = page.locator(".attempt")
    expect(attempts).to_have_count(3)
    expect(attempts.nth(0)).to_contain_text("Unavailable")
    expect(attempts.nth(1)).to_contain_text("Unknown")
    expect(attempts.nth(2)).to_contain_text("Accepted")
    expect(page.get_by_text("It may have gone out twice.")).to_be_visible()


def test_a_mail_that_waits_for_better_times_is_followed_until_it_is_sent(
    visit: Visit, steadpost: Steadpost
) -> None:
    page = visit.log_in()
    steadpost.switch("refuse-connections")
    visit.go(steadpost.send("Waits for better times"))
    expect(page.locator(".verdict-state")).to_have_text("Retrying")
    expect(page.get_by_text("Next attempt")).to_be_visible()
    steadpost.switch("up")
    expect(page.locator(".verdict-state")).to_have_text("Sent")


def test_faults_stand_under_their_fields_and_are_mended_there(
    visit: Visit, steadpost: Steadpost
) -> None:
    page = visit.log_in()
    visit.expect("422")
    write(page, To="ann@example.net, bob@", Subject="", HTML="<p>kept</p>")
    page.get_by_role("button", name="Send").click()
    summary = page.locator("#faults")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("2 fields")
    to = page.get_by_label("To", exact=True)
    expect(to).to_have_attribute("aria-invalid", "true")
    expect(to).to_have_value("ann@example.net, bob@")
    expect(to).to_have_accessible_description(re.compile("^bob@: "))
    expect(page.get_by_label("HTML")).to_have_value("<p>kept</p>")
    expect(page.get_by_label("Text", exact=True)).not_to_have_attribute("aria-invalid", "true")
    summary.get_by_role("link", name="Subject").click()
    expect(page.get_by_label("Subject")).to_be_focused()
    page.keyboard.type("Mended")
    to.fill("ann@example.net, bob@example.org")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Mended")).to_be_visible()
    assert len(steadpost.messages("Mended")) == 1


def test_a_double_click_sends_one_mail(visit: Visit, steadpost: Steadpost) -> None:
    page = visit.log_in()
    write(page, Subject="Once is enough")
    page.get_by_role("button", name="Send").dblclick()
    expect(page.get_by_role("heading", name="Once is enough")).to_be_visible()
    until(lambda: steadpost.mails("Once is enough"))
    assert len(steadpost.messages("Once is enough")) == 1


def test_the_button_cannot_be_pressed_while_the_mail_is_on_its_way(visit: Visit) -> None:
    page = visit.log_in()
    write(page, Subject="Busy")
    page.locator("main form").first.evaluate(
        "form => form.addEventListener('submit', event => event.preventDefault())"
    )
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Sending…")).to_be_disabled()


def test_everything_can_be_done_by_keyboard(visit: Visit, steadpost: Steadpost) -> None:
    keyboard = visit.page.keyboard

    def press_until(label: str) -> None:
        """Tab until the thing with this name has the focus, visibly."""
        names = []
        for _ in range(30):
            keyboard.press("Tab")
            names.append(visit.page.evaluate(NAME_OF_THE_FOCUS))
            if names[-1].startswith(label):
                assert "solid" in visit.page.evaluate(OUTLINES_OF_THE_FOCUS), label
                return
        raise AssertionError(f"{label!r} is not reached by Tab: {names}")

    page = visit.go("/login")
    expect(page.get_by_label("API key")).to_be_focused()
    keyboard.type(KEY)
    keyboard.press("Enter")
    page.wait_for_url(steadpost.url + "/")

    press_until("Skip to the content")
    keyboard.press("Enter")
    for label, text in (
        ("To", "Ann <ann@example.net>"),
        ("Subject", "By keyboard"),
        ("Text", "No mouse."),
    ):
        press_until(label)
        keyboard.type(text)
    press_until("Send")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="By keyboard")).to_be_visible()
    expect(page.locator(".verdict-state")).to_have_text("Sent")

    press_until("Outbox")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Outbox")).to_be_visible()
    press_until("By keyboard")
    keyboard.press("Enter")
    expect(page.locator(".verdict-state")).to_have_text("Sent")
    press_until("Dark theme")
    keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    press_until("Log out")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_outbox_leads_to_each_message_and_is_filtered_at_once(
    visit: Visit, steadpost: Steadpost
) -> None:
    steadpost.send("Turned down", to=["reject@example.net"])
    until(lambda: steadpost.messages("Turned down")[0]["status"] == "failed")
    page = visit.log_in()
    page.get_by_role("link", name="Outbox").click()
    page.get_by_label("Show").select_option("failed")
    page.wait_for_url("**/outbox?status=failed")
    page.get_by_role("link", name="Turned down").first.click()
    expect(page.locator(".verdict-state")).to_have_text("Failed")
    expect(page.get_by_text("Reason").first).to_be_visible()


def test_a_message_is_checked_from_the_first_page(visit: Visit, steadpost: Steadpost) -> None:
    path = steadpost.send("To be checked", to=["ann@example.net", "bob@example.org"])
    page = visit.log_in()
    page.get_by_label("Message id").fill(path.rpartition("/")[2])
    page.get_by_label("Recipient").fill("bob@example.org")
    page.get_by_role("button", name="Check").click()
    expect(page.locator(".recipients li")).to_have_count(1)
    expect(page.locator(".recipients")).to_contain_text("bob@example.org")
    visit.expect("404")
    page.get_by_label("Recipient").fill("eve@example.net")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("did not go to this address")).to_be_visible()


def test_a_server_that_is_away_is_said_and_waited_for(visit: Visit, steadpost: Steadpost) -> None:
    page = visit.log_in()
    visit.expect("ERR_FAILED", "503")
    steadpost.switch("refuse-connections")
    path = steadpost.send("Followed over a gap")
    page.route("**/fate", lambda route: route.abort())
    visit.go(path)
    note = page.locator("[data-follow-note]")
    expect(note).to_contain_text("does not answer")
    page.unroute("**/fate")
    page.route("**/fate", lambda route: route.fulfill(status=503))
    expect(note).to_contain_text("does not answer")
    page.unroute("**/fate")
    expect(note).to_contain_text("follows the message live", timeout=20_000)
    steadpost.switch("up")
    expect(page.locator(".verdict-state")).to_have_text("Sent")


def test_a_session_that_ends_while_following_is_said(visit: Visit, steadpost: Steadpost) -> None:
    page = visit.log_in()
    steadpost.switch("refuse-connections")
    visit.go(steadpost.send("Followed after the end"))
    visit.context.clear_cookies()
    expect(page.get_by_text("You are not logged in any more.")).to_be_visible()


def test_nothing_of_a_mail_is_markup(visit: Visit, steadpost: Steadpost) -> None:
    subject = '<img src=x onerror="document.title=1"><b>bold</b>'
    path = steadpost.send(subject, html="<h1 id=evil>evil</h1>", metadata={"<i>a</i>": "<i>b</i>"})
    page = visit.log_in()
    for each in ("/outbox", path, "/check?id=" + path.rpartition("/")[2]):
        visit.go(each)
        expect(page.get_by_text(subject).first).to_be_visible()
        assert page.locator("main img, main b, main i, #evil").count() == 0


def test_scripts_cannot_see_the_session(visit: Visit) -> None:
    page = visit.log_in()
    assert page.evaluate("document.cookie") == ""
    (cookie,) = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True)
def test_everything_works_without_scripts(visit: Visit, steadpost: Steadpost) -> None:
    page = visit.log_in()
    steadpost.switch("slow", "mailgun", seconds=2.0)
    write(page, Subject="Without scripts")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("heading", name="Without scripts")).to_be_visible()
    expect(page.locator(".verdict-state")).to_have_text("Sent", timeout=20_000)
    page.get_by_role("link", name="Outbox").first.click()
    page.get_by_label("Show").select_option("sent")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="Without scripts")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


@pytest.mark.parametrize(
    ("visit", "theme"),
    [({"color_scheme": "light"}, "light"), ({"color_scheme": "dark"}, "dark")],
    indirect=["visit"],
)
def test_the_theme_is_the_systems_until_somebody_chooses(visit: Visit, theme: str) -> None:
    html = visit.go("/login").locator("html")
    other = {"light": "dark", "dark": "light"}[theme]
    expect(html).to_have_attribute("data-bs-theme", theme)
    visit.page.get_by_role("button", name=f"{other} theme").click()
    expect(html).to_have_attribute("data-bs-theme", other)
    visit.page.reload()
    expect(html).to_have_attribute("data-bs-theme", other)
    visit.page.get_by_role("button", name=f"{theme} theme").click()
    visit.page.emulate_media(color_scheme=other)
    expect(html).to_have_attribute("data-bs-theme", other)


@pytest.mark.parametrize("visit", [{"viewport": PHONE, "has_touch": True}], indirect=True)
def test_what_can_be_touched_on_a_phone_is_large_enough(visit: Visit) -> None:
    page = visit.log_in()
    # A checkbox is touched by its label.
    touched = "button:visible, input:visible:not([type=checkbox]), .choices label:visible"
    assert (
        page.locator("input[type=checkbox]:visible").count()
        == page.locator(".choices label:visible > input[type=checkbox]").count()
    )
    for target in page.locator(f"{touched}, textarea:visible, nav a").all():
        box = target.bounding_box()
        assert box
        assert box["height"] >= 40, target


def test_a_template_is_seen_with_other_variables_and_nothing_in_it_runs(
    visit: Visit, steadpost: Steadpost
) -> None:
    page = visit.log_in()
    sources = {
        "subject": "News for {{ name }}",
        "html": "<h1>Dear {{ name }}</h1><script>document.body.textContent = 'ran'</script>",
        "sample": {"name": "Ann"},
    }
    steadpost.call("PUT", "/templates/news", json=sources)
    visit.expect("Blocked script execution", "Content Security Policy")
    page.get_by_role("link", name="Templates").click()
    page.get_by_role("link", name="news").click()
    mail = page.frame_locator("iframe")
    expect(mail.get_by_role("heading")).to_have_text("Dear Ann")
    page.get_by_label("As JSON").fill('{"name": "Zoe"}')
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("News for Zoe")).to_be_visible()
    expect(mail.get_by_role("heading")).to_have_text("Dear Zoe")
