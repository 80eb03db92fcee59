"""A TCP line between two programs, as slow as it is told to be, that can be cut."""

import contextlib
import socket
import threading
import time


class Line:
    """Forwards connections from a port of its own to an endpoint, at most so many bytes a second in all."""

    def __init__(self, target, bytes_per_second):
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self.target = (host, int(port))
        self.rate = bytes_per_second
        self.lock = threading.Lock()
        self.free_at = time.monotonic()
        self.carried = 0
        self.sockets = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self.lock:
                self.sockets |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                with self.lock:
                    self.carried += len(data)
                    begin = max(self.free_at, time.monotonic())
                    self.free_at = begin + len(data) / self.rate
                pause = begin - time.monotonic()
                if pause > 0:
                    time.sleep(pause)  # the line's speed; nothing waits on it as a signal
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()

    def cut(self):
        """Breaks every connection; new ones may be made at once."""
        with self.lock:
            broken, self.sockets = self.sockets, set()
        for end in broken:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        """Breaks every connection, and takes no more."""
        # Closing alone leaves the thread that waits in accept() one more connection to take.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
