"""What a client must know to be let in by the APIs."""

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
    postmark_server_token: str = field(repr=False)
    resend_api_key: str = field(repr=False)
    mandrill_api_key: str = field(repr=False)

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
            postmark_server_token=environment["POSTMARK_SERVER_TOKEN"],
            resend_api_key=environment["RESEND_API_KEY"],
            mandrill_api_key=environment["MANDRILL_API_KEY"],
        )
