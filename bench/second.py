"""A provider that is down, for mail that has to fail over."""

from typing import ClassVar

from providers.base import ProviderSetting
from providers.sendgrid import SendGridProvider


class Down(SendGridProvider):
    """SendGrid at another address."""

    name = "down"
    settings: ClassVar[tuple[ProviderSetting, ...]] = (
        *SendGridProvider.settings,
        ProviderSetting("DOWN_BASE_URL", required=True),
    )
