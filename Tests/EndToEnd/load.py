"""Clients that never give up: each keeps publishing, with a key, until somebody answers, and remembers what it was told."""

import contextlib
import itertools
import json
import random
import threading
import time
import uuid

import msgpack
import psycopg2
import zmq


class Pirate:
    """The lazy pirate of the ZeroMQ guide: a REQ socket, a time limit, and the same request again to the next broker over a new socket."""

    PATIENT = ("unavailable", "busy")

    def __init__(self, endpoints, timeout=2.5, stop=None, packed=False):
        self.endpoints = itertools.cycle(endpoints)
        self.pack, self.unpack = (msgpack.packb, msgpack.unpackb) if packed else (lambda map: json.dumps(map).encode(), json.loads)
        self.timeout = timeout
        self.stop = stop or threading.Event()
        self.socket = None
        self.silences = 0
        # Every answer that asked to try again, by its code; and every other error.
        self.refusals = {}
        self.errors = []

    def connect(self):
        self.close()
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        # An answer to an earlier request, late or doubled, is no answer to this one.
        self.socket.setsockopt(zmq.REQ_CORRELATE, 1)
        self.socket.setsockopt(zmq.REQ_RELAXED, 1)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(next(self.endpoints))

    def ask(self, op, patience=120, **members):
        """The reply to a request, whoever gives it. None where it was told to stop before there was one."""
        payload = self.pack({"op": op, **members})
        end = time.monotonic() + patience
        while not self.stop.is_set():
            if self.socket is None:
                self.connect()
            # No poll before it: what is readable may be a second answer to an earlier request, which `recv` passes over.
            self.socket.setsockopt(zmq.RCVTIMEO, int(self.timeout * 1000) + members.get("timeout_ms", 0))
            try:
                self.socket.send(payload)
                reply = self.unpack(self.socket.recv())
            except zmq.Again:
                self.silences += 1
            else:
                if reply["ok"]:
                    return reply
                code = reply["error"]["code"]
                if code not in self.PATIENT:
                    self.errors.append(reply["error"])
                    return reply
                self.refusals[code] = self.refusals.get(code, 0) + 1
                self.stop.wait(0.1)
            if time.monotonic() > end:
                raise AssertionError(f"no broker answered {op} within {patience} s: {self.refusals}, {self.silences} silences")
            self.connect()
        return None

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def generate(chance, model="demo"):
    """A small generate task. Seeds repeat, so that equal tasks meet: their texts must be equal."""
    params = {"model": model, "prompt": chance.choice(["the", "of", "and the"]), "n": chance.randrange(1, 4), "max_length": chance.choice([8, 12, 20])}
    if chance.random() < 0.05:
        # Long enough for a kill to meet it.
        params |= {"n": 100, "max_length": 40}
    params["seed"] = chance.randrange(200)
    if chance.random() < 0.2:
        params["stream"] = True
    if chance.random() < 0.1:
        del params["n"], params["prompt"]
        params["prompts"] = ["a", "the", "in"]
    return {"kind": "generate", "params": params}


class Publisher(threading.Thread):
    """One client: publishes a batch, waits for some of it, cancels a little, and begins anew, until it is told to stop or has had its number."""

    def __init__(
        self, ledger, endpoints, seed, number=None, batch=10, cancels=0.05, stop=None, timeout=2.5, after=0.05, packed=False, retries=0.0, proofs=0.2,
        max_attempts=None,
    ):  # fmt: skip
        super().__init__(name=f"{type(self).__name__}-{seed}", daemon=True)
        self.ledger, self.number, self.batch, self.cancels, self.after, self.retries = ledger, number, batch, cancels, after, retries
        self.proofs, self.max_attempts = proofs, max_attempts
        self.chance = random.Random(seed)
        self.stopping = stop or threading.Event()
        self.pirate = Pirate(endpoints, timeout, packed=packed)
        self.count = 0
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set() and (self.number is None or self.count < self.number):
                self.round()
        except Exception as error:  # told by the thread that joins
            self.failure = error
        finally:
            self.pirate.close()

    def round(self):
        tasks = [self.task() for _ in range(min(self.batch, (self.number or 1 << 30) - self.count))]
        ids = self.publish(tasks)
        if self.chance.random() < self.cancels:
            self.cancel(self.chance.sample(ids, min(3, len(ids))))
        self.await_end(self.chance.choice(ids))
        status = self.await_end(ids[-1])
        is_full = self.number is not None and self.count >= self.number
        if status and status["state"] == "succeeded" and not is_full and self.chance.random() < self.proofs:
            self.prove(ids[-1])

    def prove(self, task):
        """Whatever befell a task and its verification: the texts are what their seed makes."""
        (id,) = self.publish([{"kind": "verify", "params": {"task": task}, "key": str(uuid.UUID(int=self.chance.getrandbits(128)))}])
        status = self.await_end(id)
        if status and (status["state"] != "succeeded" or status["result"]["verified"] is not True):
            raise AssertionError(f"the texts of {task} are not proved: {status}")

    def task(self):
        task = generate(self.chance) | {"key": str(uuid.UUID(int=self.chance.getrandbits(128)))}
        if self.max_attempts:
            task["max_attempts"] = self.max_attempts
        if self.chance.random() < 0.3:
            task["priority"] = self.chance.randrange(-5, 6)
        if self.ledger.tasks and self.chance.random() < self.after:
            with self.ledger.lock:
                known = list(self.ledger.tasks)[-20:]
            task["after"] = self.chance.sample(known, min(2, len(known)))
        return task

    def publish(self, tasks):
        reply = self.pirate.ask("submit", tasks=tasks)
        if not reply["ok"]:
            raise AssertionError(f"a submit was refused: {reply['error']}")
        for task, answer in zip(tasks, reply["tasks"], strict=True):
            self.ledger.accepted(answer["id"], key=task["key"])
        self.count += len(tasks)
        return [answer["id"] for answer in reply["tasks"]]

    def cancel(self, ids):
        reply = self.pirate.ask("cancel", ids=ids)
        for answer in reply["tasks"]:
            if answer["state"] not in ("queued", "running"):
                self.ledger.ended(answer["id"], answer["state"])
        cancelled = [answer["id"] for answer in reply["tasks"] if answer["state"] == "cancelled"]
        if cancelled and self.chance.random() < self.retries:
            self.retry(cancelled)

    def retry(self, ids):
        """Queues anew what was cancelled. `conflict` says that an earlier request, whose answer was lost, has done so."""
        for id in ids:
            self.ledger.retried(id)
        reply = self.pirate.ask("retry", ids=ids)
        if not reply["ok"] and reply["error"]["code"] != "conflict":
            raise AssertionError(f"a retry was refused: {reply['error']}")

    def await_end(self, task):
        """The status of a task that has ended; None where it was told to stop before."""
        while not self.stopping.is_set():
            reply = self.pirate.ask("wait", task=task, timeout_ms=1000)
            if not reply["ok"]:
                raise AssertionError(f"an accepted task is answered {reply['error']}")
            if not reply.get("timed_out"):
                self.ledger.ended(task, reply["task"]["state"])
                return reply["task"]
        return None


