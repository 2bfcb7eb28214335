"""Who comes to the web process: clients with letters, operators, and providers with their news."""

from app.core.dead_letters import NotPossible
from app.core.models import Evidence, Finding, Message, Source
from app.core.scripting import StoreUnavailable
from app.core.submit import AcceptInDoubt, IdempotencyMismatch
from providers.types import Bounce, DeliveryEvent, EventType
from providers.webhooks import WebhookContent
from tests.simulation.judge import Judge
from tests.simulation.ledger import Call
from tests.simulation.plan import Letter, Plan
from tests.simulation.processes import Web
from tests.simulation.world import Violation, World

_TRIES = 4
_REPORTS = (
    EventType.ACCEPTED,
    EventType.DEFERRED,
    EventType.DELIVERED,
    EventType.DELIVERED,
    EventType.BOUNCED,
    EventType.COMPLAINED,
    EventType.OPENED,
)
_BLOCKS = (EventType.BOUNCED,) * 5
"""What is told besides of those who are offered elsewhere then."""
_ANSWERS = {
    "unknown": ("sent", "not_sent", "not_sent", "drop"),
    "failed": ("resend", "resend", "drop"),
    "expired": ("resend", "resend", "drop"),
    "partial": ("resend", "resend", "drop"),
}
"""What an operator may do about a message in a state."""


