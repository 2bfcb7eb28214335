"""One worker process: `python -m workers`."""

import sys

from gevent import monkey

if __name__ == "__main__":
    # Before anything else is imported: sockets, locks and threads are then those of greenlets.
    # But for select: nobody waits with it here, and urllib3 asks it if a connection still stands.
    monkey.patch_all(select=False)
    from workers.process import main

    sys.exit(main())
