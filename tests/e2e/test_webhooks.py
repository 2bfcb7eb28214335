"""Webhooks of the simulator and the whole service: every recipient ends as the simulator has it."""

import pytest

from tests.e2e import fates
from tests.live import running

pytestmark = pytest.mark.e2e


def test_mixed_fates_come_out_right_whatever_happens_to_webhooks():
    with running(SIMULATOR_WEBHOOKS="auto", PROVIDERS=",".join(fates.PROVIDERS)) as live:
        assert fates.run(live, 42) == {}
        counts = fates.state(live)["counts"]
    assert counts["forged_refused"] > 0
    assert "forged_taken" not in counts
