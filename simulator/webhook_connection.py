"""The connection on which webhooks are sent."""

import asyncio
from urllib.parse import urlsplit

from simulator.signing import Signed

_TIMEOUT = 15.0


class WebhookConnection:
    """One connection to the receiver, opened again when it is lost."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = parts.path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, request: Signed) -> int:
        """The status of the answer; 0 where none came."""
        try:
            return await asyncio.wait_for(self._post(path, request), _TIMEOUT)
        except (OSError, EOFError, ValueError, TimeoutError):
            self.close()
            return 0

    async def _post(self, path: str, request: Signed) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        head = [
            f"POST {self._path}{path} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            f"Content-Length: {len(request.body)}",
            "User-Agent: simulator",
            *(f"{name}: {value}" for name, value in request.headers),
        ]
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1") + request.body)
        await writer.drain()
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        names = (line.partition(":") for line in answer[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in names}
        await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(answer[0].split(" ")[1])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
