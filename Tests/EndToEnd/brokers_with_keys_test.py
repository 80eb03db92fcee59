"""Two brokers with CURVE keys of their own, and lists of each other: what goes between them, who hears of it, and what a deleted line ends."""

import json
import os
import shutil
import tempfile
import unittest

import msgpack
import support
import zmq
from brokers_test import watched
from database import Database
from fleet import Broker, Fleet, FleetTestCase, Worker
from keys_test import keygen, secret


class HouseOfTwo(FleetTestCase):
    """The brokers `near` and `far`, clients, workers and a stranger, each with a key of its own."""

    # Texts of a given length: the end token is never chosen.
    ON_AND_ON = {"model": "demo", "prompt": "the", "sliding_window": True, "banned_tokens": [0]}

    def setUp(self):
        super().setUp()
        self.keys = tempfile.mkdtemp(prefix="scriptorium-keys-")
        self.addCleanup(shutil.rmtree, self.keys)
        self.public = {name: keygen(self.keys, name) for name in ("near", "far", "client", "worker", "other", "stranger")}
        self.list("clients", "client")
        self.list("workers", "worker", "other")
        self.list("brokers-of-near", "far")
        self.list("brokers-of-far", "near")
        self.database = Database()
        self.addCleanup(self.database.remove)
        self.database.start()
        self.database.migrate()
        self.fleet = Fleet(self.database, brokers=0, workers=0)
        self.addCleanup(self.fleet.remove)
        self.near, self.far = self.fleet.brokers = [self.broker(index, name) for index, name in enumerate(("near", "far"))]
        self.fleet.start()
        support.run(
            "model", "import", os.path.join(support.FIXTURES, "gpt2"), "--name", "demo", "--artifacts", self.fleet.artifacts,
            "--broker", self.near.tasks, "--curve-key", self.path("client.key"), "--curve-server-key", self.public["near"])

    def path(self, name):
        return os.path.join(self.keys, name)

    def list(self, name, *members):
        """Writes an allow-list, at once and whole."""
        with open(self.path(name + ".new"), "w") as file:
            file.write("# who may\n" + "".join(f"{self.public[member]} {member}\n" for member in members))
        os.replace(self.path(name + ".new"), self.path(name))

    def broker(self, index, name):
        files = {"--curve-key": name + ".key", "--curve-clients": "clients", "--curve-workers": "workers", "--curve-brokers": "brokers-of-" + name}
        arguments = [part for flag, file in files.items() for part in (flag, self.path(file))]
        return Broker(self.fleet, index, self.database.url("scriptorium_broker"), arguments=arguments)

    def name_of(self, broker):
        return "near" if broker is self.near else "far"

    def join(self, name, broker, slots=8):
        """A worker with somebody's key that knows one broker alone, once that has taken it in."""
        arguments = ["--curve-key", self.path(name + ".key"), "--curve-server-key", self.public[self.name_of(broker)]]
        worker = Worker(self.fleet, len(self.fleet.workers), [broker.workers], slots, arguments=arguments)
        self.fleet.workers.append(worker)
        worker.start()
        support.wait_until(lambda: self.home(worker) == self.id_of(broker), 20, lambda: f"the worker to join: {worker.said()}")
        return worker

    def shown(self, name, broker):
        """What a socket shows to a broker: its key, and somebody's pair."""
        return self.public[self.name_of(broker)], self.public[name], secret(self.keys, name)

    def client(self, broker):
        client = support.Client(broker.tasks, keys=self.shown("client", broker))
        self.addCleanup(client.close)
        return client

    def listener(self, name, broker):
        """A subscription to all that a broker says to its peers, with somebody's key."""
        socket = zmq.Context.instance().socket(zmq.SUB)
        self.addCleanup(socket.close, 0)
        if name:
            support.show_keys(socket, self.shown(name, broker))
        socket.subscribe(b"")
        socket.connect(broker.peers)
        return socket

    def hear(self, listener):
        """Waits until a broker has twice said how it is: who has a link to it has heard the first of them."""
        heard = 0
        while heard < 2:
            self.assertTrue(listener.poll(20_000), "nothing came over the peers endpoint")
            topic, payload = listener.recv_multipart()
            heard += topic == b"broker" and msgpack.unpackb(payload)["m"] == "status"

    def forget(self, listener):
        """Reads over what has come."""
        while listener.poll(0):
            listener.recv_multipart()

    def watch(self, broker, **params):
        """The names of the events of a task that is published and watched at a broker."""
        dealer = support.Dealer(broker.tasks, keys=self.shown("client", broker))
        try:
            return [event["event"] for event in watched(dealer, **params)]
        finally:
            dealer.close()

    def wait_for_link(self, broker):
        """Waits until a broker without workers shows the tokens of tasks that run under the other one."""
        support.wait_until(lambda: "token" in self.watch(broker), 40, f"tokens at {self.name_of(broker)}")

    def logged(self, broker, *words):
        """Whether a line of a broker's log holds all these words."""
        with open(broker.log, errors="replace") as log:
            return any(all(word in line for word in words) for line in log)

    def refused(self, broker, name, endpoint):
        return self.logged(broker, "key refused", self.public[name][:10], f'"{endpoint}"')

    def id_of(self, broker):
        return self.database.sql("SELECT id FROM scriptorium.brokers WHERE pid = %s", broker.process.pid)[0][0]

    def home(self, worker):
        """The broker that a worker is joined to; None where it is to none."""
        rows = self.database.sql("SELECT broker FROM scriptorium.workers WHERE pid = %s", worker.process.pid)
        return rows[0][0] if rows else None

    def attempts(self, task):
        return self.database.sql("SELECT attempt, worker, broker, outcome FROM scriptorium.attempts WHERE task_id = %s ORDER BY attempt", task)

    def running(self, client, **params):
        """A task that runs."""
        task = client.submit("generate", {**self.ON_AND_ON, **params})
        support.wait_until(
            lambda: self.database.sql("SELECT 1 FROM scriptorium.tasks WHERE id = %s AND state = 'running'", task), 20, "a task to run")
        return task


