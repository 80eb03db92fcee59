"""A PostgreSQL server of the tests' own that can be stopped at once, frozen, and given another clock."""

import atexit
import contextlib
import glob
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2

import support

# A child dies with the thread that made it (PR_SET_PDEATHSIG), so all are made by one thread that lives as long as this process.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")
_dying = ["/usr/bin/setpriv", "--pdeathsig", "KILL"]


def spawn(arguments, env, log=None, output=None, prefix=()):
    """Starts a child that is killed with this process. Its standard error goes to the log, its output too where it is not named."""
    command = [*prefix, *_dying, "--", *map(str, arguments)]

    def start():
        with open(log or os.devnull, "ab") as words:
            return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output or words, stderr=words)

    return _spawner.submit(start).result()


def _own_ports():
    """This process's share of the ports below those that the system hands out to connections, in random order and each once: two members of a fleet,
    or two test processes side by side, never pick the same one.
    """
    share = int((os.environ.get("PYTEST_XDIST_WORKER") or "gw0")[2:])
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT") or 1)
    ports = list(range(10000, 32000))[share::count]
    random.SystemRandom().shuffle(ports)
    return itertools.cycle(ports)


_ports = _own_ports()


def free_port(host="127.0.0.1"):
    """A port that nobody listens on and that was not given out before: a process that is started again finds it free."""
    for port in _ports:
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind((host, port))
            return port


def children(pid):
    """The processes whose parent this is."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(path) as file:
                fields = file.read().rsplit(")", 1)[1].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(path.split("/")[2]))
    return found


class FakeClock:
    """A clock that can be set in mid-run, for processes started with its environment (Debian's faketime). Their monotonic clocks stay true."""

    def __init__(self, folder):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not libraries:
            raise FileNotFoundError("libfaketimeMT.so.1: install Debian's package faketime")
        self.path = os.path.join(folder, f"clock-{random.randrange(1 << 32)}")
        self.set(0)
        self.environment = {
            "LD_PRELOAD": libraries[0], "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
        }  # fmt: skip

    def set(self, seconds):
        """Sets the clock so far off the true time. A reader sees the old or the new offset, never half a file."""
        with open(self.path + ".new", "w") as file:
            file.write(f"{seconds:+d}\n")
        os.chmod(self.path + ".new", 0o644)
        os.rename(self.path + ".new", self.path)

    @staticmethod
    def is_there():
        return bool(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))


class Database:
    """One cluster, on a port of its own. Data survive an immediate stop, as after the death of all of its processes."""

    _template = None
    _lock = threading.Lock()

    def __init__(self, host="127.0.0.1", clock=None, settings=(), prefix=()):
        self.folder = tempfile.mkdtemp(prefix="scriptorium-pg-")
        os.chmod(self.folder, 0o755)
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "postgres.log")
        self.host, self.clock, self.settings, self.prefix = host, clock, settings, prefix
        self.port = free_port()
        self.process = None
        self.is_frozen = False
        shutil.copytree(self.template(), self.data)
        self._own(self.data)
        # The tests' own doors: loopback and, in network namespaces, the address that the brokers come from.
        with open(os.path.join(self.data, "pg_hba.conf"), "a") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")

    # MARK: Files

    @staticmethod
    def binaries():
        return max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))

    @classmethod
    def template(cls):
        """An empty cluster, made once."""
        with cls._lock:
            if cls._template is None:
                cls._template = tempfile.mkdtemp(prefix="scriptorium-pg-")
                atexit.register(shutil.rmtree, cls._template, True)
                os.chmod(cls._template, 0o755)
                path = os.path.join(cls._template, "data")
                os.mkdir(path, 0o700)
                cls._own(path)
                subprocess.run(
                    [*cls._as_owner(), f"{cls.binaries()}/initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", path],
                    check=True, stdout=subprocess.DEVNULL, cwd="/",
                )  # fmt: skip
            return os.path.join(cls._template, "data")

    @staticmethod
    def _as_owner():
        return ["/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []

    @staticmethod
    def _own(path):
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "postgres:postgres", path], check=True)

    # MARK: Life

    def start(self):
        """Starts the server and waits until it answers."""
        self.launch()
        support.wait_until(self.answers, 60, "PostgreSQL to answer")

    def launch(self):
        """Starts the server without waiting for it."""
        options = ["listen_addresses=" + self.host, "unix_socket_directories=", "fsync=off", "max_connections=100", "timezone=UTC", *self.settings]
        arguments = [f"{self.binaries()}/postgres", "-D", self.data, "-p", str(self.port)]
        for option in options:
            arguments += ["-c", option]
        extra = self.clock.environment if self.clock else {}
        # The clock is preloaded only into the server: setpriv drops to its user first.
        preload = ["/usr/bin/env", *(f"{name}={value}" for name, value in extra.items())]
        self.process = spawn([*preload, *arguments], support.environment(), self.log, prefix=[*self.prefix, *self._as_owner()])

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended with {self.process.returncode}: {self.said()}")
        try:
            psycopg2.connect(self.url(), connect_timeout=2).close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, number=signal.SIGINT, seconds=60):
        """Stops the server: SIGINT ends sessions in order, SIGQUIT (`pg_ctl -m immediate`) drops everything where it stands."""
        if self.process is None:
            return
        self.thaw()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def restart_immediately(self):
        self.stop(signal.SIGQUIT)
        self.start()

    def freeze(self):
        """Stops the postmaster and every backend where they stand, as a hung machine or a paused VM does."""
        os.kill(self.process.pid, signal.SIGSTOP)
        for pid in children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self):
        if not self.is_frozen:
            return
        self.is_frozen = False
        for pid in [*children(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def remove(self, keep=False):
        """Ends the server; its files stay where they are asked for."""
        self.stop(signal.SIGQUIT)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def said(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-3000:]

    # MARK: Use

    def url(self, user="postgres", port=None, host=None):
        return f"postgresql://{user}@{host or self.host}:{port or self.port}/postgres"

    def sql(self, query, *values):
        """All rows of a query, as the cluster's superuser."""
        connection = psycopg2.connect(self.url(), connect_timeout=5)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def sql_alone(self, statement):
        """A statement that PostgreSQL runs only outside of transactions."""
        connection = psycopg2.connect(self.url(), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def asks(self, query, *values):
        """As ``sql``, but nothing while the server is away."""
        try:
            return self.sql(query, *values)
        except psycopg2.OperationalError:
            return []
        except psycopg2.DatabaseError:
            return []

    def migrate(self):
        support.run("migrate", "--database-url", self.url())
        self.sql("ALTER ROLE scriptorium_broker LOGIN; ALTER ROLE scriptorium_publisher LOGIN; ALTER ROLE scriptorium_reader LOGIN")
