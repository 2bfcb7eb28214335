"""The send that all who are measured have: our transport, and a mail of a kilobyte."""

import os
from typing import Any

import orjson

from providers.transport import Call, Transport

TEXT = "Hello there, this is about your order, which is on its way. " * 12


def mail(number: int) -> dict[str, Any]:
    """A mail as SendGrid wants it."""
    return {
        "personalizations": [{"to": [{"email": f"ann{number}@example.net"}]}],
        "from": {"email": "orders@shop.example", "name": "Shop"},
        "subject": "Your order",
        "content": [{"type": "text/plain", "value": TEXT}],
        "custom_args": {"attempt_id": f"msg-{number}"},
    }


class Sender:
    """Sends to the provider at the port in BENCH_PORT."""

    def __init__(self) -> None:
        base = f"http://127.0.0.1:{os.environ['BENCH_PORT']}"
        self._url = f"{base}/v3/mail/send"
        self._transport = Transport(
            base, connect_timeout=5.0, read_timeout=60.0, deadline=60.0, connections=1000
        )

    def send(self, mail: dict[str, Any]) -> None:
        body = orjson.dumps(mail)
        headers = {"Authorization": "Bearer SG.secret", "Content-Type": "application/json"}
        answer = self._transport.post(Call(self._url, headers, body, ("SG.secret",)))
        if answer.status != 202:
            raise RuntimeError(f"the provider said {answer.status}")
