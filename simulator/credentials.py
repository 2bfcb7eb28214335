"""What a client must know to be let in by the three APIs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Credentials:
    """One account with each provider."""

    mailgun_api_key: str = field(repr=False)
    mailgun_domain: str
    sendgrid_api_key: str = field(repr=False)
    aws_access_key_id: str
    aws_secret_access_key: str = field(repr=False)
    aws_region: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read them from the settings that the providers' adapters read."""
        return cls(
            mailgun_api_key=environment["MAILGUN_API_KEY"],
            mailgun_domain=environment["MAILGUN_DOMAIN"],
            sendgrid_api_key=environment["SENDGRID_API_KEY"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            aws_region=environment["AWS_REGION"],
        )
