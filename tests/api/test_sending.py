"""POST /messages: what is accepted, how it is stored, and every fault at once."""

import pytest

from tests.api.caller import MAIL, mail, problem


def test_a_mail_is_accepted_with_its_id_and_where_its_status_is(shop):
    response = shop.send()
    assert response.status_code == 202
    message_id = response.json["id"]
    assert response.json["status"] == "queued"
    assert response.json["status_url"] == f"https://mail.example.com/status/{message_id}"
    assert response.headers["Location"] == f"/status/{message_id}"
    assert shop.get(response.headers["Location"]).json["status"] == "queued"


def test_every_field_is_kept_as_it_was_given(shop):
    message = shop.message(
        to=["Ann <ann@example.net>", {"email": "bob@example.net", "name": "Bob"}],
        cc="cy@example.net",
        bcc=["Di <di@example.net>"],
        reply_to={"email": "help@shop.example", "name": "Help"},
        html="<p>It is on its way.</p>",
        headers={"X-Order": "17", "x-order": "18"},
        tags=["order", "eu"],
        metadata={"order": "17"},
        providers=["ses", "mailgun"],
        on_unknown="hold",
        expires_at="2026-11-23T14:00:00+01:00",
    )
    assert message["from"] == {"email": "orders@shop.example", "name": "Shop"}
    assert [(r["kind"], r["email"], r["name"], r["status"]) for r in message["recipients"]] == [
        ("to", "ann@example.net", "Ann", "queued"),
        ("to", "bob@example.net", "Bob", "queued"),
        ("cc", "cy@example.net", "", "queued"),
        ("bcc", "di@example.net", "Di", "queued"),
    ]
    assert message["reply_to"] == [{"email": "help@shop.example", "name": "Help"}]
    assert message["subject"] == "Your order"
    assert message["headers"] == {"X-Order": "17", "x-order": "18"}
    assert message["tags"] == ["order", "eu"]
    assert message["metadata"] == {"order": "17"}
    assert message["providers"] == ["ses", "mailgun"]
    assert message["on_unknown"] == "hold"
    assert message["created_at"] == "2026-11-23T12:00:00.000Z"
    assert message["expires_at"] == "2026-11-23T13:00:00.000Z"


def test_the_body_is_not_in_any_answer(shop):
    message_id = shop.sent(text="a secret text", html="<p>a secret page</p>")
    for path in (f"/messages/{message_id}", f"/status/{message_id}", "/messages"):
        assert b"secret" not in shop.get(path).data


def test_what_is_not_given_is_as_the_service_is_set(shop):
    message = shop.message()
    assert message["on_unknown"] == "failover"
    assert message["providers"] == []
    assert message["expires_at"] == "2026-11-24T12:00:00.000Z"


def test_null_stands_for_what_is_not_given(shop):
    fields = {"html": None, "on_unknown": None, "expires_at": None}
    assert shop.post("/messages", json={**MAIL, **fields}).status_code == 202


def test_a_mail_may_go_to_blind_copies_only(shop):
    assert shop.send(to=None, bcc="di@example.net").status_code == 202


def test_a_mail_of_html_only_is_accepted(shop):
    assert shop.send(text=None, html="<p>Hello</p>").status_code == 202


def test_all_faults_are_named_at_once(shop):
    faults = shop.faults(
        sender="nobody",
        to=["ann@example.net", "bob", {"email": 1, "name": 2, "nick": "x"}],
        cc={"name": "Cy"},
        subject="",
        text="",
        headers={"Bad Name": "1", "X-Long": "x" * 999, "X-Number": 5, "From": "x"},
        tags=["ok", "", 7, "x" * 129],
        metadata={"": "1", "x" * 65: "1", "order": 17, "long": "x" * 1001},
        providers=["ses", "pigeon"],
        on_unknown="shrug",
        expires_at="tomorrow",
        colour="red",
    )
    assert set(faults) == {
        *("from", "to.1", "to.2.email", "to.2.name", "to.2.nick", "cc.email"),
        *("subject", "text"),
        *("headers.Bad Name", "headers.X-Long", "headers.X-Number", "headers.From"),
        *("tags.1", "tags.2", "tags.3"),
        *("metadata.", "metadata." + "x" * 65, "metadata.order", "metadata.long"),
        *("providers.1", "on_unknown", "expires_at", "colour"),
    }
    assert all(text for texts in faults.values() for text in texts)


def test_what_a_mail_cannot_do_without_is_named_at_once(shop):
    response = shop.post("/messages", json={})
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {"from", "to", "subject", "text"}


def test_faults_of_body_and_header_come_together(shop):
    assert set(shop.faults({"Idempotency-Key": ""}, subject=None)) == {"subject", "Idempotency-Key"}


