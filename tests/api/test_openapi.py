"""The OpenAPI document: valid, complete, and true of what the service does."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import fakeredis
import jsonschema
import pytest
import schemathesis
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi.formats import unregister_string_format
from werkzeug.serving import WSGIRequestHandler, make_server

from app.api.parsing import FORM_TYPES
from tests.api.caller import KEYS, MAIL, mail
from tests.api.test_keys import OPEN, rules


@pytest.fixture
def document(nobody) -> dict:
    return nobody.get("/openapi.json").json


def operations(document: dict) -> dict[tuple[str, str], dict]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def test_the_document_is_valid(document):
    assert document["openapi"].startswith("3.1.")
    assert not list(OpenAPIV31SpecValidator(document).iter_errors())


def test_every_route_of_the_api_is_in_the_document_and_no_other(app, document):
    routes = {
        (
            method,
            str(rule.rule).replace("<message_id:", "{").replace("<string:", "{").replace(">", "}"),
        )
        for rule in rules(app)
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint != "asset"
    }
    assert set(operations(document)) == routes


def test_the_document_says_which_routes_want_no_key(app, document):
    by_path = operations(document)
    for rule in rules(app):
        if (("GET", rule.rule)) in by_path:
            assert (by_path["GET", rule.rule].get("security") == []) is (rule.endpoint in OPEN)


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document):
    known = operations(document).values()
    assert len({operation["operationId"] for operation in known}) == len(known)
    assert all(operation["summary"] for operation in known)


def test_every_error_is_documented_as_a_problem(document):
    for operation in operations(document).values():
        for status, answer in operation["responses"].items():
            if status >= "400":
                name = answer["$ref"].rpartition("/")[2]
                content = document["components"]["responses"][name]["content"]
                assert list(content) == ["application/problem+json"]


def test_every_body_may_come_as_json_or_as_form_fields_of_the_same_names(document):
    bodies = [
        o["requestBody"]["content"] for o in operations(document).values() if "requestBody" in o
    ]
    assert bodies
    schemas = document["components"]["schemas"]
    for content in bodies:
        if "*/*" in content:
            # Providers write theirs as they like.
            continue
        content.pop("text/csv", None)
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        if name in ("RoutesRequest", "BatchRequest"):
            # A list of objects: form fields cannot say that.
            assert set(content) == {"application/json"}
            continue
        assert set(content) == {"application/json", *FORM_TYPES}
        names = {
            type_: body["schema"]["$ref"].rpartition("/")[2] for type_, body in content.items()
        }
        fields = {type_: set(schemas[name]["properties"]) for type_, name in names.items()}
        # Files have a form of their own.
        fields["application/x-www-form-urlencoded"] |= fields["application/json"] & {"attachments"}
        assert len({frozenset(names) for names in fields.values()}) == 1


WELCOME = {"name": "Ann", "product": "Acme", "url": "https://acme.example/start"}

SAMPLES = [
    {},
    {"to": None},
    {"to": []},
    {"to": [], "bcc": ["di@example.net"]},
    {"to": {"email": "ann@example.net", "name": None}},
    {"to": {"email": "ann@example.net", "nick": "A"}},
    {"to": ["ann@example.net"] * 100},
    {"to": ["ann@example.net"] * 101},
    {"text": None},
    {"text": None, "html": "<p>Hello</p>"},
    {"text": ""},
    {"subject": "a\nb"},
    {"subject": "a\u2028b"},
    {"subject": "x" * 999},
    {"headers": {"X-Order": "17", "x-order": "18"}},
    {"headers": {"Fromage": "Brie"}},
    {"headers": {"from": "x"}},
    {"headers": {"Content-Anything": "x"}},
    {"headers": {"X Order": "x"}},
    {"headers": {"X-Order": ""}},
    {"headers": {f"x-{n}": "1" for n in range(51)}},
    {"tags": ["a"] * 20},
    {"tags": ["a"] * 21},
    {"tags": [""]},
    {"metadata": {"": "x"}},
    {"metadata": {"x" * 65: "x"}},
    {"metadata": {"lines": "a\r\nb"}},
    {"providers": ["ses", "mailgun"]},
    {"providers": ["ses", "ses"]},
    {"providers": ["pigeon"]},
    {"on_unknown": "shrug"},
    {"attachments": [{"filename": "a.txt", "content": "aGk="}]},
    {"attachments": [{"filename": "请求 🎉.pdf", "content": "", "content_type": None}]},
    {"attachments": [{"filename": "a.txt", "content": "aGk"}]},
    {"attachments": [{"filename": "a.txt", "content": "aG\nk="}]},
    {"attachments": [{"filename": "a.txt", "content": "a-k="}]},
    {"attachments": [{"filename": "../a.txt", "content": ""}]},
    {"attachments": [{"filename": "a\\b", "content": ""}]},
    {"attachments": [{"filename": "..", "content": ""}]},
    {"attachments": [{"filename": "", "content": ""}]},
    {"attachments": [{"filename": "a\nb", "content": ""}]},
    {"attachments": [{"filename": "x" * 255, "content": ""}]},
    {"attachments": [{"filename": "x" * 256, "content": ""}]},
    {"attachments": [{"filename": "a", "content": "", "content_type": "text/plain; charset=x"}]},
    {"attachments": [{"filename": "a", "content": "", "content_id": "a b"}]},
    {"attachments": [{"filename": "a", "content": "", "content_id": "logo@shop.example"}]},
    {"attachments": [{"filename": "a"}]},
    {"attachments": [{"filename": "a", "content": "", "size": 1}]},
    {"attachments": [{"filename": "a", "content": ""}] * 101},
    {"attachments": {"filename": "a", "content": ""}},
    {"attachments": None},
    {"colour": "red"},
    {"subject": None},
    {"template": "welcome"},
    {"variables": {}},
    {"subject": None, "text": None, "template": "welcome", "variables": WELCOME},
    {"subject": None, "text": None, "html": "<p>", "template": "welcome", "variables": WELCOME},
    {"subject": None, "text": None, "template": "../welcome", "variables": WELCOME},
]


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_what_the_document_allows_is_accepted_and_nothing_else(shop, document, sample):
    request = mail(**sample)
    schema = {"$ref": "#/components/schemas/MessageRequest", "components": document["components"]}
    valid = jsonschema.Draft202012Validator(schema).is_valid(request)
    assert shop.post("/messages", json=request).status_code == (202 if valid else 422)


OBJECTS = [
    "{}",
    " {\n} ",
    '{"X-Order": "17"}',
    '{"X-Order":"17" , "X-Shop" : "a \\"b\\" \\\\ \\/ \\u00e9 \\ud83d\\ude00 😀"}',
    '{"X-Order": "17",}',
    '{"X-Order": "17" "X-Shop": "1"}',
    '{"X-Order": "1", "X-Order": "2"}',
    '{"X-Order": "a\\nb"}',
    '{"X-Order": "a\\u000ab"}',
    '{"X-Order": "a\\u2028b"}',
    '{"X-Order": "\\ud83d"}',
    '{"X-Order": "a\nb"}',
    '{"X-Order": ""}',
    '{"X-Order": 17}',
    '{"Subject": "x"}',
    '{"Subjects": "x"}',
    "[]",
    "X-Order: 17",
    "",
    json.dumps({f"x-{n}": "1" for n in range(50)}),
    json.dumps({f"x-{n}": "1" for n in range(51)}),
    json.dumps({"X-Order": "x" * 998}),
    json.dumps({"X-Order": "x" * 999}),
]


@pytest.mark.parametrize("text", OBJECTS, ids=range(len(OBJECTS)))
def test_what_the_document_allows_in_a_form_is_accepted_and_nothing_else(shop, document, text):
    fields = {**MAIL, "headers": text}
    schema = {
        "$ref": "#/components/schemas/MessageRequestForm",
        "components": document["components"],
    }
    valid = jsonschema.Draft202012Validator(schema).is_valid(fields)
    assert shop.post("/messages", data=fields).status_code == (202 if valid else 422)


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Says nothing: a request has its line in our own log."""


