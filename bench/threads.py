"""The worker in threads of the system, in place of greenlets: `python -m bench.threads`."""

import sys

from workers.process import main

if __name__ == "__main__":
    sys.exit(main())
