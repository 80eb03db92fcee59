"""A proxy before PostgreSQL that knows just enough of its protocol to lose the answer of one statement, or to let one arrive late.

Source: PostgreSQL's manual, "Frontend/Backend Protocol", version 3: a message is a letter, a length that counts itself, and a body; only the
first one of a connection has no letter. A request ends with Query or Sync, its answer with ReadyForQuery.
"""

import contextlib
import re
import select
import socket
import struct
import threading
import time

# The connection goes on as if nothing were between.
PASS = None
# The server executes the request; the connection ends in place of the answer.
ANSWER_LOST = "answer lost"
# The connection ends at once, and only after a while the server is given the request: a commit that was already given up takes place.
ARRIVES_LATE = "arrives late"
# The connection ends, and the server never sees the request.
NEVER_ARRIVES = "never arrives"

# A statement is being prepared, which changes nothing.
PREPARE = "prepare "

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_WRITES = re.compile(r"(INSERT INTO|DELETE FROM|(?<!FOR )(?<!FOR NO KEY )UPDATE) ")


class Connection(threading.Thread):
    """One client's connection, and what of its transaction has been seen."""

    def __init__(self, proxy, client):
        super().__init__(daemon=True)
        self.proxy, self.client = proxy, client
        self.server = None
        self.held = b""
        self.is_started = False
        self.bound = None
        self.parsed = None
        self.transaction = []
        self.answer = b""

    def run(self):
        try:
            self.server = socket.create_connection(self.proxy.target, timeout=10)
            self.server.settimeout(None)
            for end in (self.client, self.server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pump()
        except OSError:
            pass  # either side is gone: so is the other
        finally:
            self.close()

    def close(self):
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
        self.proxy.forget(self)

    def pump(self):
        while True:
            ready, _, _ = select.select([self.client, self.server], [], [])
            if self.server in ready:
                data = self.server.recv(1 << 16)
                if not data:
                    return
                self.client.sendall(data)
            if self.client in ready:
                data = self.client.recv(1 << 16)
                if not data:
                    return
                self.held += data
                if not self.take():
                    return

    def take(self):
        """Hands on what has come whole; False where the connection is to end."""
        while True:
            message = self.next_message()
            if message is None:
                return True
            kind, whole, body = message
            label = self.label(kind, body)
            if label is not None:
                fate = self.proxy.fate(label)
                if fate is not PASS:
                    self.lose(fate, whole)
                    return False
            self.server.sendall(whole)

    def next_message(self):
        if not self.is_started:
            if len(self.held) < 8:
                return None
            length, code = struct.unpack("!ii", self.held[:8])
            if len(self.held) < length:
                return None
            whole, self.held = self.held[:length], self.held[length:]
            if code in (_SSL, _GSS):
                self.client.sendall(b"N")
                return self.next_message()
            self.is_started = code != _CANCEL
            return "", whole, b""
        if len(self.held) < 5:
            return None
        length = 1 + struct.unpack("!i", self.held[1:5])[0]
        if len(self.held) < length:
            return None
        whole, self.held = self.held[:length], self.held[length:]
        return chr(whole[0]), whole, whole[5:]

    def label(self, kind, body):
        """The name of the request that this message ends, or None where it ends none."""
        if kind == "P":
            name, sql, _ = body.split(b"\0", 2)
            self.parsed = name.decode()
            if _WRITES.search(sql.decode()):
                self.proxy.writers.add(self.parsed)
        elif kind == "B":
            self.bound = body.split(b"\0", 2)[1].decode()
        elif kind == "Q":
            return self.simple(body.rstrip(b"\0").decode())
        elif kind == "S":
            name, self.bound = self.bound, None
            if name is None:
                name, self.parsed = self.parsed, None
                return f"{PREPARE}{name}"
            self.transaction.append(name)
            return name
        return None

    def simple(self, sql):
        words = " ".join(sql.split()[:2]).rstrip(";").upper() if sql.split() else ""
        if words.startswith("BEGIN"):
            self.transaction = []
        elif words.startswith(("COMMIT", "ROLLBACK")):
            written = [name for name in dict.fromkeys(self.transaction) if name in self.proxy.writers]
            self.transaction = []
            return f"{words} of {' + '.join(written) or 'nothing'}"
        return words

    def lose(self, fate, request):
        """Ends the connection around one request."""
        if fate == NEVER_ARRIVES:
            return
        if fate == ARRIVES_LATE:
            self.client.close()
            time.sleep(self.proxy.delay())
        self.server.sendall(request)
        # ReadyForQuery is six bytes, the last of an answer; whatever else has that look, the answer is complete once nothing follows it.
        while not (self.answer[-6:-1] == b"Z\0\0\0\5" and not select.select([self.server], [], [], 0.02)[0]):
            data = self.server.recv(1 << 16)
            if not data:
                return
            self.answer = (self.answer + data)[-6:]


class WireProxy:
    """Listens on a port of loopback and hands on to PostgreSQL, but for what its plan says.

    `plan` is called with the label of each request, before it reaches the server, from the connections' threads one at a time.
    """

    def __init__(self, target, plan=None):
        self.target = target
        self.plan = plan or (lambda label: PASS)
        self.delay = lambda: 0.5
        # How often each fate befell each label, and how often each label passed.
        self.fates = {}
        self.seen = {}
        # Names of prepared statements that change something.
        self.writers = set()
        self.lock = threading.Lock()
        self.connections = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                connection = Connection(self, client)
                with self.lock:
                    self.connections.add(connection)
                connection.start()

    def fate(self, label):
        with self.lock:
            self.seen[label] = self.seen.get(label, 0) + 1
            fate = self.plan(label)
            if fate is not PASS:
                self.fates[label, fate] = self.fates.get((label, fate), 0) + 1
            return fate

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def cut(self):
        """Ends all connections at once."""
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            for end in (connection.client, connection.server):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        self.cut()
