"""Several brokers and workers on one database, each a process that can be killed, stopped and started again."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import psycopg2

import history
import support
from database import Database, free_port, spawn


class Member:
    """One broker or worker: a command line, and the process that runs it at the moment."""

    def __init__(self, fleet, name, arguments, env, prefix=()):
        self.fleet, self.name, self.arguments, self.env, self.prefix = fleet, name, arguments, env, prefix
        self.role = name.split("-")[0]
        self.log = os.path.join(fleet.folder, name + ".log")
        self.process = None
        self.started_at = 0.0
        self.is_wanted = False
        self.is_stopped = False
        # An end that nobody here asked for is a finding, whatever the history says.
        self.expected_end = False
        self.lock = threading.RLock()

    def start(self):
        with self.lock:
            self.process = spawn([support.PROGRAM, *self.arguments], self.env, self.log, prefix=self.prefix)
            self.started_at = time.monotonic()
            self.is_wanted, self.is_stopped, self.expected_end = True, False, False

    @property
    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        with self.lock:
            self.expected_end = True
            self.process.send_signal(number)

    def kill(self):
        """kill -9; started again by the fleet's keeper, where it has one."""
        self.send(signal.SIGKILL)

    def pause(self):
        """SIGSTOP: it does nothing, and knows nothing of it."""
        if self.is_alive:
            self.is_stopped = True
            self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        if self.is_stopped and self.is_alive:
            self.process.send_signal(signal.SIGCONT)
        self.is_stopped = False

    def end(self, number=signal.SIGTERM, seconds=30):
        """Sends a signal and waits for the end; the exit status. It is not started again."""
        with self.lock:
            self.is_wanted = False
            self.resume()
            self.send(number)
        return self.wait(seconds)

    def wait(self, seconds=30):
        """Waits for the end; the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds} s: {self.said()}") from None

    def remove(self):
        self.is_wanted = False
        if self.is_alive:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def said(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-2000:]


class Broker(Member):
    """A broker whose endpoints stay the same from start to start."""

    def __init__(self, fleet, index, url, host="127.0.0.1", prefix=(), arguments=(), env=None):
        sockets = {name: f"tcp://{host}:{free_port()}" for name in ("tasks", "events", "workers", "peers")}
        self.tasks, self.workers, self.peers = sockets["tasks"], sockets["workers"], sockets["peers"]
        self.http = f"{host}:{free_port()}"
        flags = [part for name, endpoint in sockets.items() for part in (f"--{name}-endpoint", endpoint)]
        super().__init__(
            fleet, f"broker-{index}", ["broker", "--artifacts", fleet.artifacts, *flags, "--http", self.http, *arguments],
            support.environment(DATABASE_URL=url, **(env or {})), prefix,
        )  # fmt: skip

    @property
    def has_started(self):
        """Whether it has said, since its first start, that it takes requests."""
        with open(self.log, errors="replace") as log:
            return '"broker ready"' in log.read()


class Worker(Member):
    """A worker that knows the workers endpoints of all brokers."""

    def __init__(self, fleet, index, endpoints, slots=8, prefix=(), arguments=(), env=None):
        brokers = [part for endpoint in endpoints for part in ("--broker", endpoint)]
        super().__init__(
            fleet, f"worker-{index}",
            ["worker", *brokers, "--artifacts", fleet.artifacts, "--cache-dir", fleet.cache, "--threads", "1", "--slots", slots, *arguments],
            support.environment(**(env or {})), prefix,
        )  # fmt: skip

    def id(self):
        """Its session, as the database knows it."""
        rows = self.fleet.database.asks("SELECT id FROM scriptorium.workers WHERE pid = %s ORDER BY started_at DESC", self.process.pid)
        return rows and rows[0][0]


class Fleet:
    """A whole service by hand: one database, some brokers, some workers, and one who starts again what ended."""

    def __init__(self, database, brokers=2, workers=2, slots=8, broker_url=None, worker_endpoints=None, broker_arguments=(), broker_env=None, worker_arguments=()):
        self.database = database
        self.folder = tempfile.mkdtemp(prefix="scriptorium-fleet-")
        self.artifacts = os.path.join(self.folder, "artifacts")
        self.cache = os.path.join(self.folder, "cache")
        # Workers never make the store, and may start before the broker that does.
        os.mkdir(self.artifacts)
        self.crashes = []
        self._stop = threading.Event()
        self._keeper = None
        url = broker_url or (lambda index: database.url("scriptorium_broker"))
        self.brokers = [Broker(self, i, url(i), arguments=broker_arguments, env=broker_env and broker_env(i)) for i in range(brokers)]
        endpoints = worker_endpoints or (lambda brokers, index: [broker.workers for broker in brokers])
        self.workers = [Worker(self, i, endpoints(self.brokers, i), slots, arguments=worker_arguments) for i in range(workers)]

    @property
    def members(self):
        return [*self.brokers, *self.workers]

    @property
    def endpoints(self):
        return [broker.tasks for broker in self.brokers]

    def start(self):
        for member in self.members:
            member.start()
        support.wait_until(self.is_ready, 60, lambda: "the fleet to be ready: " + "".join(member.said()[-500:] for member in self.members))

    def is_ready(self):
        for member in self.members:
            if not member.is_alive:
                raise AssertionError(f"{member.name} ended with {member.process.returncode}: {member.said()}")
        joined = {pid for (pid,) in self.database.sql("SELECT pid FROM scriptorium.workers")}
        return all(broker.has_started for broker in self.brokers) and {worker.process.pid for worker in self.workers} <= joined

    def import_reference(self, name="demo", fixture="gpt2"):
        """Imports a tiny model of the reference fixtures."""
        support.run(
            "model", "import", os.path.join(support.FIXTURES, fixture), "--name", name, "--artifacts", self.artifacts, "--broker", self.endpoints[0])

    # MARK: Starting again

    def keep(self):
        """From now on members that end are started again, as a supervisor would."""
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._keeper.start()

    def _keep(self):
        last = {}
        while not self._stop.wait(0.05):
            for member in self.members:
                with member.lock:
                    if not member.is_wanted or member.is_alive or time.monotonic() - last.get(member.name, 0) < 0.5:
                        continue
                    self.note_end(member)
                    last[member.name] = time.monotonic()
                    member.start()

    def note_end(self, member):
        """Remembers an end that nobody asked for; 69 is a broker that found no database at its start."""
        status = member.process.returncode
        if not member.expected_end and status != 69:
            self.crashes.append(f"{member.name} ended with {status}: {member.said()[-600:]}")

    def rest(self):
        """Nothing is started again from now on; what was paused goes on, what is away comes back first."""
        for member in self.members:
            member.resume()
        self.database.thaw()

    # MARK: Ends

    def unfinished(self):
        """How many tasks have not ended; None while the database is away."""
        rows = self.database.asks("SELECT count(*) FROM scriptorium.hot")
        return rows[0][0] if rows else None

    def settle(self, seconds, what=""):
        """Waits until every task has ended."""
        self.rest()

        def why():
            left = self.database.asks(
                """SELECT h.task, h.attempt, h.blocked, h.lease IS NOT NULL, h.isolated, h.cancel_requested, h.session, h.run_at - now(), h.failures,
                    h.losses FROM scriptorium.hot h ORDER BY h.task LIMIT 5""")
            sessions = self.database.asks("SELECT id, pid, broker, state, seen_at FROM scriptorium.workers")
            words = "".join(f"\n--- {member.name}: {member.said()[-700:]}" for member in self.members)
            return f"{self.unfinished()} tasks to end {what}: {left}\nsessions: {sessions}\n{words}"

        support.wait_until(lambda: self.unfinished() == 0, seconds, why)

    def check(self, ledger=None):
        """The history's tally, where nothing is wrong with it."""
        with contextlib.closing(psycopg2.connect(self.database.url())) as connection:
            report = history.check(connection, ledger)
        if report.faults:
            raise AssertionError(str(report))
        if self.crashes:
            raise AssertionError("processes ended by themselves:\n" + "\n".join(self.crashes))
        return report.tally

    def remove(self, keep=False):
        """Ends all processes; their files stay where they are asked for."""
        self._stop.set()
        if self._keeper:
            self._keeper.join()
        for member in self.members:
            member.remove()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class FleetTestCase(unittest.TestCase):
    """A fleet for each test, on a database of its own, and a seed that says how to repeat what went wrong."""

    def setUp(self):
        self.seed = int(os.environ.get("FAULT_SEED") or random.randrange(1 << 32))
        self.chance = random.Random(self.seed)
        print(f"{self.id()}: repeat it with FAULT_SEED={self.seed}", flush=True)

    def make(self, database=None, model=True, **options):
        """A running fleet with the tiny reference model as `demo`."""
        database = database or Database()
        self.addCleanup(database.remove)
        if database.process is None:
            database.start()
        database.migrate()
        fleet = Fleet(database, **options)
        self.addCleanup(fleet.remove)
        fleet.start()
        if model:
            fleet.import_reference()
        return fleet
