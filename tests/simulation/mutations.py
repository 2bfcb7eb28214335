"""Faults that the simulation has to find: production with one thing altered while a block runs.

A simulation that finds nothing may be looking at nothing. Each mutation takes something away that
the promise rests on; the table says how soon that is noticed, and by which rule.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.simulation.code_faults import CODE_FAULTS
from tests.simulation.patching import Patch
from tests.simulation.script_faults import SCRIPT_FAULTS


@dataclass(frozen=True, slots=True)
class Mutation:
    """A fault that can be planted."""

    name: str
    patch: Patch

    def planted(self) -> AbstractContextManager[None]:
        """Production with the fault, within the block. Fails where what it alters is gone."""
        return self.patch()


MUTATIONS = tuple(Mutation(*item) for item in {**CODE_FAULTS, **SCRIPT_FAULTS}.items())
