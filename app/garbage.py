"""Garbage collection for a process that is put together once and then does the same for ever."""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 50, 100


def settle() -> None:
    """Sets aside all that there is, and looks for garbage less often from now on.

    To be called when a process is ready to work: what it is made of stays, and need not be looked
    at again and again. What it makes for each mail is gone without the collector, which only finds
    what refers to itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
