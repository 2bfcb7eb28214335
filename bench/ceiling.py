"""What the client can do in greenlets, with no queue and nothing written down.

python -m bench.ceiling CONCURRENCY
"""

import itertools
import sys
import threading

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()
    from bench.lean import Sender, mail

    sender, numbers = Sender(), itertools.count()

    def send_all() -> None:
        for number in numbers:
            sender.send(mail(number))

    for _ in range(int(sys.argv[1])):
        threading.Thread(target=send_all).start()
