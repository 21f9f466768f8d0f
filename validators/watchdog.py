"""Ends what takes too long: one thread for all, because a timer for each may cost more than it."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stop = Callable[[], None]


class Watchdog:
    """Calls back when something has run for too long; its thread starts with the first run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: dict[object, tuple[float, Stop]] = {}
        self._wakes = math.inf
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, seconds: float, stop: Stop) -> Iterator[None]:
        """Calls ``stop``, from another thread, unless the block ends within so many seconds."""
        key, deadline = object(), time.monotonic() + seconds
        with self._changed:
            self._running[key] = deadline, stop
            # It sleeps until the first deadline, which is rarely this one.
            if deadline < self._wakes:
                self._wakes = deadline
                self._changed.notify()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._running.pop(key, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for key, (deadline, stop) in [*self._running.items()]:
                    if deadline <= now:
                        del self._running[key]
                        stop()
                self._wakes = min((d for d, _ in self._running.values()), default=math.inf)
                self._changed.wait(None if math.isinf(self._wakes) else self._wakes - now)


WATCHDOG = Watchdog()
"""Of this process."""
