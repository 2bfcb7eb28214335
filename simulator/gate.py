"""Where a call to one of the three APIs meets its switch."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from simulator.api import Api, Refused
from simulator.credentials import Credentials
from simulator.http import Answer, Call, Fault, Reply
from simulator.inbox import Inbox
from simulator.mailgun import Mailgun
from simulator.sendgrid import SendGrid
from simulator.ses import Ses
from simulator.switches import Mode, Provider, Switch, Switches

CAPTIVE_PORTAL = Answer(
    200,
    b"<!doctype html>\n<html><head><title>Welcome to the hotel's network</title></head>\n"
    b'<body><h1>Please sign in</h1><form action="/login"><label>Room <input name="room"></label>'
    b"<button>Sign in</button></form></body></html>\n",
    "text/html; charset=utf-8",
)

_ANSWERED_IN_OWN_WORDS = (
    Mode.HTTP_500,
    Mode.HTTP_503,
    Mode.RATE_LIMIT,
    Mode.UNVERIFIED_SENDER,
)


class Gate:
    """Takes calls for the three providers; what they accept goes to the inbox."""

    def __init__(
        self,
        credentials: Credentials,
        switches: Switches,
        inbox: Inbox,
        clock: Callable[[], float] = time.time,
    ) -> None:
        apis = (Mailgun, SendGrid, Ses)
        self._apis: Mapping[Provider, Api] = {api.provider: api(credentials, clock) for api in apis}
        self._switches = switches
        self._inbox = inbox
        self._clock = clock

    def reply(self, provider: Provider, call: Call, path: str) -> Reply:
        """Handle a call to `path`, which is below the provider's prefix."""
        switch = self._switches[provider]
        if switch.mode is not Mode.UNAUTHORIZED:
            until = self._clock() - switch.lag
            report = self._apis[provider].report(call, path, self._inbox.journal, until)
            # Whatever is wrong with sending, what happened before can be read.
            if report is not None:
                return report
        self._inbox.counts[provider].calls += 1
        reply = self._reply(provider, switch, call, path)
        if switch.mode is Mode.SLOW and isinstance(reply, Answer):
            return replace(reply, delay=switch.seconds)
        return reply

    def _reply(self, provider: Provider, switch: Switch, call: Call, path: str) -> Reply:
        api = self._apis[provider]
        until = self._clock() + switch.seconds
        mode = switch.mode
        if mode is Mode.GARBAGE_200:
            return CAPTIVE_PORTAL
        if mode is Mode.UNAUTHORIZED:
            return api.failure(mode, "", until)
        try:
            submission = api.submission(call, path)
        except Refused as refused:
            return refused.answer
        if mode in _ANSWERED_IN_OWN_WORDS:
            return api.failure(mode, submission.sender, until)
        if mode is Mode.TIMEOUT_BEFORE_ACCEPT:
            return Fault.SILENCE
        if submission.bad_recipient:
            return submission.bad_recipient
        for mail in submission.mails:
            self._inbox.add(mail, len(call.body))
        if mode is Mode.TIMEOUT_AFTER_ACCEPT:
            return Fault.SILENCE
        if mode is Mode.RESET_AFTER_ACCEPT:
            return Fault.RESET
        return submission.success
