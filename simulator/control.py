"""The JSON side of our own port: switches, inbox, counts and attempts."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

import orjson

from simulator.http import Answer, Call
from simulator.inbox import Entry, Inbox
from simulator.mail import Mailbox
from simulator.switches import LONGEST_SECONDS, Mode, Provider, Switch, Switches
from simulator.webhooks import Webhooks, changed

_TITLES = {
    400: "Bad request",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    422: "Unprocessable content",
}


def problem(status: int, detail: str, **more: Any) -> Answer:
    """An error as RFC 9457 has it."""
    content = {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
    body = orjson.dumps(content | more)
    headers = (("Allow", more["allow"]),) if "allow" in more else ()
    return Answer(status, body, "application/problem+json", headers)


def json_ok(content: Any) -> Answer:
    return Answer(200, orjson.dumps(content), headers=(("Cache-Control", "no-store"),))


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class Control:
    """What tests and scripts use."""

    def __init__(self, switches: Switches, inbox: Inbox, webhooks: Webhooks | None = None) -> None:
        self._switches = switches
        self._inbox = inbox
        self._webhooks = webhooks
        self._routes: dict[str, dict[str, Callable[[Call], Answer]]] = {
            "/control": {"GET": self._state, "POST": self._set_all},
            "/control/webhooks": {"GET": self._webhook_state, "POST": self._set_webhooks},
            "/inbox": {"DELETE": self._clear},
            "/inbox.json": {"GET": self._mails},
            "/counts.json": {"GET": self._counts},
            "/attempts.json": {"GET": self._attempts},
        }

    def answer(self, call: Call) -> Answer | None:
        """The answer to a call, None if its path is not one of ours."""
        methods = self._routes.get(call.path)
        if methods is None:
            match = re.fullmatch(r"/control/([^/]*)", call.path)
            return self._one(call, match[1]) if match else None
        route = methods.get("GET" if call.method == "HEAD" else call.method)
        if route is None:
            return problem(405, f"{call.path} knows other methods.", allow=", ".join(methods))
        return route(call)

    def _state(self, call: Call) -> Answer:
        return json_ok(self._switches.state())

    def _one(self, call: Call, name: str) -> Answer:
        if name not in list(Provider):
            providers = [provider.value for provider in Provider]
            return problem(404, "There is no such provider.", valid=providers)
        if call.method in ("GET", "HEAD"):
            return json_ok(self._switches.state()[name])
        if call.method != "POST":
            return problem(405, "Read it with GET, set it with POST.", allow="GET, POST")
        return self._set(call, Provider(name))

    def _set_all(self, call: Call) -> Answer:
        return self._set(call, *Provider)

    def _set(self, call: Call, *providers: Provider) -> Answer:
        try:
            wanted = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            return problem(400, "The body is not JSON.")
        modes = [mode.value for mode in Mode]
        if not isinstance(wanted, dict) or wanted.get("mode") not in modes:
            return problem(422, 'Give a mode, such as {"mode": "up"}.', valid=modes)
        times = {name: wanted.get(name, getattr(Switch(), name)) for name in ("seconds", "lag")}
        for name, seconds in times.items():
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                return problem(422, f"{name} must be a number.")
        if not 0 < times["seconds"] <= LONGEST_SECONDS:
            return problem(422, f"seconds must be above 0 and up to {LONGEST_SECONDS:g}.")
        if not 0 <= times["lag"] <= LONGEST_SECONDS:
            return problem(422, f"lag must be from 0 to {LONGEST_SECONDS:g}.")
        for provider in providers:
            self._switches.set(
                provider, Switch(Mode(wanted["mode"]), float(times["seconds"]), float(times["lag"]))
            )
        return json_ok(self._switches.state())

    def _webhook_state(self, call: Call) -> Answer:
        if self._webhooks is None:
            return problem(404, "No webhooks are sent: SIMULATOR_WEBHOOKS is off.")
        return json_ok(self._webhooks.state())

    def _set_webhooks(self, call: Call) -> Answer:
        if self._webhooks is None:
            return self._webhook_state(call)
        try:
            wanted = orjson.loads(call.body)
            self._webhooks.troubles = changed(self._webhooks.troubles, wanted)
        except orjson.JSONDecodeError:
            return problem(400, "The body is not JSON.")
        except ValueError as error:
            return problem(422, str(error))
        return json_ok(self._webhooks.state())

    def _clear(self, call: Call) -> Answer:
        self._inbox.clear()
        return json_ok({"cleared": True})

    def _counts(self, call: Call) -> Answer:
        return json_ok(
            {
                provider.value: {"calls": count.calls, "accepted": count.accepted}
                for provider, count in self._inbox.counts.items()
            }
        )

    def _mails(self, call: Call) -> Answer:
        query = parse_qs(call.query)
        limit = _number(query, "limit", 50)
        after = _number(query, "after", None)
        if limit is None or not 1 <= limit <= 1_000 or (after is not None and after < 0):
            return problem(422, "limit is from 1 to 1000, after is the id of a mail.")
        entries = self._inbox.newest(limit, after)
        more = bool(entries) and bool(self._inbox.newest(1, entries[-1].id))
        return json_ok(
            {
                "mails": [_described(entry) for entry in entries],
                "next": entries[-1].id if more else None,
            }
        )

    def _attempts(self, call: Call) -> Answer:
        query = parse_qs(call.query)
        since = _number(query, "since", 0)
        limit = _number(query, "limit", 10_000)
        if since is None or since < 0 or limit is None or not 1 <= limit <= 100_000:
            return problem(422, "since is a number from 0, limit one from 1 to 100000.")
        ledger = self._inbox.ledger
        first = max(since, ledger.oldest)
        found = list(islice(ledger.since(first), limit))
        return json_ok(
            {
                "total": ledger.total,
                "first": first,
                "attempts": [list(pair) for pair in found],
                "next": first + len(found) if first + len(found) < ledger.total else None,
            }
        )


def _number(query: dict[str, list[str]], name: str, default: int | None) -> int | None:
    if name not in query:
        return default
    text = query[name][0]
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else -1


def _described(entry: Entry) -> dict[str, Any]:
    mail = entry.mail
    return {
        "id": entry.id,
        "provider": mail.provider.value,
        "provider_message_id": mail.provider_message_id,
        "attempt_id": mail.attempt_id,
        "received_at": timestamp(entry.received_at),
        "from": _person(mail.sender),
        "to": [_person(one) for one in mail.to],
        "cc": [_person(one) for one in mail.cc],
        "bcc": [_person(one) for one in mail.bcc],
        "reply_to": [_person(one) for one in mail.reply_to],
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "headers": [{"name": name, "value": value} for name, value in mail.headers],
        "attachments": [
            {
                "filename": one.filename,
                "content_type": one.content_type,
                "size": len(one.content),
                "sha256": hashlib.sha256(one.content).hexdigest(),
                "content_id": one.content_id or None,
                "inline": one.inline,
            }
            for one in mail.attachments
        ],
        "tags": list(mail.tags),
        "variables": mail.variables,
        "recipients": [
            {"kind": kind, "email": one.email, "fate": fate.value}
            for kind, one, fate in mail.recipients
        ],
    }


def _person(one: Mailbox) -> dict[str, str]:
    return {"email": one.email, "name": one.name}