@pytest.mark.parametrize("body", ["[]", '["from"]', '"mail"', "17", "true", "null"])
def test_a_body_that_is_no_object_is_one_fault(shop, body):
    response = shop.post("/messages", data=body, content_type="application/json")
    assert problem(response) == (422, "invalid")
    assert set(response.json["errors"]) == {""}


@pytest.mark.parametrize("field", ["sender", "colour", "From", "attachment", "_schema"])
def test_a_field_that_nobody_knows_is_refused(shop, field):
    response = shop.post("/messages", json={**MAIL, field: "x"})
    assert problem(response) == (422, "invalid")


@pytest.mark.parametrize("name", ["value", "key", "_schema", "a.b"])
def test_a_fault_of_an_entry_stands_under_its_name_whatever_that_is(shop, name):
    assert f"metadata.{name}" in shop.faults(metadata={name: 1}) or name == "_schema"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", 17),
        ("to", [["ann@example.net"]]),
        ("to", None),
        ("subject", ["Your order"]),
        ("text", 17),
        ("html", {}),
        ("headers", [["X-Order", "17"]]),
        ("headers", "X-Order: 17"),
        ("tags", "order"),
        ("tags", {"order": True}),
        ("metadata", "order"),
        ("providers", "ses"),
        ("expires_at", 1700000000),
        ("on_unknown", False),
    ],
)
def test_a_value_of_another_kind_is_refused(shop, field, value):
    response = shop.post("/messages", json={**mail(), field: value})
    assert problem(response) == (422, "invalid")
    assert {path.partition(".")[0] for path in response.json["errors"]} == {field}


def test_an_address_that_comes_twice_counts_once_to_before_cc_before_bcc(shop):
    message = shop.message(
        bcc=["ANN@example.net", "cy@example.net", "di@example.net"],
        cc=["Cy <cy@example.net>", "ann@EXAMPLE.net"],
        to=["Ann <ann@example.net>", "ann@example.net"],
    )
    assert [(r["kind"], r["email"]) for r in message["recipients"]] == [
        ("to", "ann@example.net"),
        ("cc", "cy@example.net"),
        ("bcc", "di@example.net"),
    ]


def test_fifty_recipients_are_accepted_and_the_fifty_first_is_not(shop):
    people = [f"p{number}@example.net" for number in range(51)]
    assert (
        len(shop.message(to=people[:20], cc=people[20:40], bcc=people[40:50])["recipients"]) == 50
    )
    assert "50" in shop.faults(to=people[:20], cc=people[20:40], bcc=people[40:])["to"][0]
    assert shop.faults(to=people)["to"]


def test_those_who_are_there_twice_do_not_count_twice(shop):
    people = [f"p{number}@example.net" for number in range(50)]
    assert len(shop.message(to=[*people, "P0@example.net"], cc=people)["recipients"]) == 50


def test_a_list_of_addresses_has_an_end(shop):
    assert "100" in shop.faults(to=["ann@example.net"] * 101)["to"][0]


def test_a_provider_that_is_not_here_is_named_with_those_that_are(shop):
    faults = shop.faults(providers=["ses", "pigeon", "mailgun"])
    assert faults == {"providers.1": ["No such provider here; there are: mailgun, sendgrid, ses."]}


def test_a_provider_is_named_once(shop):
    assert shop.faults(providers=["ses", "mailgun", "ses"]) == {
        "providers": ["A provider is named twice."]
    }


def test_a_mail_whose_time_is_over_is_accepted_all_the_same(shop):
    assert shop.message(expires_at="2020-01-01T00:00:00Z")["expires_at"] == (
        "2020-01-01T00:00:00.000Z"
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-12-01T09:00:00Z", "2026-12-01T09:00:00.000Z"),
        ("2026-12-01t09:00:00z", "2026-12-01T09:00:00.000Z"),
        ("2026-12-01T09:00:00.123456789+02:00", "2026-12-01T07:00:00.123Z"),
        ("2026-12-01T09:00:00-00:30", "2026-12-01T09:30:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("0001-01-01T00:00:00+12:00", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_read_as_rfc_3339_and_answered_in_utc(shop, given, kept):
    assert shop.message(expires_at=given)["expires_at"] == kept


@pytest.mark.parametrize(
    "given",
    [
        *("2026-12-01", "2026-12-01T09:00:00", "2026-12-01 09:00:00Z", "20261201T090000Z"),
        *("2026-13-01T09:00:00Z", "2026-02-30T09:00:00Z", "2026-12-01T25:00:00Z"),
        *("2026-12-01T09:00Z", "2026-12-01T09:00:00+25:00", "", "2026-12-01T09:00:00Z\n"),
        *("٢٠٢٦-12-01T09:00:00Z", "0000-01-01T00:00:00Z"),
    ],
)
def test_what_is_no_time_is_refused(shop, given):
    assert set(shop.faults(expires_at=given)) == {"expires_at"}
