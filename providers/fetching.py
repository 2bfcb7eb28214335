"""Getting a small public document over https, such as a certificate: no redirects, no retries."""

import requests

from providers.webhooks import VerifierUnavailable

_MOST_BYTES = 64 * 1024
_TIMEOUT = (2.0, 3.0)


def fetch(url: str) -> bytes:
    """The document at an address. Raises VerifierUnavailable where it does not come whole."""
    try:
        with requests.get(
            url, timeout=_TIMEOUT, allow_redirects=False, stream=True, headers={"Accept": "*/*"}
        ) as response:
            if response.status_code != requests.codes.ok:
                raise VerifierUnavailable(f"{response.status_code} from where its certificate is")
            content = bytearray()
            for piece in response.iter_content(8192):
                content += piece
                if len(content) > _MOST_BYTES:
                    raise VerifierUnavailable("what came from there is too large")
            return bytes(content)
    except requests.RequestException as error:
        raise VerifierUnavailable(f"no answer from there: {type(error).__name__}") from error
