"""An application that uses the API, with its key."""

from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

KEYS = {"shop": "shop-secret-0123456789", "office": "office-secret-0123456789"}

MAIL = {
    "from": "Shop <orders@shop.example>",
    "to": "Ann <ann@example.net>",
    "subject": "Your order",
    "text": "It is on its way.",
}


@dataclass(frozen=True)
class Caller:
    """Calls the routes of an app with the key of this name, or with none."""

    app: Flask
    key: str | None = "shop"

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = dict(options.pop("headers", {}))
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {KEYS[self.key]}")
        return self.app.test_client().open(path, method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.call("POST", path, **options)

    def send(self, http_headers: dict[str, str] | None = None, /, **fields: Any) -> TestResponse:
        """Sends a mail; None leaves a field of `MAIL` out. `sender` is `from`."""
        return self.post("/messages", json=mail(**fields), headers=http_headers or {})

    def sent(self, **fields: Any) -> str:
        """The id of a mail that was accepted."""
        response = self.send(**fields)
        assert response.status_code == 202, response.json
        return response.json["id"]

    def faults(
        self, http_headers: dict[str, str] | None = None, /, **fields: Any
    ) -> dict[str, list[str]]:
        """What is wrong with a mail, by the path of the field."""
        response = self.send(http_headers, **fields)
        assert response.status_code == 422, response.json
        return response.json["errors"]

    def message(self, **fields: Any) -> dict[str, Any]:
        """A mail that was accepted, as it can be looked at."""
        return self.get(f"/messages/{self.sent(**fields)}").json


def mail(**fields: Any) -> dict[str, Any]:
    if "sender" in fields:
        fields["from"] = fields.pop("sender")
    return {name: value for name, value in (MAIL | fields).items() if value is not None}


def problem(response: TestResponse) -> tuple[int, str]:
    """The status and code of an answer that must be a problem, whole and true."""
    assert response.content_type == "application/problem+json"
    assert response.headers["X-Request-Id"]
    body = response.json
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:steadpost:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    return response.status_code, body["code"]
