"""Faults of the scripts that the simulation has to find: what a script has in a text's place.

This is the one place that names texts of the scripts. A text that a script holds no longer, or more
than once, is an error of the simulation, and no fault found.
"""

from tests.simulation.patching import Patch, script

SCRIPT_FAULTS: dict[str, Patch] = {
    "a move does not compare the version": script("move", "seen[1] ~= version or ", ""),
    "a move does not compare the evidence": script("move", " or (seen[7] or '0') ~= evidence", ""),
    "an attempt needs no lease": script(
        "move",
        "if not lease_end or tonumber(lease_end) <= tonumber(now) then return 'stale' end",
        "",
    ),
    "a lease that was renewed in time is swept": script(
        "move", "if lease_end and tonumber(lease_end) > tonumber(now) then return 'stale' end", ""
    ),
    "a move does not ring": script("move", "    ring(id, iso)\n  elseif", "  elseif"),
    "an unfinished record expires": script(
        "move", "redis.call('PERSIST', record)", "redis.call('PEXPIRE', record, 9e8)"
    ),
    "an ended record is kept for ever": script("move", "redis.call('PEXPIRE', record, expiry)", ""),
    "a resent message stays among the ended": script(
        "move", "redis.call('ZREM', K.ended, id) == 1", "redis.call('ZSCORE', K.ended, id)"
    ),
    "the content goes with the first answer": script("move", "if body == 'drop' then", "do"),
    "any worker renews any lease": script(
        "renew", " and seen[2] == ARGV[1] and seen[3] == ARGV[i + 1]", ""
    ),
    "a message in other hands is taken": script("take", "known.state == 'queued'", "known.state"),
    "what is due is not rung for": script("due", "ring(id, ARGV[3], priority)", ""),
    "accepting does not ring": script("accept", "ring(id, ARGV[3], priority)", ""),
    "what has ended is purged at once": script("purge", "'-inf', ARGV[1]", "'-inf', '+inf'"),
    "a breaker is written over a change": script(
        "fitness", "if version ~= ARGV[2] then return 0 end", ""
    ),
}
"""By what is wrong then."""
