"""A short form of the simulation, and what has to hold for the long one to mean anything."""

import pytest
from fakeredis._socket import FakeSocket

from tests.simulation.campaign import hunt, run_all
from tests.simulation.mutations import MUTATIONS
from tests.simulation.schedule import run
from tests.simulation.server import Server

_SCHEDULES = range(100)
_MOST = range(60)
_SOON_FOUND = (
    "the attempt is not written before the call",
    "a message in other hands is taken",
    "hold is forgotten",
    "unknown is taken for unavailable",
    "a lost job is not rung for",
)


def test_no_schedule_breaks_a_rule():
    tally = run_all(_SCHEDULES)
    assert not tally.broken, [f"seed {r.seed}: {r.text}" for r in tally.broken]
    assert tally.counts["copies"]
    assert tally.counts["crashes"]


def test_a_seed_decides_everything():
    server = Server()
    first = [run(seed, server).digest for seed in range(20)]
    assert [run(seed, Server()).digest for seed in range(20)] == first


@pytest.mark.parametrize("seed", range(5))
def test_the_quick_server_does_what_fakeredis_does(seed):
    assert run(seed, Server()).digest == run(seed, Server(FakeSocket)).digest


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_what_a_mutation_alters_is_still_there(mutation):
    with mutation.planted():
        pass


@pytest.mark.parametrize("name", _SOON_FOUND)
def test_a_planted_fault_is_found(name):
    [mutation] = [m for m in MUTATIONS if m.name == name]
    assert hunt(mutation, _MOST).found
