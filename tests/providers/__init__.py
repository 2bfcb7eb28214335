import pytest

# So that a failing comparison in the contracts shows both sides.
pytest.register_assert_rewrite("tests.providers.contract")
pytest.register_assert_rewrite("tests.providers.finding")
