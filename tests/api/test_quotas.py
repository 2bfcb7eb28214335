"""The quotas of providers, as settings and as they are shown."""

import pytest
from redis import Redis

from app.core.tokens import Grant
from app.services import build
from config import Settings, SettingsError
from tests.api.caller import KEYS, Caller

ENVIRONMENT = {
    "REDIS_URL": "redis://not.asked.example",
    "API_KEYS": f"shop:{KEYS['shop']}",
    "SECRET_KEY": "0123456789" * 4,
    "SIMULATOR": "on",
}


def shown(shop: Caller) -> dict[str, list[dict]]:
    return {p["name"]: p["quotas"] for p in shop.get("/providers").json["providers"]}


def test_what_is_used_of_a_quota_is_shown(make_app, redis: Redis):
    app = make_app(redis, PROVIDER_QUOTAS="mailgun:100/s, ses:14/s+50000/day")
    quotas = app.extensions["steadpost"].quotas
    assert isinstance(quotas.take("ses", 3), Grant)
    shop = Caller(app)
    assert shown(shop) == {
        "mailgun": [{"per": "second", "limit": 100, "counts": "messages", "used": 0}],
        "sendgrid": [],
        "ses": [
            {"per": "second", "limit": 14, "counts": "recipients", "used": 3},
            {"per": "day", "limit": 50000, "counts": "recipients", "used": 3},
        ],
    }
    assert shop.post("/providers/ses/pause").json["quotas"][1]["used"] == 3


def test_without_quotas_none_are_shown(shop):
    assert shown(shop) == {"mailgun": [], "sendgrid": [], "ses": []}


def test_a_quota_of_somebody_who_is_not_asked_is_a_fault():
    with pytest.raises(SettingsError, match="pigeon is not one of PROVIDERS, mailgun, sendgrid"):
        build(Settings.from_env({**ENVIRONMENT, "PROVIDER_QUOTAS": "pigeon:1/s"}))
