"""When Redis takes connections and never answers: nobody waits long, and few wait at all."""

import threading
import time

from app.factory import create_app
from app.services import build
from config import Settings
from tests.api.caller import KEYS, Caller, problem
from tests.redis_server import Server
from tests.waiting import until

LONGEST = 5.0


def app_over(server: Server) -> Caller:
    """A caller of an app with the patience that it has in production."""
    environment = {
        "REDIS_URL": server.url,
        "API_KEYS": f"shop:{KEYS['shop']}",
        "SECRET_KEY": "0123456789" * 4,
        "SIMULATOR": "on",
    }
    return Caller(create_app(build(Settings.from_env(environment))))


def test_a_server_that_hangs_holds_no_request_for_long(clock):
    with Server() as server:
        shop = app_over(server)
        shop.sent()
        server.hang()
        began = time.monotonic()
        # It was sent, and a server that hangs may do it once it goes on.
        assert problem(shop.send({"Idempotency-Key": "order-17"})) == (503, "accept_in_doubt")
        assert time.monotonic() - began < LONGEST

        answers = []

        def send() -> None:
            started = time.monotonic()
            answers.append((*problem(shop.send()), time.monotonic() - started))

        threads = [threading.Thread(target=send) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer[:2] for answer in answers} == {(503, "unavailable")}
        assert max(answer[2] for answer in answers) < LONGEST
        assert sum(answer[2] < 1 for answer in answers) >= 29
        assert shop.get("/readyz").status_code == 503

        server.resume()
        until(lambda: shop.get("/readyz").status_code == 200)
        again = shop.send({"Idempotency-Key": "order-17"})
        assert again.status_code == 202
        assert len(shop.get("/messages").json["messages"]) == 2
