"""What the end-to-end tests share: the program, a private service, a client, and waiting for conditions with a bound."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import warnings

import msgpack
import psycopg2
import zmq

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURES = os.environ.get("REFERENCE_FIXTURES") or os.path.join(ROOT, "Tests/Fixtures/reference")
PROGRAM = os.environ.get("SCRIPTORIUM_PROGRAM") or os.path.join(ROOT, ".build/release/scriptorium")


def environment(**more):
    """The environment of a child: ours without anything that configures Scriptorium or PostgreSQL."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SCRIPTORIUM_", "PG")) and k != "DATABASE_URL"}
    isa = os.environ.get("SCRIPTORIUM_ISA")
    if isa:
        kept["SCRIPTORIUM_ISA"] = isa
    kept.update(more)
    return kept


def run(*arguments, status=0, input=None, timeout=120, env=None, cwd=None):
    """Runs the program; its standard output as text. Any other exit status than the expected one is a failure with what was said."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=input, capture_output=True, timeout=timeout, env=env or environment(), cwd=cwd)
    if done.returncode != status:
        # What a crash was is said first, and then where everything stood.
        said = done.stderr.decode(errors="replace")
        raise AssertionError(
            f"scriptorium {' '.join(map(str, arguments))}: status {done.returncode}, expected {status}\n"
            f"stdout: {done.stdout.decode(errors='replace')[-2000:]}\nstderr: {said[:6000] if done.returncode < 0 else said[-2000:]}"
        )
    return done.stdout.decode() if status == 0 else done.stderr.decode()


def say(what):
    """Tells a figure, or what was left out: it stands under the run's summary, also where the test passed."""
    warnings.warn(what, stacklevel=2)


def wait_until(condition, seconds, what):
    """Polls a condition until it is true; its value. Fails after the time, naming what was waited for."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what() if callable(what) else what}")
        time.sleep(0.02)


class Service:
    """A `scriptorium up` of its own, in a temporary folder and on free ports."""

    def __init__(self, folder=None, workers=1, arguments=()):
        self.folder = folder or tempfile.mkdtemp(prefix="scriptorium-e2e-")
        os.chmod(self.folder, 0o755)
        self.clients = []
        self.data = os.path.join(self.folder, "data")
        self.log = open(os.path.join(self.folder, "up.log"), "ab")
        self.process = subprocess.Popen(
            [
                PROGRAM, "up", "--data-dir", self.data, "--workers", str(workers),
                "--tasks-endpoint", "tcp://127.0.0.1:*", "--events-endpoint", "tcp://127.0.0.1:*",
                "--workers-endpoint", "tcp://127.0.0.1:*", "--peers-endpoint", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0", *arguments,
            ],
            stdout=self.log, stderr=self.log, env=environment(),
        )  # fmt: skip
        try:
            wait_until(self.is_ready, 90, "service.json")
        except AssertionError as error:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"{error}\n{self.said()}") from None

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"up ended with {self.process.returncode}: {self.said()}")
        try:
            return self.file["pids"]["up"] == self.process.pid
        except FileNotFoundError:
            return False

    def said(self):
        with open(os.path.join(self.folder, "up.log"), errors="replace") as log:
            return log.read()[-3000:]

    @property
    def file(self):
        with open(os.path.join(self.data, "service.json")) as file:
            return json.load(file)

    def run(self, *arguments, **options):
        """Runs a client command against this service."""
        return run(*arguments, "--data-dir", self.data, **options)

    def sql(self, query, *values):
        """All rows of a query, as the cluster's owner."""
        connection = psycopg2.connect(self.file["database_url"])
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def client(self, packed=False):
        """A client that is closed with the service."""
        self.clients.append(Client(self.file["tasks"], packed=packed))
        return self.clients[-1]

    def import_reference(self, name="demo", fixture="gpt2"):
        """Imports a tiny model of the reference fixtures."""
        return self.run("model", "import", os.path.join(FIXTURES, fixture), "--name", name)

    def stop(self, number=signal.SIGTERM, seconds=40):
        """Sends a signal and waits for the end; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def remove(self):
        for client in self.clients:
            client.close()
        self.stop()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def show_keys(socket, keys):
    """Sets a socket up for CURVE, before it connects. Keys are the server's public one and the own pair, public and secret."""
    if keys:
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = (key.encode() for key in keys)


class Client:
    """A ZeroMQ client as a user would write it: one REQ socket, JSON or MessagePack."""

    def __init__(self, endpoint, packed=False, timeout=60, keys=None):
        self.endpoint, self.packed, self.timeout, self.keys = endpoint, packed, timeout, keys
        self.context = zmq.Context.instance()
        self.socket = None
        self.connect()

    def connect(self):
        self.close()
        self.socket = self.context.socket(zmq.REQ)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, self.timeout * 1000)
        show_keys(self.socket, self.keys)
        self.socket.connect(self.endpoint)

    def raw(self, payload):
        self.socket.send(payload)
        return self.socket.recv()

    def request(self, op, **members):
        message = {"op": op, **members}
        if self.packed:
            return msgpack.unpackb(self.raw(msgpack.packb(message)))
        return json.loads(self.raw(json.dumps(message).encode()))

    def ask(self, op, **members):
        """A request that must be answered with ok."""
        reply = self.request(op, **members)
        assert reply["ok"], reply
        return reply

    def submit(self, kind, params, **members):
        return self.ask("submit", task={"kind": kind, "params": params, **members})["tasks"][0]["id"]

    def result(self, task, seconds=60):
        """The TaskStatus of a task that must have ended within the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            reply = self.ask("wait", task=task, timeout_ms=5000)
            if not reply.get("timed_out"):
                return reply["task"]
        raise AssertionError(f"{task} did not end within {seconds} s: {reply['task']}")

    def generate(self, **params):
        status = self.result(self.submit("generate", params))
        assert status["state"] == "succeeded", status
        return status

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Dealer:
    """A DEALER socket that sends requests without waiting and hands out replies by id."""

    def __init__(self, endpoint, timeout=60, keys=None):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, timeout * 1000)
        show_keys(self.socket, keys)
        self.socket.connect(endpoint)
        self.ids = itertools.count(1)

    def send(self, op, **members):
        number = next(self.ids)
        self.socket.send(json.dumps({"op": op, "id": number, **members}).encode())
        return number

    def receive(self):
        return json.loads(self.socket.recv())

    def close(self):
        self.socket.close()


class ServiceTestCase(unittest.TestCase):
    """Tests that share one service, with the tiny reference model imported as `demo`."""

    workers = 1

    @classmethod
    def setUpClass(cls):
        cls.service = Service(workers=cls.workers)
        # Also where the rest of the setting up fails.
        cls.addClassCleanup(cls.service.remove)
        cls.service.import_reference()
