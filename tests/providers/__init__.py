import pytest

# So that a failing comparison in the contracts shows both sides.
for name in ("contract", "finding", "hard", "hearing", "json_form"):
    pytest.register_assert_rewrite(f"tests.providers.{name}")