class BetweenBrokers(HouseOfTwo):
    def test_a_watch_shows_the_tokens_of_a_task_under_the_other_broker(self):
        self.join("worker", self.near)
        self.wait_for_link(self.far)
        # That is the broker which has no worker: each of them ran under the other one.
        self.assertEqual(self.database.sql("SELECT DISTINCT broker FROM scriptorium.attempts"), [(self.id_of(self.near),)])
        keys = dict(self.database.sql("SELECT pid, public_key FROM scriptorium.brokers"))
        self.assertEqual(keys, {self.near.process.pid: self.public["near"], self.far.process.pid: self.public["far"]})
        self.fleet.check()

    def test_who_is_no_listed_broker_hears_nothing_between_them(self):
        self.join("worker", self.near)
        names = ("stranger", "client", "worker", None)
        outside = {(broker, name): self.listener(name, broker) for broker in (self.near, self.far) for name in names}
        # Who may listen hears how each broker is, and of each task that somebody asks for.
        allowed = [self.listener("far", self.near), self.listener("near", self.far)]
        for listener in allowed:
            self.hear(listener)
        for broker in (self.near, self.far):
            for name in filter(None, names):
                support.wait_until(
                    lambda: self.refused(broker, name, "peers"), 20, lambda: f"{self.name_of(broker)} to refuse {name}: {broker.said()}")
        self.wait_for_link(self.far)
        for listener in allowed:
            self.hear(listener)
        self.assertEqual([(self.name_of(broker), name) for (broker, name), listener in outside.items() if listener.poll(0)], [])

    def test_a_drained_broker_sends_its_worker_on_with_the_others_key(self):
        # That the other is a refuge is known over the link to it.
        first = self.join("other", self.far)
        self.wait_for_link(self.near)
        self.hear(self.listener("near", self.far))
        self.assertEqual(first.end(), 0)
        worker = self.join("worker", self.near)
        session = worker.id()
        near, far = self.id_of(self.near), self.id_of(self.far)
        held = self.running(self.client(self.near), n=4, max_length=65536)
        self.assertEqual(self.attempts(held), [(1, session, near, None)])
        self.assertEqual(self.near.end(), 0)
        support.wait_until(lambda: self.home(worker) == far, 20, lambda: f"the worker to come to the other broker: {worker.said()}")
        client = self.client(self.far)
        task = client.submit("generate", {"model": "demo", "prompt": "the", "max_length": 12})
        self.assertEqual(client.result(task)["state"], "succeeded")
        self.assertEqual(self.attempts(task), [(1, session, far, "succeeded")])
        # What it held came along, and is led there.
        self.assertEqual(self.attempts(held), [(1, session, near, None)])
        client.ask("cancel", ids=[held])
        self.assertEqual(client.result(held)["state"], "cancelled")
        self.assertEqual(self.attempts(held), [(1, session, near, "cancelled")])
        self.fleet.check()


