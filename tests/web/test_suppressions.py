"""The pages of the suppression list, and the one behind the link to unsubscribe."""

import pytest

from app.core.suppression import Suppression, SuppressionReason
from app.core.unsubscribing import Unsubscriber

ANN = "ann@example.net"
WHO = Unsubscriber("Ann@Example.net", "msg_" + "0" * 26)
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def link(services) -> str:
    return f"/u/{services.unsubscribe_links.token(WHO)}"


def test_an_address_is_added_and_taken_off_by_hand(visitor, services):
    assert "There is nobody here." in visitor.get("/suppressed").text
    visitor.submit("/suppressed", "/suppressed", {"email": "Ann <ANN@example.net>", "note": "x"})
    (entry,) = services.suppressions.of(ANN)
    assert (entry.source, entry.note) == ("page:shop", "x")
    page = visitor.get(f"/suppressed?email={ANN}").text
    assert "manual, said by page:shop" in page
    visitor.submit("/suppressed", "/suppressed/remove", {})
    assert services.suppressions.of(ANN) == []


def test_what_is_no_address_is_not_added(visitor):
    visitor.submit("/suppressed", "/suppressed", {"email": "nobody"})
    page = visitor.get("/suppressed").text
    assert "That is no address." in page
    assert "There is nobody here." in page


def test_the_list_has_pages(visitor, services, clock):
    names = [f"u{n:02}@example.net" for n in range(51)]
    manual = SuppressionReason.MANUAL
    services.suppressions.add([Suppression(name, manual, "api:shop", clock()) for name in names])
    page = visitor.get("/suppressed").text
    assert "u49@example.net" in page
    assert "u50@example.net" not in page
    following = page.partition("after=")[2].partition('"')[0]
    assert "u50@example.net" in visitor.get(f"/suppressed?after={following}").text


def test_only_whoever_is_logged_in_sees_or_changes_the_list(stranger, services):
    assert stranger.get("/suppressed").status_code == 303
    for path in ("/suppressed", "/suppressed/remove"):
        assert stranger.post(path, {"email": ANN}).status_code == 303
    assert services.suppressions.of(ANN) == []


@pytest.mark.parametrize("path", ["/suppressed", "/suppressed/remove"])
def test_a_form_without_its_token_changes_nothing(visitor, services, path):
    assert visitor.post(path, {"email": ANN}).status_code == 403
    assert services.suppressions.of(ANN) == []


def test_looking_at_the_link_unsubscribes_nobody(stranger, services, link):
    response = stranger.get(link)
    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers
    assert "<button" in response.text
    assert stranger.client.head(link).status_code == 200
    assert services.suppressions.of(ANN) == []


def test_the_button_unsubscribes(stranger, services, clock, link):
    response = stranger.post(link, {})
    assert "You are unsubscribed" in response.text
    assert services.suppressions.of(ANN) == [
        Suppression(ANN, SuppressionReason.UNSUBSCRIBED, "link", clock(), message_id=WHO.message_id)
    ]


def test_so_does_one_click_of_a_mailbox_provider_as_often_as_it_comes(stranger, services, link):
    for _ in range(2):
        assert stranger.client.post(link, data=ONE_CLICK).status_code == 200
    assert len(services.suppressions.of(ANN)) == 1


def test_it_may_come_from_any_site(stranger, services, link):
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example.org"}
    assert stranger.post(link, ONE_CLICK, **headers).status_code == 200
    assert len(services.suppressions.of(ANN)) == 1


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_that_is_not_ours_is_not_found(stranger, redis_client, link, method):
    for path in ("/u/x", "/u/a.b", link + "x", link[:-1]):
        response = getattr(stranger.client, method)(path)
        assert response.status_code == 404
    assert redis_client.dbsize() == 0
