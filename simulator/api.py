"""What the APIs have in common: a call becomes a submission, or is refused."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from simulator.http import Answer, Call
from simulator.journal import Journal
from simulator.mail import Mail
from simulator.switches import Mode, Provider


class Refused(Exception):
    """The API does not take the call; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Submission:
    """A call that passed every check of its form.

    `mails` is empty where the caller asked for a rehearsal. `bad_recipient` is the refusal for an
    address that the provider knows to be bad, where there is one. `taken` hears that the call was
    accepted, and for how many seconds it goes on until its answer leaves.
    """

    mails: tuple[Mail, ...]
    sender: str
    success: Answer
    bad_recipient: Answer | None = None
    taken: Callable[[float], None] = lambda seconds: None


class Api(ABC):
    """The API of one provider."""

    provider: ClassVar[Provider]

    @abstractmethod
    def submission(self, call: Call, path: str) -> Submission:
        """Authenticate and check a call to `path`, which is below our prefix. Raises `Refused`."""

    def report(self, call: Call, path: str, journal: Journal, until: float) -> Answer | None:
        """The answer to a question about what happened up to `until`; None if it is none."""
        return None

    @abstractmethod
    def failure(self, mode: Mode, submission: Submission | None, until: float) -> Answer:
        """The answer of a switch in this provider's form; `until` is when a rate limit ends.

        There is no submission where the key is not known.
        """


def json_answer(status: int, content: Any, *headers: tuple[str, str]) -> Answer:
    return Answer(status, orjson.dumps(content), headers=headers)


def json_object(call: Call) -> dict[str, Any] | None:
    """The object that a call's body is in JSON; None where it is none."""
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def new_uuid() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
