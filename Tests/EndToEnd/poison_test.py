"""Tasks that do harm: one whose workers die of it, and some that take too long. They end by themselves, and cost nobody else an attempt."""

import json
import os
import unittest

import support
from fleet import FleetTestCase

# Of the model below: seconds of work, so that whoever looks finds it running.
LONG = {"model": "slow", "prompt": "the", "n": 256, "min_length": 256, "max_length": 256}


def make_slow_model(client):
    """A model of the name `slow`, as untrained as can be: large enough that a task of it takes seconds."""
    with open(os.path.join(support.FIXTURES, "corpus.txt")) as file:
        text = file.read()
    config = {"model_type": "gpt2", "n_layer": 2, "n_head": 4, "n_embd": 256, "n_positions": 256, "vocab_size": 300}
    params = {
        "config": config, "dataset": {"text": text}, "output": "slow", "tokenizer": {"train": {"vocab_size": 300}}, "block_size": 16, "num_steps": 1,
        "save_every": 0, "generate_every": 0,
    }  # fmt: skip
    status = client.result(client.submit("finetune", params), 60)
    if status["state"] != "succeeded":
        raise AssertionError(status)


class Poison(FleetTestCase):
    def test_a_task_that_kills_its_workers_ends_lost_and_its_mates_succeed(self):
        fleet = self.make(brokers=1, workers=3, slots=4, model=False)
        fleet.keep()
        database, client = fleet.database, support.Client(fleet.endpoints[0])
        self.addCleanup(client.close)
        make_slow_model(client)
        # Whatever counted against a mate would end it: it may fail no attempt at all.
        mate = {"kind": "generate", "max_attempts": 1, "params": {**LONG, "n": 16}}
        poison, *mates = (
            task["id"] for task in client.ask("submit", tasks=[{"kind": "generate", "max_attempts": 3, "params": LONG}, *[mate] * 11])["tasks"])
        holder = """SELECT a.attempt, w.pid, (SELECT count(*) FROM scriptorium.attempts m WHERE m.worker = a.worker AND m.outcome IS NULL AND m.task_id <> a.task_id)
            FROM scriptorium.attempts a JOIN scriptorium.workers w ON w.id = a.worker WHERE a.task_id = %s AND a.outcome IS NULL AND a.attempt > %s"""
        ended = "SELECT state FROM scriptorium.tasks WHERE id = %s AND state IN ('succeeded', 'failed')"
        killed, beside = [], []
        while len(killed) < 12:
            seen = killed[-1] if killed else 0
            state = support.wait_until(lambda: database.sql(ended, poison) or database.sql(holder, poison, seen), 60, "it to run again, or to end")
            if state[0][0] in ("succeeded", "failed"):
                break
            attempt, pid, mates_there = state[0]
            worker = next((worker for worker in fleet.workers if worker.is_alive and worker.process.pid == pid), None)
            if worker is None:
                continue
            worker.kill()
            killed.append(attempt)
            beside.append(mates_there)
        status = client.result(poison)
        self.assertEqual((status["state"], status["error"] and status["error"]["code"]), ("failed", "lost"), f"attempt {status['attempt']}, killed {killed}")
        outcomes = dict(database.sql("SELECT attempt, outcome FROM scriptorium.attempts WHERE task_id = %s ORDER BY attempt", poison))
        # Twice among others, at no cost; then alone until its three are used up. A worker killed before it had heard of the task loses nothing.
        self.assertEqual([outcome for outcome in outcomes.values() if outcome != "released"], ["lost"] * 5, outcomes)
        beside = [mates for attempt, mates in zip(killed, beside, strict=True) if outcomes[attempt] == "lost"]
        self.assertGreater(sum(beside[:2]), 0, "no mate ran beside it when its worker was killed")
        self.assertEqual(beside[2:], [0, 0, 0], "it ran alone from the third time on")
        for task in mates:
            self.assertEqual(client.result(task)["state"], "succeeded")
        harmed = database.sql("SELECT count(*) FROM scriptorium.outcome WHERE task <> %s AND failures > 0", poison)
        self.assertEqual(harmed, [(0,)], "a loss was counted against a mate")
        lost = database.sql("SELECT count(*) FROM scriptorium.attempts WHERE outcome = 'lost' AND task_id <> %s", poison)
        self.assertGreater(lost[0][0], 0, "no mate lost an attempt with it")
        fleet.settle(30)
        fleet.check()
        # Its life is told as it was.
        text = support.run("explain", poison, "--broker", fleet.endpoints[0])
        self.assertEqual(text.count("lost, its worker died"), 5, text)
        self.assertIn("3 of at most 3 failed attempts; 5 lost with their workers", text)
        told = json.loads(support.run("explain", poison, "--json", "--broker", fleet.endpoints[0]))
        self.assertEqual((told["task"]["state"], told["losses"], told["failures"]), ("failed", 5, 3))
        self.assertEqual([attempt["attempt"] for attempt in told["attempts"]], list(range(1, len(outcomes) + 1)))
        self.assertTrue(told["pinned"]["model"]["sha256"] and told["task"]["created_at"].endswith("Z"))
        refused = support.run("explain", "00000000-0000-7000-8000-000000000000", "--broker", fleet.endpoints[0], status=2)
        self.assertIn("there is no such task", refused)

    def test_tasks_that_take_too_long_are_tried_again_after_growing_pauses(self):
        fleet = self.make(brokers=1, workers=1, model=False)
        client = support.Client(fleet.endpoints[0])
        self.addCleanup(client.close)
        make_slow_model(client)
        tasks = [client.submit("generate", LONG, timeout_s=0.2, max_attempts=3) for _ in range(3)]
        support.wait_until(
            lambda: "retry_at" in [task["waiting_for"] for task in client.ask("get", ids=tasks)["tasks"]], 30, "one to wait for its next attempt")
        pauses = []
        for task in tasks:
            status = client.result(task)
            self.assertEqual((status["state"], status["error"]["code"], status["attempt"]), ("failed", "timed_out", 3))
            rows = fleet.database.sql("SELECT outcome, started_at, finished_at FROM scriptorium.attempts WHERE task_id = %s ORDER BY attempt", task)
            self.assertEqual([row[0] for row in rows], ["timed_out"] * 3)
            pauses.append([(after[1] - before[2]).total_seconds() for before, after in zip(rows, rows[1:])])
        # One second and two, less a jitter of up to a fifth; a busy machine may make them longer.
        for first, second in pauses:
            self.assertGreaterEqual(first, 0.79)
            self.assertGreaterEqual(second, 1.59)
        fleet.settle(30)
        fleet.check()


if __name__ == "__main__":
    unittest.main()
