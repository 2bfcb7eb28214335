import pytest

# So that a failing comparison in the contract shows both sides.
pytest.register_assert_rewrite("tests.providers.contract")
