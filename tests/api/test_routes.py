"""The routes of mail to providers, by the API."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from app.core.routes import Place, Route, RouteTable
from tests.api.caller import Caller, problem

BULK = {
    "name": "bulk to ses",
    "tags": ["newsletter"],
    "domains": ["*.example.net", "gmail.com"],
    "providers": ["ses:10%", "mailgun", "sendgrid"],
}
ORDERS = {"name": "orders", "tags": ["order"], "domains": [], "providers": ["sendgrid"]}


def put(caller: Caller, *routes: dict, version: int | None = None, **headers: str):
    body = {"routes": list(routes)} | ({} if version is None else {"version": version})
    headers = {name.replace("_", "-"): text for name, text in headers.items()}
    return caller.call("PUT", "/routes", json=body, headers=headers)


def faults(caller: Caller, *routes: dict) -> dict[str, list[str]]:
    response = put(caller, *routes)
    assert problem(response) == (422, "invalid")
    assert caller.get("/routes").json["version"] == 0
    return response.json["errors"]


def test_there_are_no_routes_at_first(shop):
    response = shop.get("/routes")
    assert response.json == {"routes": [], "version": 0}
    assert response.headers["ETag"] == '"0"'


def test_what_is_put_is_what_is_got_and_what_workers_go_by(app, shop, office):
    response = put(shop, BULK, ORDERS)
    assert response.status_code == 200
    assert response.json == {"routes": [BULK, ORDERS], "version": 1}
    assert response.headers["ETag"] == '"1"'
    assert office.get("/routes").json == response.json
    assert app.extensions["steadpost"].routes.current() == RouteTable(
        (
            Route(
                "bulk to ses",
                (Place("ses", 1000), Place("mailgun"), Place("sendgrid")),
                ("newsletter",),
                ("*.example.net", "gmail.com"),
            ),
            Route("orders", (Place("sendgrid"),), ("order",)),
        ),
        1,
    )


def test_a_put_takes_the_place_of_all_routes(shop):
    put(shop, BULK, ORDERS)
    assert put(shop, ORDERS).json == {"routes": [ORDERS], "version": 2}
    assert put(shop).json == {"routes": [], "version": 3}


def test_whoever_knows_the_routes_is_not_told_them_again(shop):
    etag = put(shop, BULK).headers["ETag"]
    assert shop.get("/routes", headers={"If-None-Match": etag}).status_code == 304
    put(shop, ORDERS)
    assert shop.get("/routes", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("headers", [{"If_Match": '"0"'}, {"If_Match": 'W/"0", "x"'}])
def test_a_change_of_routes_that_others_have_changed_since_is_refused(shop, headers):
    assert put(shop, BULK, **headers).status_code == 200
    response = put(shop, ORDERS, **headers)
    assert problem(response) == (412, "precondition_failed")
    assert shop.get("/routes").json == {"routes": [BULK], "version": 1}


def test_the_version_in_the_body_says_the_same_as_if_match(shop):
    read = shop.get("/routes").json
    assert put(shop, BULK, version=read["version"]).status_code == 200
    assert put(shop, ORDERS, version=read["version"]).status_code == 412
    assert put(shop, ORDERS, version=0, If_Match='"1"').status_code == 412
    assert put(shop, ORDERS, version=1, If_Match='"1"').status_code == 200


def test_without_a_condition_and_for_any_version_a_change_is_made(shop):
    put(shop, BULK)
    assert put(shop, ORDERS).status_code == 200
    assert put(shop, BULK, If_Match="*").json["version"] == 3


def test_of_many_changes_of_one_version_at_once_one_is_made(make_app, valkey: Redis):
    shop = Caller(make_app(valkey))
    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda _: put(shop, BULK, If_Match='"0"').status_code, range(16))
    assert sorted(done) == [200] + [412] * 15
    assert shop.get("/routes").json["version"] == 1


def test_tags_and_domains_may_be_left_out(shop):
    rest = {"name": "rest", "providers": ["ses:25%", "mailgun:75%"]}
    assert put(shop, rest).json["routes"] == [{**rest, "tags": [], "domains": []}]


def test_domains_are_kept_as_addresses_have_them(shop):
    route = BULK | {"domains": ["GMail.com", "gmail.com", "*.XN--mnchen-3ya.example"]}
    assert put(shop, route).json["routes"][0]["domains"] == ["gmail.com", "*.münchen.example"]


def test_all_faults_are_told_by_their_path(shop):
    found = faults(
        shop,
        {"name": "", "providers": []},
        {"name": "two\nlines", "providers": ["pigeon", "ses:0%", "ses:100%", 7]},
        {"name": "x", "providers": ["ses"], "domains": ["nowhere", "*", "ok.example.net"]},
        {"name": "x", "tags": ["a\nb"], "colour": "red"},
    )
    assert set(found) == {
        "routes.0.name",
        "routes.0.providers",
        "routes.1.name",
        "routes.1.providers.0",
        "routes.1.providers.1",
        "routes.1.providers.2",
        "routes.1.providers.3",
        "routes.2.domains.0",
        "routes.2.domains.1",
        "routes.3.tags.0",
        "routes.3.colour",
        "routes.3.providers",
    }
    assert found["routes.1.providers.0"] == [
        "No such provider here; there are: mailgun, sendgrid, ses."
    ]


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        (["ses", "ses"], "named twice"),
        (["ses:10%", "mailgun", "ses"], "named twice"),
        (["ses:60%", "mailgun:40.01%", "sendgrid"], "more than 100%"),
        (["ses:60%", "mailgun:30%"], "less than 100%"),
        (["ses:60%"], "less than 100%"),
    ],
)
def test_providers_that_do_not_add_up_are_a_fault(shop, providers, words):
    (text,) = faults(shop, BULK | {"providers": providers})["routes.0.providers"]
    assert words in text


def test_two_routes_of_one_name_and_a_route_that_no_mail_gets_to_are_faults(shop):
    assert set(faults(shop, BULK, ORDERS, BULK)) == {"routes.2.name"}
    rest = {"name": "rest", "providers": ["ses"]}
    assert set(faults(shop, BULK, rest, ORDERS)) == {"routes.2"}


@pytest.mark.parametrize("body", [[], {}, {"routes": None}, {"routes": {}}, {"routes": ["ses"]}])
def test_what_is_no_list_of_routes_is_a_fault(shop, body):
    assert problem(shop.call("PUT", "/routes", json=body)) == (422, "invalid")


def test_routes_do_not_come_as_form_fields(shop):
    assert problem(shop.call("PUT", "/routes", data={"routes": "x"})) == (
        415,
        "unsupported_media_type",
    )
