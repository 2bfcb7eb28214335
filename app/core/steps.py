"""The seam that every change of a message passes: what others write together with it, exactly once.

`MessageStore` is the only one who changes messages, and it changes each by comparing and setting:
a step from `before`, which nobody else has moved since, to `after`. Before it writes one it asks
its observers what is to be written with it. Those Redis commands are done in the same atomic step:
if the message moves, they are done once; if it does not (somebody else was faster, it is gone, or
an answer was lost and the same step is written again), they are not. So a counter, a suppression
or a callback that is due can neither be lost nor happen twice, whatever dies in between, and
however often, late or in whatever order a provider tells the same thing.

What a step can tell:

- `before is None`: the message has just been accepted from an application.
- `moved`: recipients whose state is another one now, each as it was and as it is. A recipient moves
  along the tables of `lifecycle` and `fates`, and so into a state once: `sent` when a provider took
  the message, `delivered`, `bounced`, … when it says so, `failed`, `expired`, … when we give up.
- `happenings`: what providers have reported, and what we have seen ourselves by our own links (the
  new entries of the timeline): also what moved nobody, such as an open, a second deferral, a bounce
  of one copy where another was delivered. Each report is in one step only. A hard bounce or
  a complaint is there whether it moved anybody or not.
- everything else in `after`: the key, tags, metadata, `attempts[h.attempt - 1]` of a happening `h`.

An observer decides only by what it is given, is quick, and raises nothing: it runs in front of
every write. Its commands name keys from `app.core.keys` and must suit them whatever they hold: one
that fails is logged and left out, as the step cannot be taken back. They may be many or none.

Reports that belong to no message of ours (others use the account; a bounce came without our id)
are no steps. `MailEvents` offers them to its own observers of strays, once each as well.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.core.models import Happening, Message, Recipient

Command = tuple[str | int | float, ...]
"""A Redis command and its arguments: ("HINCRBY", keys.stats(day), "delivered", 1)."""


@dataclass(frozen=True, slots=True)
class Step:
    """A message as it was (None where it has just been accepted) and as it is to be."""

    before: Message | None
    after: Message
    happenings: tuple[Happening, ...] = ()

    @property
    def moved(self) -> tuple[tuple[Recipient | None, Recipient], ...]:
        """The recipients who come into another state, each as before (None: new) and after."""
        if self.before is None:
            return tuple((None, recipient) for recipient in self.after.recipients)
        pairs = zip(self.before.recipients, self.after.recipients, strict=True)
        return tuple((was, is_now) for was, is_now in pairs if was.state is not is_now.state)


Observer = Callable[[Step], Iterable[Command]]
"""Says what is to be written together with a step."""