class DeletedLines(HouseOfTwo):
    def wait_until_taken(self, broker, name):
        """Waits until a broker acts by a list that was changed."""
        client = self.client(broker)
        support.wait_until(lambda: self.logged(broker, "list of keys taken", f"/{name}\""), 20, lambda: f"the list to be taken: {broker.said()}")
        # The second answer is of a turn that began after the list was taken.
        client.ask("ping")
        client.ask("ping")

    def test_a_revoked_worker_gets_no_more_grants_and_its_task_ends_elsewhere(self):
        # It has by far the most room, also while it runs the task.
        worker, other = self.join("worker", self.near, slots=64), self.join("other", self.near)
        revoked, listed = worker.id(), other.id()
        client = self.client(self.near)
        task = self.running(client, n=8, max_length=20000)
        self.assertEqual([worker for _, worker, *_ in self.attempts(task)], [revoked])
        small = {"kind": "generate", "params": {"model": "demo", "prompt": "the", "max_length": 12}}

        def publish(count):
            for answer in client.ask("submit", tasks=[small] * count)["tasks"]:
                self.assertEqual(client.result(answer["id"])["state"], "succeeded")

        self.list("workers", "other")
        self.wait_until_taken(self.near, "workers")
        ((since,),) = self.database.sql("SELECT clock_timestamp()")
        # Whatever is granted to it from now on is granted to nobody.
        publish(60)
        support.wait_until(lambda: self.refused(self.near, "worker", "workers"), 40, lambda: f"the worker to be refused: {self.near.said()}")
        publish(60)
        self.assertEqual(client.result(task, 120)["state"], "succeeded")
        self.assertEqual([(attempt, worker, outcome) for attempt, worker, _, outcome in self.attempts(task)], [(1, revoked, "lost"), (2, listed, "succeeded")])
        granted = self.database.sql("SELECT worker, count(*) FROM scriptorium.attempts WHERE started_at > %s GROUP BY worker", since)
        self.assertEqual(dict(granted), {listed: 121}, f"the revoked one is {revoked}")
        self.assertEqual(self.database.sql("SELECT count(*) FROM scriptorium.tasks WHERE worker = %s", revoked), [(0,)])
        self.assertTrue(worker.is_alive)
        self.fleet.check()
        # With its line it is taken in again.
        self.list("workers", "worker", "other")
        support.wait_until(lambda: self.home(worker), 40, lambda: f"the worker to be let in again: {worker.said()}")

    def test_a_revoked_broker_hears_nothing_more_from_the_other(self):
        self.join("worker", self.near)
        self.wait_for_link(self.far)
        allowed, shut_out = self.listener("near", self.near), self.listener("far", self.near)
        self.hear(allowed)
        self.hear(shut_out)
        self.list("brokers-of-near")
        self.wait_until_taken(self.near, "brokers-of-near")
        support.wait_until(lambda: self.refused(self.near, "far", "peers"), 40, lambda: f"the broker to be refused: {self.near.said()}")
        for listener in (allowed, shut_out):
            self.forget(listener)
        # What was on its way came before these.
        self.hear(allowed)
        self.forget(shut_out)
        for _ in range(3):
            names = self.watch(self.far)
            self.assertEqual((names[0], names[-1], names.count("succeeded")), ("queued", "succeeded", 1))
            # What happened is read in the database; what was only said is not heard.
            self.assertNotIn("token", names)
            # The own key is listed always.
            self.hear(allowed)
        self.assertFalse(shut_out.poll(0), "a broker that is no longer listed hears the other one")
        # The other way nothing has changed, and with its line it hears again.
        self.hear(self.listener("near", self.far))
        self.list("brokers-of-near", "far")
        self.wait_for_link(self.far)


if __name__ == "__main__":
    unittest.main()