class Probe(Publisher):
    """A client that publishes one small task at a time and measures how long its result takes to come."""

    def __init__(self, ledger, endpoints, seed, **options):
        super().__init__(ledger, endpoints, seed, **options)
        # Seconds from before the publish to the result. Whoever measures by phases puts another list here.
        self.latencies = []

    def round(self):
        params = {"model": "demo", "prompt": "the", "max_length": 12, "seed": self.chance.randrange(200)}
        task = {"kind": "generate", "params": params, "key": str(uuid.UUID(int=self.chance.getrandbits(128)))}
        latencies, began = self.latencies, time.monotonic()
        (id,) = self.publish([task])
        self.await_end(id)
        if not self.stopping.is_set():
            latencies.append(time.monotonic() - began)


class FinetunePublisher(Publisher):
    """A client that trains: one finetune after another, long enough for a fault to meet it."""

    TEXT = "the river and the stone, and the light of the morning over them; " * 60

    def round(self):
        steps = self.chance.choice([20, 100, 300])
        params = {
            "config": "gpt2-cpu", "output": f"tuned-{self.chance.randrange(5)}", "overwrite": True, "dataset": {"text": self.TEXT},
            "tokenizer": {"train": {"vocab_size": 300}}, "block_size": 16, "num_steps": steps, "save_every": 50, "generate_every": 100,
            "seed": self.chance.randrange(20),
        }  # fmt: skip
        (id,) = self.publish([{"kind": "finetune", "params": params, "key": str(uuid.UUID(int=self.chance.getrandbits(128)))}])
        if self.chance.random() < self.cancels:
            self.cancel([id])
        self.await_end(id)


class SQLPublisher(threading.Thread):
    """A service that publishes within its own transactions; an unknown commit is settled with the key."""

    def __init__(self, ledger, url, seed, number=None, stop=None, pause=0.02, max_attempts=None):
        super().__init__(name=f"sql-publisher-{seed}", daemon=True)
        self.ledger, self.url, self.number, self.pause, self.max_attempts = ledger, url, number, pause, max_attempts or 3
        self.chance = random.Random(seed)
        self.stopping = stop or threading.Event()
        self.connection = None
        self.count = 0
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set() and (self.number is None or self.count < self.number):
                self.publish()
                self.stopping.wait(self.pause)
        except Exception as error:  # told by the thread that joins
            self.failure = error
        finally:
            self.disconnect()

    def publish(self):
        task, key = generate(self.chance), str(uuid.UUID(int=self.chance.getrandbits(128)))
        is_kept = self.chance.random() > 0.1
        end = time.monotonic() + 120
        while True:
            try:
                if self.connection is None:
                    self.connection = psycopg2.connect(self.url, connect_timeout=3, options="-c statement_timeout=5s", tcp_user_timeout=5000)
                with self.connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT scriptorium.submit('generate', %s, key => %s, max_attempts => %s)",
                        (json.dumps(task["params"]), key, self.max_attempts))  # fmt: skip
                    (id,) = cursor.fetchone()
                if not is_kept:
                    self.connection.rollback()
                    return
                self.connection.commit()
                self.ledger.accepted(id, key=key)
                self.count += 1
                return
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.disconnect()
                if time.monotonic() > end:
                    raise
                self.stopping.wait(0.1)

    def disconnect(self):
        if self.connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self.connection.close()
            self.connection = None


def finish(publishers, seconds):
    """Waits for publishers to end, and says what failed them."""
    end = time.monotonic() + seconds
    for publisher in publishers:
        publisher.join(max(0.1, end - time.monotonic()))
    late = [publisher.name for publisher in publishers if publisher.is_alive()]
    failures = [f"{publisher.name}: {publisher.failure!r}" for publisher in publishers if publisher.failure]
    if late or failures:
        raise AssertionError(f"not ended within {seconds} s: {late}; failed: {failures}")
