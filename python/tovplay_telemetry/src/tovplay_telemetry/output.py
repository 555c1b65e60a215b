"""Writes lines to standard output or error without ever waiting for whoever reads them.

A line goes straight to the kernel, so it survives the process's death. Only when the pipe is full does it wait in a
bounded buffer that a thread empties; when that is full, too, the line is dropped and counted.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import stat
import threading
import time
from collections import deque

from tovplay_telemetry.counters import count

_EXIT_SECONDS = 2.0


class Output:
    def __init__(self, fd: int, limit: int) -> None:
        """fd: the descriptor to write to; limit: bytes that may wait."""
        self._fd = fd
        self._limit = limit
        self._start()
        os.register_at_fork(after_in_child=self._start)
        atexit.register(self.flush, _EXIT_SECONDS)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._filled = threading.Event()
        self._thread: threading.Thread | None = None
        self._write = self._way()

    def _way(self) -> _Way:
        kind = os.fstat(self._fd).st_mode
        if stat.S_ISSOCK(kind):
            return _Socket(self._fd)
        if stat.S_ISFIFO(kind):
            try:
                # A description of our own: O_NONBLOCK on the shared one would make others' prints fail.
                return _Descriptor(os.open(f"/proc/self/fd/{self._fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError:
                return _Way()
        return _Descriptor(self._fd)

    def write(self, line: bytes) -> None:
        """One line, its end included."""
        if self._pid != os.getpid():  # a fork that Python did not see (uwsgi)
            self._start()
        with self._lock:
            if not self._waiting:
                line = line[self._attempt(line) :]
                if not line:
                    return
            elif self._size + len(line) > self._limit:
                count("log_records_dropped")
                return
            self._waiting.append(line)
            self._size += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._drain, name="tovplay-log", daemon=True)
                self._thread.start()
        self._filled.set()

    def flush(self, seconds: float) -> bool:
        """Wait until nothing waits, at most so long."""
        end = time.monotonic() + seconds
        while self._waiting and time.monotonic() < end:
            time.sleep(0.01)
        return not self._waiting

    def _attempt(self, data: bytes) -> int:
        try:
            return self._write(data)
        except BlockingIOError:
            return 0
        except OSError:  # nobody reads any more
            count("log_records_dropped")
            return len(data)

    def _drain(self) -> None:
        while True:
            self._filled.wait()
            with self._lock:
                if not self._waiting:
                    self._filled.clear()
                    continue
            select.select([], [self._fd], [])
            with self._lock:
                data = self._waiting[0]
                written = self._attempt(data) if type(self._write) is not _Way else self._blocking(data)
                self._size -= written
                if written == len(data):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = data[written:]

    def _blocking(self, data: bytes) -> int:
        """A pipe with room for PIPE_BUF bytes takes as many at once without blocking (POSIX, write)."""
        try:
            return os.write(self._fd, data[: select.PIPE_BUF])
        except OSError:
            count("log_records_dropped")
            return len(data)


class _Way:
    """No way that surely does not block: everything goes through the thread."""

    def __call__(self, data: bytes) -> int:
        return 0


class _Descriptor(_Way):
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self, data: bytes) -> int:
        return os.write(self._fd, data)


class _Socket(_Way):
    """journald gives a service a socket."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))

    def __call__(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)
