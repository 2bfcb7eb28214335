"""One plain mail through each of the APIs, by a client that does what it is told."""

import json
from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsCredentials

PROVIDERS = ("mailgun", "sendgrid", "ses", "postmark", "resend", "mandrill")

MAILGUN = {
    "from": "Shop <orders@shop.example>",
    "to": "Ann <ann@example.net>",
    "subject": "Your order",
    "text": "It is on its way.",
    "v:attempt_id": "at-1",
}
SENDGRID = {
    "personalizations": [
        {
            "to": [{"email": "ann@example.net", "name": "Ann"}],
            "custom_args": {"attempt_id": "at-1"},
        }
    ],
    "from": {"email": "orders@shop.example", "name": "Shop"},
    "subject": "Your order",
    "content": [{"type": "text/plain", "value": "It is on its way."}],
}
SES = {
    "FromEmailAddress": "Shop <orders@shop.example>",
    "Destination": {"ToAddresses": ["Ann <ann@example.net>"]},
    "Content": {
        "Simple": {
            "Subject": {"Data": "Your order"},
            "Body": {"Text": {"Data": "It is on its way."}},
        }
    },
    "EmailTags": [{"Name": "attempt_id", "Value": "at-1"}],
}
POSTMARK = {
    "From": "Shop <orders@shop.example>",
    "To": "Ann <ann@example.net>",
    "Subject": "Your order",
    "TextBody": "It is on its way.",
    "Metadata": {"attempt_id": "at-1"},
}
RESEND = {
    "from": "Shop <orders@shop.example>",
    "to": ["Ann <ann@example.net>"],
    "subject": "Your order",
    "text": "It is on its way.",
    "tags": [{"name": "attempt_id", "value": "at-1"}],
}
MANDRILL = {
    "from_email": "orders@shop.example",
    "from_name": "Shop",
    "to": [{"email": "ann@example.net", "name": "Ann", "type": "to"}],
    "subject": "Your order",
    "text": "It is on its way.",
    "metadata": {"attempt_id": "at-1"},
}


def send(
    running: Any,
    provider: str,
    body: Any = None,
    *,
    url: str | None = None,
    key: str | None = None,
    timeout: float = 5,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """One call; `body` (bytes as they are, or fields) takes the place of the plain mail.

    That of Mandrill is its `message`. `headers` are added to those of JSON.
    """
    url = url or f"{running.url}/{provider}"
    credentials = running.credentials
    session: requests.Session = running.session
    if provider == "mailgun":
        return session.post(
            f"{url}/v3/{credentials.mailgun_domain}/messages",
            data=MAILGUN if body is None else body,
            auth=("api", key or credentials.mailgun_api_key),
            timeout=timeout,
        )
    headers = {"Content-Type": "application/json", **(headers or {})}
    if provider in _JSON:
        return _send_json(running, provider, body, url, key, timeout, headers)
    if provider == "sendgrid":
        headers["Authorization"] = f"Bearer {key or credentials.sendgrid_api_key}"
        data = body if isinstance(body, bytes) else json.dumps(SENDGRID if body is None else body)
        return session.post(f"{url}/v3/mail/send", data=data, headers=headers, timeout=timeout)
    data = body if isinstance(body, bytes) else json.dumps(SES if body is None else body)
    request = AWSRequest("POST", f"{url}/v2/email/outbound-emails", headers=headers, data=data)
    pair = AwsCredentials(credentials.aws_access_key_id, key or credentials.aws_secret_access_key)
    SigV4Auth(pair, "ses", credentials.aws_region).add_auth(request)
    return session.post(request.url, data=data, headers=dict(request.headers), timeout=timeout)


_JSON = {
    "postmark": (POSTMARK, "/email"),
    "resend": (RESEND, "/emails"),
    "mandrill": (MANDRILL, "/api/1.0/messages/send.json"),
}


def _send_json(
    running: Any,
    provider: str,
    body: Any,
    url: str,
    key: str | None,
    timeout: float,
    headers: dict[str, str],
) -> requests.Response:
    credentials = running.credentials
    plain, path = _JSON[provider]
    fields = plain if body is None else body
    if provider == "postmark":
        headers |= {"X-Postmark-Server-Token": key or credentials.postmark_server_token}
    elif provider == "resend":
        headers |= {"Authorization": f"Bearer {key or credentials.resend_api_key}"}
    elif not isinstance(fields, bytes):
        fields = {"key": key or credentials.mandrill_api_key, "message": fields}
    data = fields if isinstance(fields, bytes) else json.dumps(fields)
    session: requests.Session = running.session
    return session.post(f"{url}{path}", data=data, headers=headers, timeout=timeout)
