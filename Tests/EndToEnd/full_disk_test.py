"""A full disk below the artifact store: it is said, nothing is lost, and all goes on when there is room."""

import json
import os
import signal
import subprocess
import time
import unittest

import load
import support
from database import Database
from disk import SmallDisk
from fleet import Fleet, FleetTestCase
from history import Ledger
from transfers import PART, digest, fetch, noise, put


class FullDisk(unittest.TestCase):
    def test_a_full_store_says_so_and_goes_on_when_there_is_room(self):
        service = support.Service(workers=0)
        self.addCleanup(service.remove)
        mount = os.path.join(service.folder, "small")
        disk, why_not = SmallDisk.attempt(mount, 16 << 20)
        if why_not:
            self.skipTest(why_not)
        self.addCleanup(disk.remove)
        log = open(os.path.join(service.folder, "second.log"), "ab")
        self.addCleanup(log.close)
        ready = os.path.join(service.folder, "ready")
        with open(ready, "wb") as output:
            broker = subprocess.Popen(
                [support.PROGRAM, "broker", "--artifacts", os.path.join(mount, "store"), "--tasks-endpoint", "tcp://127.0.0.1:*",
                 "--events-endpoint", "tcp://127.0.0.1:*", "--workers-endpoint", "tcp://127.0.0.1:*", "--peers-endpoint", "tcp://127.0.0.1:*",
                 "--http", "127.0.0.1:0", "--json"], env=support.environment(DATABASE_URL=service.file["database_url"]), stdout=output, stderr=log,
            )  # fmt: skip
        self.addCleanup(broker.wait)
        self.addCleanup(broker.kill)

        def endpoints():
            with open(ready) as text:
                line = text.readline()
            return line.endswith("\n") and json.loads(line)

        endpoint = support.wait_until(endpoints, 30, "the broker")["tasks"]
        client = support.Client(endpoint, packed=True)
        self.addCleanup(client.close)
        filler = os.path.join(mount, "filler")
        with open(filler, "wb") as file:
            file.write(bytes(10 * PART))
        data = noise(12 * PART, 11)
        reply = put(client, data)
        self.assertEqual(reply["error"]["code"], "unavailable", reply)
        with open(log.name, errors="replace") as text:
            self.assertIn("No space left on device", text.read())
        have = client.ask("put", sha256=digest(data), size=len(data), offset=0)["have"]
        self.assertGreater(have, PART)
        self.assertEqual(client.request("fetch", sha256=digest(data), offset=0, length=1)["error"]["code"], "not_found")
        # A command without the store hears of it in time, and says why.
        with open(os.path.join(service.folder, "late.txt"), "wb") as file:
            file.write(noise(8 * PART, 12))
        said = support.run("dataset", "add", os.path.join(service.folder, "late.txt"), "--name", "late", "--broker", endpoint, status=69, timeout=90)
        self.assertIn("full", said)
        os.remove(filler)
        for name in os.listdir(os.path.join(mount, "store/tmp")):
            if name != "put-" + digest(data):
                os.remove(os.path.join(mount, "store/tmp", name))
        self.assertEqual(put(client, data, start=have)["have"], len(data))
        self.assertEqual(fetch(client, digest(data)), data)
        broker.send_signal(signal.SIGTERM)
        self.assertEqual(broker.wait(30), 0)


