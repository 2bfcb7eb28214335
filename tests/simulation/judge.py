"""The judge: looks at every write to Redis and at every call of a provider, and knows the truth."""

from collections.abc import Mapping
from typing import Any

from app.core import keys, scripting
from providers.types import Email
from tests.simulation import moves
from tests.simulation.breaker_rules import BreakerRules
from tests.simulation.ledger import Call, Ledger
from tests.simulation.places import Places
from tests.simulation.plan import Plan
from tests.simulation.seen import Seen, read
from tests.simulation.server import Server
from tests.simulation.world import Task, Violation, World

_SCRIPTS = sorted(p.stem for p in scripting._SCRIPTS.glob("*.lua") if p.stem != "common")
_RECORD = keys.MESSAGE.encode()


class Judge:
    """Raises Violation as soon as a rule does not hold."""

    def __init__(self, world: World, plan: Plan, server: Server) -> None:
        self.ledger = Ledger()
        self.messages: dict[str, Seen] = {}
        self._world = world
        self._plan = plan
        self._data = server.data
        self._raw: dict[str, dict[bytes, bytes]] = {}
        self._leases: dict[str, int | None] = {}
        self._ends: dict[str, int | None] = {}
        self._places = Places(server.data)
        self._breakers = BreakerRules(self.ledger)
        self._keyed = {p.submission.tags[0] for p in plan.letters if p.key is not None}
        self._names = {scripting.script(name)[1]: name for name in _SCRIPTS}

    @property
    def paused(self) -> list[str]:
        """The providers that an operator has paused."""
        return self._breakers.paused

    def after(self, task: Task | None, command: tuple[Any, ...], answer: Any) -> None:
        """Notes what a task has learnt, and what it has got."""
        name = self.name(command)
        if task is None:
            return
        if name == "HGETALL" and command[1] == keys.FITNESS:
            task.reads.append(
                (self._world.time.ms, dict(zip(answer[::2], answer[1::2], strict=True)))
            )
        if name == "move":
            self._world.counts["stale moves refused"] += sum(said != "moved" for said in answer)
        if name not in ("HGETALL", "ZSCORE", "ZCARD", "ZRANGEBYSCORE", "ZREMRANGEBYSCORE"):
            self._world.say(f"{name}{self._words(name, command, answer)}")

    def name(self, command: tuple[Any, ...]) -> str:
        """What a command is called: a script's own name."""
        if command[0] == "EVALSHA":
            return self._names.get(command[1], "EVALSHA")
        if command[0] == "EVAL":
            return next((n for n in _SCRIPTS if scripting.script(n)[0] == command[1]), "EVAL")
        return str(command[0])

    def after_write(self, task: Task | None, command: tuple[Any, ...]) -> None:
        """Every rule, after a command that may have written."""
        for key in [k for k in self._data if k.startswith(_RECORD)]:
            raw = self._data[key].value._values
            message_id = key.decode().removeprefix(keys.MESSAGE)
            if raw != self._raw.get(message_id):
                self._changed(task, message_id, raw)
        for message_id in [m for m in self.messages if (_RECORD + m.encode()) not in self._data]:
            self._gone(message_id)
        self._renewed(task)
        self._leases = {m: self._places.score(keys.LEASED, m) for m in self.messages}
        self._ends = {m: self._places.score(keys.ENDED, m) for m in self.messages}
        fitness = self._data.get(keys.FITNESS.encode())
        if fitness is not None:
            texts = {n.decode(): t.decode() for n, t in fitness.value._values.items()}
            self._breakers.written(task, texts, self._world.time.ms)
        self._places.check(self.messages)

    def call(self, provider: str, email: Email) -> Call:
        """The rules of a call, at the moment at which it begins."""
        task = self._world.current
        assert task is not None
        message_id, _, number = email.attempt_id.rpartition("-")
        message = self.messages[message_id]
        asked = tuple(address.email for address in email.recipients)
        if email.attempt_id in self.ledger.calls:
            raise Violation("attempt", f"{email.attempt_id} is used twice")
        attempts = message.attempts[int(number) - 1 : int(number)]
        if not attempts or attempts[0]["provider"] != provider:
            raise Violation("attempt", f"{email.attempt_id} is not written")
        if self._clock_jumped and message.open_attempt != int(number):
            # By that clock its lease was over, and others hold the attempt for unknown.
            call = self.ledger.calls[email.attempt_id] = Call(email.attempt_id, provider, asked)
            return call
        if message.open_attempt != int(number):
            raise Violation("attempt", f"{email.attempt_id} is not open")
        if not self._holds(task, message):
            raise Violation("call", f"{task.name} asks {provider} without a lease")
        if message_id in self.ledger.cancelled and not self.ledger.said["resend"][message_id]:
            raise Violation("cancelled", f"{email.attempt_id} is made for what was called back")
        waiting = [r for r, state in message.recipients.items() if state == "queued"]
        some = bool(message.passed_on) and bool(asked) and set(asked) < set(waiting)
        if sorted(asked) != sorted(waiting) and not some:
            raise Violation("recipients", f"{asked} are asked for, {waiting} are waiting")
        self._is_another(message, provider, asked)
        if email.text != f"Hello, this is letter {message.tag.partition('-')[2]}.":
            raise Violation("content", f"{email.attempt_id} carries another text")
        in_doubt = any(set(message.reached(n)) & set(asked) for n in message.doubtful)
        if message.in_grace or (message.hold and in_doubt):
            raise Violation("hold", f"{email.attempt_id} is made while others are in doubt")
        self._may_be_a_copy(message, asked)
        call = Call(email.attempt_id, provider, asked)
        self.ledger.calls[call.attempt_id] = call
        return call

    def accepts(self, call: Call) -> None:
        """A provider takes the mail."""
        self._world.counts["accepted"] += 1
        self._world.say(f"{call.provider} takes {call.attempt_id[-6:]}")
        copies = [
            c
            for c in self.ledger.of(call.message_id)
            if c.accepted and set(c.recipients) & set(call.recipients)
        ]
        call.accepted = True
        message = self.messages.get(call.message_id)
        if message is not None:
            copies = [c for c in copies if not self._all_blocked(message, c, call.recipients)]
        if copies and message is not None:
            self._world.counts["copies"] += 1
            if not message.flagged:
                raise Violation("unflagged copy", f"of {call.attempt_id}")

    def at_the_end(self) -> None:
        """The rules of a world that has come to rest."""
        for message_id, tag in self.ledger.promised.items():
            message = self.messages.get(message_id)
            if message is None or message.tag != tag:
                raise Violation("lost", f"{message_id} of {tag}")
        for message in self.messages.values():
            if not message.ended:
                raise Violation("no end", f"{message.id[-4:]} is {message.state}")
            # Who was interrupted has taken it in, and has drawn no conclusion.
            if message.id not in self.ledger.interrupted:
                self._all_counts(message)
        left = self._places.leftovers(self.messages)
        if left:
            raise Violation("leftovers", ", ".join(left))

    def purged(self) -> None:
        """The rules of a world in which everything has been kept long enough."""
        if self.messages:
            raise Violation("purge", f"{sorted(self.messages)} are kept for ever")

    def _changed(self, task: Task | None, message_id: str, raw: Mapping[bytes, bytes]) -> None:
        before = self.messages.get(message_id)
        after = read(message_id, raw)
        self._raw[message_id] = dict(raw)
        self.messages[message_id] = after
        if before is None:
            moves.born(after)
            twins = [m for m in self.messages.values() if m.tag == after.tag]
            if len(twins) > 1 and after.tag in self._keyed:
                raise Violation("idempotency", f"{after.tag} was accepted twice")
            return
        moves.moved(before, after, self.ledger)
        if after.version != before.version:
            lease_end = self._leases.get(message_id)
            writer = self._writer(task, before)
            if writer is not None and writer.role == "deliver" and after.state != "sending":
                self._all_counts(after)
            moves.written_by(writer, before, after, lease_end, self._world.time.ms)
            self._world.say(f"{message_id[-4:]}: {before.state} to {after.state}")
            if after.flagged and not before.flagged:
                self._world.counts["flagged"] += 1
            # Where what was read is used for a while, others of the process have read it, too.
            fresh = self._plan.freshness == 0
            if fresh and writer is not None and len(after.attempts) > len(before.attempts):
                attempt = after.attempts[-1]
                self._breakers.asked(writer, attempt["provider"], attempt["why"])

    def _writer(self, task: Task | None, before: Seen) -> Task | None:
        """Whose write it is: one delivery writes for others of its process as well."""
        if task is None or task.role != "deliver":
            return task
        claim = (before.id, before.fence)
        return next((t for t in task.process.tasks if t.claim == claim), task)

    def _renewed(self, task: Task | None) -> None:
        """A lease is renewed by who has it."""
        if task is None or task.role != "renew":
            return
        for message_id, end in self._leases.items():
            if self._places.score(keys.LEASED, message_id) != end:
                claim = (message_id, self.messages[message_id].fence)
                if claim not in task.process.claims:
                    raise Violation("fence", f"{task.name} renews another one's {message_id[-4:]}")

    def _gone(self, message_id: str) -> None:
        message = self.messages.pop(message_id)
        del self._raw[message_id]
        self._world.counts["purged"] += 1
        end = self._ends.get(message_id)
        if not message.ended or end is None or end > self._world.time.ms:
            raise Violation(
                "lost", f"{message_id[-4:]} was {message.state}, to be kept until {end}"
            )

    def _holds(self, task: Task, message: Seen) -> bool:
        """Whether a task has the message; a clock that jumped excuses it until its lease is new."""
        owner = (message.owner, message.id, message.fence)
        mine = message.state == "sending" and owner == (task.process.name, *(task.claim or ()))
        lease_end = self._places.score(keys.LEASED, message.id) or 0
        return self._clock_jumped or (mine and lease_end > self._world.time.ms)

    @property
    def _clock_jumped(self) -> bool:
        """Whether the clock has jumped within the length of a lease."""
        time = self._world.time
        return time.elapsed - time.last_jump < self._plan.delivery.lease.total_seconds() * 1000

    def _is_another(self, message: Seen, provider: str, asked: tuple[str, ...]) -> None:
        """Who was blocked is offered to somebody else."""
        if self.ledger.said["resend"][message.id]:
            return
        for email, number in message.passed_on.items():
            had = message.attempts[number - 1]["provider"]
            if email in asked and had == provider:
                raise Violation("passed on", f"{email} is offered to {provider} again")
        self._world.counts["offered after a block"] += any(e in message.passed_on for e in asked)

    def _all_blocked(self, message: Seen, call: Call, asked: tuple[str, ...]) -> bool:
        """Whether a call's copies, of those asked for, have come back as blocked."""
        return all(
            (call.attempt_id, email) in self.ledger.blocked and email in message.passed_on
            for email in set(call.recipients) & set(asked)
        )

    def _may_be_a_copy(self, message: Seen, asked: tuple[str, ...]) -> None:
        earlier = [
            call
            for call in self.ledger.of(message.id)
            if call.may_make_a_copy
            and set(call.recipients) & set(asked)
            and not self._all_blocked(message, call, asked)
        ]
        if not earlier:
            return
        if not message.flagged:
            raise Violation("unflagged copy", f"of {earlier[0].attempt_id} is on its way")
        said = self.ledger.said
        allowed = said["not_sent"][message.id] or said["resend"][message.id]
        if message.hold and not allowed:
            raise Violation("copy on hold", f"of {earlier[0].attempt_id} is on its way")

    def _all_counts(self, message: Seen) -> None:
        """What was found to be accepted is sent, whoever has found it."""
        for number in range(1, len(message.attempts) + 1):
            if "accepted" in message.findings(number):
                self._counts(message, number)

    def _counts(self, message: Seen, number: int) -> None:
        for email in message.reached(number):
            state = message.recipients[email]
            if state not in moves.TAKEN and (email, number) not in message.came_back:
                name = f"{message.id[-4:]}-{number}"
                raise Violation("evidence", f"{name} was accepted, and {email} is {state}")

    def _words(self, name: str, command: tuple[Any, ...], answer: Any) -> str:
        if name in ("move", "evidence", "take"):
            return f" {str(command[3])[-4:]}: {answer if name != 'take' else answer[0]}"
        return f": {answer}" if isinstance(answer, str | int) else ""
