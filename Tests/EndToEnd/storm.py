"""Faults of all kinds at once, at random and from a seed: what befalls a service, and how often it did.

Each kind has a thread of its own, so that they meet in every order: a worker is killed while the database is frozen, a broker drains while its answers
get lost. Nothing here knows what should come of it: that is for the history checker.
"""

import collections
import contextlib
import random
import signal
import threading
import time

import psycopg2

import wire_proxy
from message_proxy import Weather


class Storm:
    """Begins with ``start``; ``stop`` ends it and sets everything right again.

    `fleet` must have a keeper, which starts again what was killed. `wires` are proxies between brokers and PostgreSQL, `messages` those between
    workers and brokers; `clocks` are those of hosts, `disks` hold the artifact store. ``counts`` says what befell, ``findings`` what must never happen whatever befalls.
    """

    # Pauses between two faults of a kind, in seconds: from, to.
    PACE = {
        "kill": (2, 6), "pause": (2, 6), "drain": (3, 8), "database": (8, 16), "hold": (3, 9), "wire": (1, 5), "weather": (2, 6), "clock": (5, 15),
        "disk": (5, 15),
    }  # fmt: skip

    def __init__(self, fleet, seed, wires=(), messages=(), clocks=(), disks=(), pace=1.0):
        self.fleet, self.seed, self.wires, self.messages, self.clocks, self.disks, self.pace = fleet, seed, wires, messages, clocks, disks, pace
        self.counts = collections.Counter()
        self.findings = []
        self._lock = threading.Lock()
        self._busy = set()
        self._stop = threading.Event()
        self._threads = []

    def start(self):
        self._stop.clear()
        needs = {"wire": self.wires, "weather": self.messages, "clock": self.clocks, "disk": self.disks}
        kinds = [kind for kind in self.PACE if needs.get(kind, True)]
        self._threads = [threading.Thread(target=self._run, args=(kind,), name=f"storm-{kind}") for kind in kinds]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Waits for the last faults to be over."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.fleet.rest()

    def _run(self, kind):
        chance = random.Random(f"{self.seed} {kind}")
        while not self._stop.wait(chance.uniform(*self.PACE[kind]) * self.pace):
            try:
                getattr(self, "_" + kind)(chance)
            except Exception as error:  # told with the tally
                self.findings.append(f"{kind}: {error!r}")

    def _count(self, what):
        with self._lock:
            self.counts[what] += 1

    @contextlib.contextmanager
    def _member(self, chance, minimum_age=0.0):
        """A process that nothing else befalls meanwhile, or None."""
        with self._lock:
            free = [m for m in self.fleet.members if m.name not in self._busy and m.is_alive and time.monotonic() - m.started_at >= minimum_age]
            member = chance.choice(free) if free else None
            self._busy |= {member.name} if member else set()
        try:
            yield member
        finally:
            with self._lock:
                self._busy -= {member.name} if member else set()

    # MARK: Processes

    def _kill(self, chance):
        with self._member(chance) as member:
            if member:
                process = member.process
                member.kill()
                # Nothing else befalls it while it dies.
                process.wait(30)
                self._count(f"{member.role} killed")

    def _pause(self, chance):
        """Often shorter than a session lives, often longer."""
        with self._member(chance) as member:
            if member:
                member.pause()
                self._count(f"{member.role} stopped for a while")
                self._stop.wait(chance.uniform(0.5, 15))
                member.resume()

    def _drain(self, chance):
        """A restart as of a new release; now and then by somebody who cannot wait."""
        with self._member(chance, minimum_age=3) as member:
            if not member:
                return
            number, is_impatient = chance.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT]), chance.random() < 0.2
            statuses = {0 if number == signal.SIGTERM else 130}
            with member.lock:
                member.is_wanted = False
                member.send(number)
            if is_impatient:
                self._stop.wait(chance.uniform(0, 0.5))
                member.send(number)
                statuses.add(143)
            self._count(f"{member.role} drained" if not is_impatient else f"{member.role} told to stop twice")
            try:
                status = member.wait(90)
                # 69: a broker that was still looking for its database.
                if status not in statuses | ({69} if member.role == "broker" else set()):
                    self.findings.append(f"{member.name} ended with {status} after signal {number}: {member.said()[-600:]}")
            finally:
                member.remove()
                member.start()

    # MARK: Database

    def _database(self, chance):
        database = self.fleet.database
        if chance.random() < 0.5:
            self._count("database stopped at once")
            database.stop(signal.SIGQUIT)
            self._stop.wait(chance.uniform(0, 4))
            database.start()
        else:
            self._count("database frozen")
            database.freeze()
            self._stop.wait(chance.uniform(1, 15))
            database.thaw()

    def _wire(self, chance):
        """Connections to the database that break around a request, for a few seconds; or all of them at once."""
        wire = chance.choice(self.wires)
        if chance.random() < 0.2:
            self._count("connections cut")
            return wire.cut()
        fate = chance.choice([wire_proxy.ANSWER_LOST, wire_proxy.ANSWER_LOST, wire_proxy.ARRIVES_LATE, wire_proxy.NEVER_ARRIVES])

        def plan(label):
            if label.startswith(wire_proxy.PREPARE) or chance.random() > 0.03:
                return wire_proxy.PASS
            self._count(fate)
            return fate

        wire.plan = plan
        self._stop.wait(chance.uniform(1, 5))
        wire.plan = lambda label: wire_proxy.PASS

    def _hold(self, chance):
        """Somebody's open transaction holds the rows of running tasks, as one does that publishes after them."""
        url = self.fleet.database.url()
        with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(url, connect_timeout=3, tcp_user_timeout=30000)) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT task FROM scriptorium.hot WHERE lease IS NOT NULL ORDER BY random() LIMIT 3 FOR SHARE SKIP LOCKED")
                self._count("tasks held by a transaction")
                self._stop.wait(chance.uniform(0.5, 12))

    def _clock(self, chance):
        """A host's clock jumps by an hour, and back."""
        clock = chance.choice(self.clocks)
        self._count("a host's clock set")
        clock.set(chance.choice([3600, -3600]))
        self._stop.wait(chance.uniform(1, 15))
        clock.set(0)

    def _disk(self, chance):
        """The artifact store's disk is full for a while."""
        disk = chance.choice(self.disks)
        self._count("disk full")
        disk.fill()
        self._stop.wait(chance.uniform(1, 10))
        disk.free()

    # MARK: Messages

    def _weather(self, chance):
        """Messages between a worker and its broker come twice, late, again, or never; or none do, until either gives the other up."""
        proxy = chance.choice(self.messages)
        if chance.random() < 0.25:
            self._count("worker cut from a broker")
            proxy.is_cut = True
            time.sleep(chance.uniform(3, 12))  # the length of the cut, which both must notice
            proxy.is_cut = False
            return
        self._count("bad weather for messages")
        proxy.weather = Weather(doubled=0.1, delayed=0.2, longest=0.4, replayed=0.05, lost=0.02)
        self._stop.wait(chance.uniform(1, 10))
        proxy.weather = Weather()


class Horizon(threading.Thread):
    """Holds the xmin horizon: a transaction that reads and does not end, begun anew where the database dropped it."""

    def __init__(self, url):
        super().__init__(name="horizon", daemon=True)
        self.url = url
        self.transactions = 0
        self._stop_event = threading.Event()

    def run(self):
        while not self._stop_event.wait(0.2):
            with contextlib.suppress(psycopg2.Error):
                self.hold()

    def hold(self):
        with contextlib.closing(psycopg2.connect(self.url, connect_timeout=3, tcp_user_timeout=30000)) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM scriptorium.task")
                self.transactions += 1
                while not self._stop_event.wait(1):
                    cursor.execute("SELECT 1")

    def stop(self):
        self._stop_event.set()
        self.join()
