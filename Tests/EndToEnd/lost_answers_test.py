"""A lost answer at every statement that a broker sends: whatever took place is found out before anybody is told.

A proxy stands between one broker and PostgreSQL. The same script runs again and again, and each time the connections break at statements that had
not been hit before: the server executes them, and the broker never hears of it; or the server executes them only after the broker has given them up.
"""

import os
import signal
import time
import unittest

import load
import support
import wire_proxy
from database import Database
from fleet import FleetTestCase
from history import Ledger


class LostAnswers(FleetTestCase):
    def start(self):
        database = Database()
        database.start()
        self.proxy = wire_proxy.WireProxy(("127.0.0.1", database.port))
        self.addCleanup(self.proxy.close)
        self.fleet = self.make(
            database, brokers=1, workers=2, broker_url=lambda index: database.url("scriptorium_broker", port=self.proxy.port), worker_arguments=["--drain-timeout", "1"])
        self.fleet.keep()
        with open(os.path.join(support.FIXTURES, "corpus.txt")) as file:
            self.text = file.read()[:20000]
        corpus = os.path.join(self.fleet.folder, "corpus.txt")
        with open(corpus, "w") as file:
            file.write(self.text)
        support.run("dataset", "add", corpus, "--name", "corpus", "--artifacts", self.fleet.artifacts, "--broker", self.fleet.endpoints[0])
        self.dataset = database.sql("SELECT sha256, bytes FROM scriptorium.datasets")[0]
        # It never asks again for want of an answer: what it is told is all that there is.
        self.client = load.Pirate(self.fleet.endpoints, timeout=60)
        self.addCleanup(self.client.close)
        self.ledger = Ledger()
        self.expected = {}

    # MARK: The script

    def submit(self, state, task, **members):
        reply = self.client.ask("submit", task={**task, **members})
        self.assertTrue(reply["ok"], reply)
        id = reply["tasks"][0]["id"]
        self.ledger.accepted(id, key=members.get("key"))
        self.expected[id] = state
        return id

    def publish(self, state, kind, params):
        """In SQL, past the proxy."""
        (id,) = self.fleet.database.sql("SELECT scriptorium.submit(%s, %s)", kind, params)[0]
        self.ledger.accepted(id)
        self.expected[id] = state
        return id

    def wait(self, id):
        for _ in range(40):
            reply = self.client.ask("wait", task=id, timeout_ms=1000)
            self.assertTrue(reply["ok"], reply)
            if not reply.get("timed_out"):
                self.assertEqual(reply["task"]["state"], self.expected[id], f"{reply['task']}, seed {self.seed}")
                self.ledger.ended(id, reply["task"]["state"])
                return reply["task"]
        said = "\n".join(f"{member.name}: {member.said()}" for member in self.fleet.members)
        life = support.run("explain", id, "--broker", self.fleet.endpoints[0])
        locks = self.fleet.database.sql("SELECT pid, state, wait_event, left(query, 80) FROM pg_stat_activity WHERE xact_start < now() - interval '1 s'")
        raise AssertionError(f"{id} did not end, seed {self.seed}: {life}\nopen transactions: {locks}\n{said}")

    def generate(self, **params):
        return {"kind": "generate", "params": {"model": "demo", "prompt": "the", "max_length": 10, "seed": self.chance.randrange(50), **params}}

    def finetune(self, output, **params):
        params = {"config": "gpt2-cpu", "output": output, "dataset": {"name": "corpus"}, "tokenizer": {"train": {"vocab_size": 300}}, "block_size": 16,
                  "num_steps": 6, "save_every": 3, "generate_every": 0, "overwrite": True, **params}  # fmt: skip
        return {"kind": "finetune", "params": params}

    def everything(self, number):
        """One run of the script: each operation and each way for a task to go and to end."""
        keyed = [self.submit("succeeded", self.generate(n=2), key=f"k-{number}-{i}") for i in range(2)]
        again = self.submit("succeeded", self.generate())
        parent = self.submit("succeeded", self.generate())
        child = self.submit("succeeded", self.generate(), after=[parent])
        late = self.submit("succeeded", self.generate(), run_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2)))
        far = self.submit("cancelled", self.generate(), run_at="2100-01-01T00:00:00Z")
        orphan = self.submit("failed", self.generate(), after=[far])
        good = self.publish("succeeded", "generate", '{"model": "demo", "max_length": 9, "seed": 1}')
        bad = self.publish("failed", "generate", '{"model": "demo", "top_p": 7}')
        # It goes over its time twice.
        slow = self.submit("failed", self.generate(n=1000, max_length=64), timeout_s=0.2, max_attempts=2)
        training = self.submit("succeeded", self.finetune(f"tuned-{number % 3}"))
        short = self.submit("failed", self.finetune("none", dataset={"text": "short"}))
        self.assertTrue(self.client.ask("cancel", ids=[far])["ok"])
        sha256, size = self.dataset
        self.assertTrue(self.client.ask("register", dataset={"name": f"again-{number % 3}", "sha256": sha256, "bytes": size})["ok"])
        self.assertTrue(self.client.ask("models")["models"])
        self.administer(f"yearly-{number % 3}")
        for id in (*keyed, again, parent, child, late, far, orphan, good, bad, slow, training, short):
            self.wait(id)
        self.retry(far, orphan)
        # A worker leaves and comes back: what it ran goes back or on elsewhere.
        endless = self.submit("cancelled", self.finetune("endless", num_steps=100000, save_every=100000))
        long = self.submit("succeeded", self.generate(n=1000, max_length=64))
        for id in (endless, long):
            begun = ("running",) if id == endless else ("running", "succeeded")
            support.wait_until(lambda: self.client.ask("get", ids=[id])["tasks"][0]["state"] in begun, 20, "a long task to run")
        for worker in self.fleet.workers[: 1 + number % 2]:
            self.assertEqual(worker.end(), 0)
            worker.start()
        self.wait(long)
        self.assertTrue(self.client.ask("cancel", ids=[endless])["ok"])
        self.wait(endless)
        # So does the broker.
        self.assertEqual(self.fleet.brokers[0].end(), 0)
        self.fleet.brokers[0].start()
        self.client.ask("models")
        self.fleet.import_reference(f"imported-{number % 3}")

    def administer(self, name):
        """Schedules and queues: told to be done, each is done."""
        schedule = {"name": name, "cron": "0 3 1 1 *", "kind": "generate", "params": {"model": "demo"}}
        for op, members in (("schedule", {"schedule": schedule}), ("queue", {"queue": {"name": name, "paused": True}}), ("unschedule", {"name": name})):
            reply = self.client.ask(op, **members)
            self.assertTrue(reply["ok"], f"{op}: {reply}, seed {self.seed}")
        rows = self.fleet.database.sql("SELECT (SELECT count(*) FROM scriptorium.schedules), (SELECT paused FROM scriptorium.queues WHERE name = %s)", name)
        self.assertEqual(rows, [(0, True)], f"seed {self.seed}")

    def retry(self, *ids):
        """What failed or was cancelled is queued anew. Its time is gone by: it runs."""
        reply = self.client.ask("retry", ids=list(ids))
        self.assertTrue(reply["ok"], f"{reply}, seed {self.seed}")
        for id in ids:
            self.ledger.retried(id)
        # Of the two only the first can start by itself; the second waited for it and is let go by its end.
        for id in ids:
            self.expected[id] = "succeeded"
            self.wait(id)

    # MARK: Every statement once

    def is_write(self, label):
        return label in self.proxy.writers or label.startswith("COMMIT of") and not label.endswith("nothing")

    def hit_everything(self, fate, seconds):
        """Runs the script until every statement that writes was hit, or the time is over, which is longer for those that are essential. What only
        reads comes often, and is hit now and then.
        """
        last = last_write = 0.0

        def plan(label):
            nonlocal last, last_write
            now, is_write = time.monotonic(), self.is_write(label)
            if (label, fate) in self.proxy.fates or label.startswith(wire_proxy.PREPARE) or now - (last_write if is_write else last) < 0.1:
                return wire_proxy.PASS
            if not is_write and self.chance.random() > 0.1:
                return wire_proxy.PASS
            last = now
            # What only reads keeps nothing that writes from being hit.
            last_write = now if is_write else last_write
            return fate

        end = time.monotonic() + seconds
        number = 0
        while True:
            self.proxy.plan = plan
            self.everything(number)
            number += 1
            late = time.monotonic() - end
            if not self.missed(fate) or late > 3 * seconds or late > 0 and not self.missed_essentials():
                break
        self.proxy.plan = lambda label: wire_proxy.PASS

    def missed(self, fate):
        return sorted(label for label in self.proxy.seen if self.is_write(label) and (label, fate) not in self.proxy.fates)

    def missed_essentials(self):
        hit = [label for label, _ in self.proxy.fates if self.is_write(label)]
        return [statement for statement in self.ESSENTIAL if not any(statement in label for label in hit)]

    def finish(self, fate):
        self.fleet.settle(30)
        tally = self.fleet.check(self.ledger)
        told = {id: state for id, state in self.fleet.database.sql("SELECT id::text, state FROM scriptorium.tasks")}
        self.assertEqual(told, self.expected, f"seed {self.seed}")
        hit = sorted(label for label, _ in self.proxy.fates)
        writes = [label for label in hit if self.is_write(label)]
        support.say(f"{fate}: {len(hit)} statements, {len(writes)} of them write; missed {self.missed(fate)}; {tally}")
        self.assertEqual(self.missed_essentials(), [], f"never hit; hit were {writes}")
        return tally

    # Statements that must have been among those hit: without them the script has lost its point.
    ESSENTIAL = (
        "insert_tasks", "insert_keys", "insert_hot", "lease", "complete_tasks", "end_tasks", "requeue_tasks", "request_cancel", "retry_tasks",
        "insert_checkpoint", "add_steps", "upsert_session", "delete_session", "beat_broker", "put_in_line", "COMMIT of",
    )  # fmt: skip

    def test_the_answer_is_lost(self):
        self.start()
        self.hit_everything(wire_proxy.ANSWER_LOST, 60)
        self.finish(wire_proxy.ANSWER_LOST)

    def test_the_statement_arrives_late(self):
        self.start()
        self.proxy.delay = lambda: self.chance.uniform(0.3, 2.5)
        self.hit_everything(wire_proxy.ARRIVES_LATE, 60)
        self.finish(wire_proxy.ARRIVES_LATE)

    def test_nothing_is_answered_while_a_late_commit_may_still_come(self):
        """The server is given the commit only after every lock time limit has run out: `busy`, which says that nothing was accepted, would be a lie."""
        self.start()
        self.proxy.delay = lambda: 7
        for members in ({}, {"key": "late"}):
            before = self.fleet.database.sql("SELECT count(*) FROM scriptorium.task")[0][0]
            commits = []

            def plan(label):
                if commits or not (label.startswith("COMMIT of") and "insert_tasks" in label):
                    return wire_proxy.PASS
                commits.append(label)
                return wire_proxy.ARRIVES_LATE

            self.proxy.plan = plan
            id = self.submit("succeeded", self.generate(), **members)
            self.assertEqual(len(commits), 1)
            self.wait(id)
            after = self.fleet.database.sql("SELECT count(*) FROM scriptorium.task")[0][0]
            self.assertEqual(after, before + 1, f"one task was submitted; refusals {self.client.refusals}")
            self.assertEqual(self.client.refusals, {})
        self.fleet.settle(30)
        self.fleet.check(self.ledger)


if __name__ == "__main__":
    unittest.main()