class FullCache(support.ServiceTestCase):
    """A worker whose cache has a small disk of its own."""

    workers = 0

    def setUp(self):
        self.mount = os.path.join(self.service.folder, self.id().rsplit(".", 1)[1])
        self.filler = os.path.join(self.mount, "filler")
        self.client = self.service.client()
        self.worker = None
        self.addCleanup(lambda: self.worker and (self.worker.kill(), self.worker.wait()))

    def small_disk(self, size):
        disk, why_not = SmallDisk.attempt(self.mount, size)
        if why_not:
            self.skipTest(why_not)
        self.addCleanup(disk.remove)

    def start(self):
        self.log = os.path.join(self.service.folder, os.path.basename(self.mount) + ".log")
        with open(self.log, "ab") as log:
            self.worker = subprocess.Popen(
                [support.PROGRAM, "worker", "--broker", self.service.file["workers"], "--artifacts", self.service.file["artifacts"],
                 "--cache-dir", os.path.join(self.mount, "cache"), "--threads", "1"], env=support.environment(), stdout=log, stderr=log)  # fmt: skip

    def submit(self, model, **more):
        return self.client.submit("generate", {"model": model, "prompt": "the", "max_length": 12}, **more)

    def attempts(self, task):
        return [outcome for (outcome,) in self.service.sql("SELECT outcome FROM scriptorium.attempts WHERE task_id = %s ORDER BY attempt", task)]

    def reasons(self, task):
        """Why a task was given back: another test's worker may just have died with its lease."""
        return [why for (why,) in self.service.sql("SELECT error ->> 'reason' FROM scriptorium.attempts WHERE task_id = %s", task)]

    def test_a_full_disk_gives_tasks_back_until_there_is_room_and_makes_it_where_it_can(self):
        self.service.import_reference("other", "gpt2-variant")
        # Room for one model, not for two.
        self.small_disk(1200 << 10)
        self.start()
        cache = os.path.join(self.mount, "cache/artifacts")
        support.wait_until(lambda: os.path.isdir(cache), 20, "the cache")
        with open(self.filler, "wb") as file:
            file.write(bytes(1000 << 10))
        task = self.submit("demo")
        support.wait_until(lambda: self.attempts(task).count("released") > 1, 30, "the task to be given back")
        self.assertNotIn("failed", self.attempts(task))
        with open(self.log, errors="replace") as text:
            self.assertIn("make room on the disk of --cache-dir", text.read())
        os.remove(self.filler)
        self.assertEqual(self.client.result(task)["state"], "succeeded")
        self.assertEqual(self.service.sql("SELECT failures FROM scriptorium.outcome WHERE task = %s", task), [(0,)])
        (demo,) = os.listdir(cache)
        # A new process holds nothing of the first model in memory: its folder goes for the second.
        self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(30), 0)
        self.start()
        task = self.submit("other")
        self.assertEqual(self.client.result(task)["state"], "succeeded")
        self.assertEqual(self.attempts(task), ["succeeded"])
        self.assertEqual(len(os.listdir(cache)), 1)
        self.assertNotIn(demo, os.listdir(cache))

    def test_what_no_eviction_makes_room_for_evicts_nothing(self):
        self.small_disk(4 << 20)
        self.start()
        self.assertEqual(self.client.result(self.submit("demo"))["state"], "succeeded")
        cache = os.path.join(self.mount, "cache/artifacts")
        (demo,) = os.listdir(cache)
        with open(self.filler, "wb") as file:
            file.write(bytes(2 << 20))
        text = os.path.join(self.service.folder, "large.txt")
        with open(text, "w") as file:
            file.write("the granite violet\n" * (3 << 20 >> 4))
        self.service.run("dataset", "add", text, "--name", "large")
        task = self.client.submit(
            "finetune", {"config": "gpt2-cpu", "output": "out", "dataset": {"name": "large"}, "tokenizer": {"train": {}}, "num_steps": 1})
        support.wait_until(lambda: "snooze" in self.reasons(task), 30, "the finetune to be given back")
        self.assertEqual(os.listdir(cache), [demo])
        self.client.ask("cancel", ids=[task])

    def test_what_dead_workers_left_goes_first_when_the_disk_is_full(self):
        self.small_disk(1600 << 10)
        self.start()
        cache = os.path.join(self.mount, "cache")
        support.wait_until(lambda: os.path.isdir(os.path.join(cache, "artifacts")), 20, "the cache")
        left = os.path.join(cache, "work-dead")
        os.mkdir(left)
        with open(os.path.join(left, "half"), "wb") as file:
            file.write(bytes(1200 << 10))
        old = time.time() - 120
        os.utime(left, (old, old))
        task = self.submit("demo")
        self.assertEqual(self.client.result(task)["state"], "succeeded")
        self.assertNotIn("snooze", self.reasons(task))
        self.assertFalse(os.path.exists(left))

    def test_a_model_that_no_disk_of_that_size_can_hold_fails_its_task(self):
        self.small_disk(64 << 10)
        self.start()
        status = self.client.result(self.submit("demo", max_attempts=1))
        self.assertEqual((status["state"], status["error"]["code"]), ("failed", "internal"))
        self.assertIn("all of the disk", status["error"]["message"])


class FullDiskUnderLoad(FleetTestCase):
    def test_every_task_ends_once_though_the_disk_of_the_artifacts_is_full(self):
        database = Database()
        self.addCleanup(database.remove)
        database.start()
        database.migrate()
        fleet = Fleet(database, brokers=1, workers=2)
        self.addCleanup(fleet.remove)
        disk, why_not = SmallDisk.attempt(fleet.artifacts)
        if why_not:
            self.skipTest(why_not)
        self.addCleanup(disk.remove)
        fleet.start()
        fleet.import_reference()
        ledger = Ledger()
        publishers = [load.FinetunePublisher(ledger, fleet.endpoints, self.chance.getrandbits(64), cancels=0) for _ in range(2)]
        publishers.append(load.Publisher(ledger, fleet.endpoints, self.chance.getrandbits(64)))
        for publisher in publishers:
            publisher.start()

        def count(query):
            return database.sql(f"SELECT count(*) FROM scriptorium.{query}")[0][0]

        def trained():
            return count("tasks WHERE kind = 'finetune' AND state = 'succeeded'")

        def refused():
            return sum(worker.said().count("a checkpoint cannot be saved now") for worker in fleet.workers)

        for _ in range(2):
            before = trained()
            support.wait_until(lambda: trained() > before, 60, "a finetune to succeed")
            before = refused()
            disk.fill()
            support.wait_until(lambda: refused() > before, 60, "a checkpoint that meets the full disk")
            disk.free()
        for publisher in publishers:
            publisher.stopping.set()
        load.finish(publishers, 60)
        fleet.settle(60)
        tally = fleet.check(ledger)
        # Only what had to be written met it, and waited: nothing failed, and nothing was trained twice.
        self.assertLessEqual(set(tally["failed"]), {"dependency_failed"}, tally)
        self.assertEqual(count("attempts WHERE outcome = 'failed'"), 0, tally)
        self.assertEqual(tally["attempts"].get("lost", 0), 0, tally)
        support.say(f"full disks: {tally}")


if __name__ == "__main__":
    unittest.main()