@pytest.fixture
def served(make_app) -> Iterator[str]:
    """The address of an app on a real socket."""
    app = make_app(fakeredis.FakeRedis(decode_responses=True))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_time_to_come() -> Iterator[None]:
    """Only times that are past: a schema cannot say what is too far ahead, or out of order."""
    past = st.integers(0, 1_750_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
    schemathesis.openapi.format("date-time", past.map(datetime.isoformat))
    yield
    unregister_string_format("date-time")


# What hypothesis and schemathesis find unwise in what they do themselves.
@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("no_time_to_come")
def test_schemathesis_finds_nothing(served):
    """All of its checks and phases, with few examples, the same in every run."""
    config = schemathesis.Config.from_dict(
        {
            "seed": 17,
            "headers": {"Authorization": f"Bearer {KEYS['shop']}"},
            "generation": {"max-examples": 5, "deterministic": True, "database": "none"},
            "phases": {"stateful": {"max-steps": 3}},
            # What a schema cannot say: which templates there are, what can be written in them, what
            # a message has from the defaults, that shares add up, and which version there is now.
            "operations": [
                {
                    "include-name": "POST /messages",
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": ["202", "422"]},
                    },
                },
                {
                    "include-name-regex": "^(PUT|POST) /templates",
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": ["200", "404", "422"]},
                    },
                },
                {
                    "include-name": "POST /messages/batch",
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": ["202", "422"]},
                    },
                    # Its messages are those of POST /messages, once more and twice over.
                    "phases": {"coverage": {"enabled": False}},
                },
                {
                    # It cannot say what is CSV, either.
                    "include-name": "POST /suppressions",
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": ["200", "400", "422"]},
                    },
                },
                {
                    # Nor which hosts and ports are for callbacks.
                    "include-name-regex": "^(POST|PATCH) /callbacks",
                    "checks": {
                        "positive_data_acceptance": {
                            "expected-statuses": ["200", "201", "404", "409", "422"]
                        },
                    },
                },
                {
                    "include-name": "PUT /routes",
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": ["200", "412", "422"]},
                        "negative_data_rejection": {"expected-statuses": ["4XX"]},
                    },
                },
            ],
        }
    )
    schema = schemathesis.openapi.from_url(f"{served}/openapi.json", config=config)
    found, tried = [], set()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(event)
        elif isinstance(event, events.ScenarioFinished):
            tried |= {case.value.operation.label for case in event.recorder.cases.values()}
            found += [
                (check.name, check.failure_info.failure, event.recorder.cases[case].value)
                for case, checks in event.recorder.checks.items()
                for check in checks
                if check.failure_info is not None
            ]
    assert not found
    assert len(tried) == len(list(schema.get_all_operations()))