class People:
    """Begins what people do, in the web process that is handed in."""

    def __init__(self, world: World, plan: Plan, judge: Judge) -> None:
        self._world = world
        self._plan = plan
        self._judge = judge
        self._to_post = [letter for letter in plan.letters for _ in range(letter.times)]
        world.random.shuffle(self._to_post)

    @property
    def letters_left(self) -> bool:
        return bool(self._to_post)

    def post(self, web: Web) -> None:
        """A client hands the next letter over."""
        letter = self._to_post.pop()
        self._world.start(web.process, "submit", self._post, web, letter)

    def operate(self, web: Web) -> None:
        """An operator looks after a message that is nowhere, or after a provider."""
        world = self._world
        answers = [
            (action, message.id)
            for message in self._judge.messages.values()
            for action in _ANSWERS.get(message.state, ())
        ]
        if answers and world.chance(0.8):
            world.start(web.process, "operate", self._decide, web, *world.random.choice(answers))
        else:
            name = world.random.choice(self._plan.providers)
            action = world.random.choice(("pause", "resume"))
            world.start(web.process, "operate", self._switch, web, action, name)

    def inform(self, web: Web) -> None:
        """A provider tells of a mail that it took, sooner or later, once or more."""
        taken = [call for call in self._judge.ledger.calls.values() if call.accepted]
        # News of a mail that somebody has in hand is the news that could be overlooked.
        known = self._judge.messages
        taken = [c for c in taken if known[c.message_id].state == "sending"] or taken
        if taken:
            call = self._world.random.choice(taken)
            self._world.start(web.process, "inform", self._inform, web, call)

    def tell(self, web: Web) -> None:
        """A provider's webhook comes with what became of a mail that it took."""
        taken = [call for call in self._judge.ledger.calls.values() if call.accepted]
        if taken:
            call = self._world.random.choice(taken)
            self._world.start(web.process, "webhook", self._tell, web, call)

    def cancel(self, web: Web) -> None:
        """An operator calls a message back."""
        if self._judge.messages:
            message_id = self._world.random.choice(list(self._judge.messages))
            self._world.start(web.process, "operate", self._cancel, web, message_id)

    def resume(self, web: Web, name: str) -> None:
        self._world.start(web.process, "operate", self._switch, web, "resume", name)

    def _post(self, web: Web, letter: Letter) -> None:
        world, ledger = self._world, self._judge.ledger
        tag = letter.submission.tags[0]
        for _ in range(_TRIES):
            try:
                submitted = web.submitter.submit("shop", letter.submission, letter.key, tag)
            except AcceptInDoubt:
                world.counts["accepts in doubt"] += 1
                if letter.key is None:
                    return
            except StoreUnavailable:
                world.counts["accepts refused"] += 1
            except IdempotencyMismatch:
                raise Violation("idempotency", f"{tag} is said to be another request") from None
            else:
                known = ledger.promised.get(submitted.message_id, tag)
                if known != tag or submitted.message_id not in self._judge.messages:
                    raise Violation("lost", f"{tag} was accepted as {submitted.message_id}")
                ledger.promised[submitted.message_id] = tag
                world.counts["replayed" if submitted.replayed else "submitted"] += 1
                return
            world.sleep(world.random.choice((0.01, 1.0)))

    def _switch(self, web: Web, action: str, name: str) -> None:
        try:
            web.breakers.pause(name) if action == "pause" else web.breakers.resume(name)
            self._world.counts[f"operator: {action}"] += 1
        except StoreUnavailable:
            self._world.counts["operators turned away"] += 1

    def _decide(self, web: Web, action: str, message_id: str) -> None:
        said = self._judge.ledger.said[action]
        try:
            message = web.store.get(message_id)
            if message is None:
                return
            self._world.say(f"operator: {action} of {message_id[-4:]}")
            said[message_id] += 1
            if action == "resend":
                web.dead_letters.resend(message, self._some(message))
            elif action == "drop":
                web.dead_letters.drop(message)
            else:
                web.dead_letters.resolve(message, action)
            self._world.counts[f"operator: {action}"] += 1
        except NotPossible:
            self._world.counts["operators told that it is not possible"] += 1
            said[message_id] -= 1
        except StoreUnavailable:
            self._world.counts["operators turned away"] += 1

    def _inform(self, web: Web, call: Call) -> None:
        number = int(call.attempt_id.rpartition("-")[2])
        found = Evidence(
            number, Source.EVENTS, Finding.ACCEPTED, self._world.time(), "webhook", call.attempt_id
        )
        for _ in range(_TRIES):
            # A provider comes again with its news until it has been heard.
            try:
                web.book.add(call.message_id, found)
            except StoreUnavailable:
                self._world.sleep(1.0)
            else:
                return

    def _tell(self, web: Web, call: Call) -> None:
        world = self._world
        wants = self._judge.messages[call.message_id].wants_failover
        kind = world.random.choice(_REPORTS + _BLOCKS if wants else _REPORTS)
        recipient = world.random.choice(call.recipients)
        bounce = None
        if kind is EventType.BOUNCED:
            bounce = Bounce.BLOCK if wants and world.chance(0.8) else Bounce.HARD
        if bounce is Bounce.BLOCK:
            self._judge.ledger.blocked.add((call.attempt_id, recipient))
        event = DeliveryEvent(
            id=f"{call.attempt_id} {recipient} {kind} {bounce}",
            type=kind,
            occurred_at=world.time(),
            recipient=recipient,
            attempt_id=call.attempt_id,
            bounce=bounce,
        )
        content = WebhookContent((event,))
        world.counts[f"webhook: {kind}"] += 1
        for _ in range(_TRIES):
            try:
                web.inbox.receive(call.provider, content, world.time())
            except StoreUnavailable:
                world.sleep(1.0)
            else:
                if not world.chance(0.2):
                    return

    def _cancel(self, web: Web, message_id: str) -> None:
        try:
            message = web.store.get(message_id)
            if message is not None:
                web.waiting.cancel(message)
                self._world.counts["operator: cancel"] += 1
                if not self._judge.ledger.said["resend"][message_id]:
                    self._judge.ledger.cancelled.add(message_id)
        except NotPossible:
            self._world.counts["operators told that it is not possible"] += 1
        except StoreUnavailable:
            self._world.counts["operators turned away"] += 1

    def _some(self, message: Message) -> tuple[str, ...]:
        if self._world.chance(0.7):
            return ()
        return (self._world.random.choice(message.recipients).email,)
