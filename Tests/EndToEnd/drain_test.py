"""Ends in order: a signal to a broker or worker under load loses nothing, fails nobody, and the process ends as the contract says."""

import os
import signal
import unittest
import urllib.error
import urllib.request

import load
import support
from database import Database, free_port
from fleet import FleetTestCase
from history import Ledger


def http(address, path):
    """Status and text of an HTTP answer."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class UnderLoad(FleetTestCase):
    """Clients publish all the while, over ZeroMQ and in SQL; the process comes back when it has ended."""

    def setUp(self):
        super().setUp()
        self.fleet = self.make(brokers=2, workers=2, worker_arguments=["--drain-timeout", "2"])
        self.ledger = Ledger()
        self.publishers = [load.Publisher(self.ledger, self.fleet.endpoints, self.chance.getrandbits(64)) for _ in range(3)]
        self.sql = load.SQLPublisher(self.ledger, self.fleet.database.url("scriptorium_publisher"), self.chance.getrandbits(64))
        for publisher in (*self.publishers, self.sql):
            publisher.start()
        self.go_on(50)

    def ended(self):
        return self.fleet.database.sql("SELECT count(*) FROM scriptorium.outcome")[0][0]

    def go_on(self, tasks):
        before = self.ended()
        support.wait_until(lambda: self.ended() > before + tasks, 30, f"{tasks} more tasks to end")

    def finish(self):
        """Takes stock: clients were told of nothing but a restart, and no attempt was lost or counted as failed."""
        for publisher in (*self.publishers, self.sql):
            publisher.stopping.set()
        load.finish([*self.publishers, self.sql], 60)
        self.fleet.settle(60)
        tally = self.fleet.check(self.ledger)
        for publisher in self.publishers:
            self.assertEqual(publisher.pirate.errors, [])
            self.assertLessEqual(publisher.pirate.refusals.keys(), {"unavailable"})
        self.assertEqual(self.fleet.database.sql("SELECT count(*) FROM scriptorium.outcome WHERE failures > 0"), [(0,)])
        self.assertLessEqual(tally["failed"].keys(), {"dependency_failed"}, tally)
        return tally

    def test_brokers_told_to_end(self):
        for broker, number, status in zip(self.fleet.brokers, (signal.SIGTERM, signal.SIGINT), (0, 130)):
            self.assertEqual(broker.end(number), status)
            self.go_on(50)
            broker.start()
            self.go_on(50)
        tally = self.finish()
        # Their workers took their leases to the other broker.
        self.assertEqual(tally["attempts"].get("lost", 0), 0, tally)

    def test_workers_told_to_end(self):
        for worker, number, status in zip(self.fleet.workers, (signal.SIGTERM, signal.SIGINT), (0, 130)):
            self.assertEqual(worker.end(number), status)
            self.go_on(50)
            worker.start()
            self.go_on(50)
        self.assertEqual(self.finish()["attempts"].get("lost", 0), 0)


class OneByOne(FleetTestCase):
    """What a drain does to each kind of work."""

    def start(self, **options):
        self.http = f"127.0.0.1:{free_port()}"
        worker_arguments = ["--http", self.http, *options.pop("worker_arguments", [])] if options["workers"] == 1 else options.pop("worker_arguments", [])
        self.fleet = self.make(worker_arguments=worker_arguments, **options)
        self.client = support.Client(self.fleet.endpoints[0])
        self.addCleanup(self.client.close)

    # Texts of a given length: the end token is never chosen.
    ON_AND_ON = {"model": "demo", "prompt": "the", "sliding_window": True, "banned_tokens": [0]}

    def endless(self):
        """A generate of some minutes on 60 slots, which outlasts any drain here; it runs when this returns."""
        task = self.client.submit("generate", {**self.ON_AND_ON, "n": 60, "max_length": 65536})
        self.wait_for_start(task)
        return task

    def wait_for_start(self, task):
        started = "SELECT 1 FROM scriptorium.tasks WHERE id = %s AND state = 'running'"
        support.wait_until(lambda: self.fleet.database.sql(started, task), 20, "a task to run")

    def attempts(self, task):
        return self.fleet.database.sql("SELECT attempt, outcome FROM scriptorium.attempts WHERE task_id = %s ORDER BY attempt", task)

    def cancel(self, task):
        self.client.ask("cancel", ids=[task])
        self.assertEqual(self.client.result(task)["state"], "cancelled")

    def test_a_worker_lets_go_of_what_takes_too_long(self):
        """Its readiness falls first; what ends in time is recorded, the rest goes back uncounted and is taken up again."""
        self.start(brokers=1, workers=1, slots=80, worker_arguments=["--drain-timeout", "12"])
        support.wait_until(lambda: http(self.http, "/readyz")[0] == 200, 10, "the worker to be ready")
        long = self.endless()
        short = self.client.submit("generate", {**self.ON_AND_ON, "n": 2, "max_length": 300})
        self.wait_for_start(short)
        ((began,),) = self.fleet.database.sql("SELECT clock_timestamp()")
        worker = self.fleet.workers[0]
        worker.send(signal.SIGTERM)
        support.wait_until(lambda: http(self.http, "/readyz")[0] == 503, 8, "readiness to fall")
        self.assertIn("draining", http(self.http, "/readyz")[1])
        self.assertEqual(http(self.http, "/healthz")[0], 200)
        late = self.client.submit("generate", {"model": "demo", "prompt": "the", "max_length": 12})
        self.assertEqual(worker.wait(), 0)
        self.assertEqual(self.attempts(short), [(1, "succeeded")])
        self.assertEqual(self.fleet.database.sql("SELECT finished_at > %s FROM scriptorium.tasks WHERE id = %s", began, short), [(True,)])
        self.assertEqual(self.attempts(long), [(1, "released")])
        self.assertEqual(self.fleet.database.sql("SELECT failures, losses, lease FROM scriptorium.hot WHERE task = %s", long), [(0, 0, None)])
        self.assertEqual(self.attempts(late), [], "a draining worker took a task")
        worker.start()
        self.assertEqual(self.client.result(late)["state"], "succeeded")
        self.wait_for_start(long)
        self.assertEqual(self.attempts(long), [(1, "released"), (2, None)])
        self.cancel(long)
        self.fleet.check()

    def test_a_finetune_goes_on_elsewhere_to_the_same_digest(self):
        self.start(brokers=1, workers=2)
        with open(os.path.join(support.FIXTURES, "corpus.txt")) as file:
            text = file.read()[:20000]
        params = {
            "config": "gpt2-cpu", "output": "moved", "dataset": {"text": text}, "tokenizer": {"train": {"vocab_size": 300}}, "block_size": 32,
            "batch_size": 4, "num_steps": 600, "save_every": 10000, "generate_every": 0, "seed": 7, "dropout": 0.1,
        }  # fmt: skip
        task = self.client.submit("finetune", params)

        def step():
            progress = self.client.ask("get", ids=[task])["tasks"][0]["progress"] or {}
            return progress["step"] if progress.get("phase") == "training" else 0

        support.wait_until(lambda: step() > 20, 60, "some steps")
        ((pid,),) = self.fleet.database.sql(
            "SELECT w.pid FROM scriptorium.workers w JOIN scriptorium.attempts a ON a.worker = w.id WHERE a.task_id = %s AND a.outcome IS NULL", task)
        (worker,) = [worker for worker in self.fleet.workers if worker.process.pid == pid]
        self.assertEqual(worker.end(), 0)
        status = self.client.result(task, 120)
        self.assertEqual((status["state"], self.attempts(task)), ("succeeded", [(1, "released"), (2, "succeeded")]))
        # It went on from the saved state: its first steps are still those of the first attempt.
        kept = self.fleet.database.sql(
            """SELECT count(*) FROM scriptorium.training_steps s JOIN scriptorium.attempts a ON a.task_id = s.task_id AND a.attempt = 2
               WHERE s.task_id = %s AND s.at < a.started_at""", task)[0][0]  # fmt: skip
        self.assertGreater(kept, 20)
        whole = self.client.result(self.client.submit("finetune", {**params, "output": "undisturbed"}), 120)
        self.assertEqual(self.attempts(whole["id"]), [(1, "succeeded")])
        self.assertEqual(status["result"]["checkpoint"]["sha256"], whole["result"]["checkpoint"]["sha256"])
        self.fleet.check()

    def test_a_broker_that_waits_for_its_database_is_not_ready_and_can_be_stopped_at_once(self):
        """A second signal ends it with 143; what it had accepted is there when it comes back."""
        self.start(brokers=1, workers=1)
        broker = self.fleet.brokers[0]
        support.wait_until(lambda: http(broker.http, "/readyz")[0] == 200, 10, "the broker to be ready")
        running = self.endless()
        ids = [task["id"] for task in self.client.ask("submit", tasks=[load.generate(self.chance) for _ in range(50)])["tasks"]]
        self.fleet.database.freeze()
        # Somebody's submit is under way and cannot be committed.
        dealer = support.Dealer(broker.tasks)
        self.addCleanup(dealer.close)
        dealer.send("submit", task={"kind": "generate", "params": {"model": "demo", "prompt": "the"}})
        broker.send(signal.SIGTERM)
        support.wait_until(lambda: "draining" in http(broker.http, "/readyz")[1], 5, "readiness to fall")
        self.assertEqual(http(broker.http, "/readyz")[0], 503)
        self.assertEqual(http(broker.http, "/healthz")[0], 200)
        broker.send(signal.SIGTERM)
        self.assertEqual(broker.wait(5), 143)
        self.fleet.database.thaw()
        broker.start()
        self.client.connect()
        support.wait_until(lambda: self.client.request("models")["ok"], 30, "the broker to be back")
        self.cancel(running)
        self.fleet.settle(60)
        states = dict(self.fleet.database.sql("SELECT id::text, state FROM scriptorium.tasks"))
        self.assertEqual({states.get(id) for id in ids}, {"succeeded"})
        self.fleet.check()

    def test_a_worker_drains_though_its_config_file_is_named_before_the_command(self):
        self.start(brokers=1, workers=1, worker_arguments=["--drain-timeout", "0.5"])
        worker = self.fleet.workers[0]
        self.assertEqual(worker.end(), 0)
        path = os.path.join(self.fleet.folder, "worker.json")
        with open(path, "w") as file:
            file.write("{}")
        worker.arguments = ["--config", path, *worker.arguments]
        worker.start()
        task = self.endless()
        self.assertEqual(worker.end(), 0)
        self.assertEqual(self.attempts(task), [(1, "released")])
        worker.start()
        self.wait_for_start(task)
        self.cancel(task)
        self.fleet.check()

    def test_a_worker_told_twice_stops_at_once_and_its_task_goes_on_elsewhere(self):
        self.start(brokers=1, workers=1, worker_arguments=["--drain-timeout", "600"])
        task = self.endless()
        worker = self.fleet.workers[0]
        worker.send(signal.SIGINT)
        support.wait_until(lambda: "draining" in http(self.http, "/readyz")[1], 5, "readiness to fall")
        self.assertTrue(worker.is_alive)
        worker.send(signal.SIGTERM)
        self.assertEqual(worker.wait(5), 143)
        worker.start()
        support.wait_until(lambda: self.attempts(task) == [(1, "lost"), (2, None)], 30, lambda: f"another attempt: {self.attempts(task)}")
        self.cancel(task)
        self.assertEqual(self.fleet.check()["cancelled"], 1)


class WholeService(unittest.TestCase):
    def test_each_worker_of_up_may_end_its_drain(self):
        """The one that is idle ends at once; the other one's task is neither lost nor cut off for that."""
        database = Database()
        self.addCleanup(database.remove)
        database.start()
        service = support.Service(
            workers=2, arguments=["--database-url", database.url(), "--drain-timeout", "120", "--threads", "1", "--slots", "4"])
        self.addCleanup(service.remove)
        service.import_reference()
        client = service.client()
        first, second = service.file["pids"]["workers"]

        def start():
            """A task of seconds that fills a worker, and the worker's process."""
            task = client.submit("generate", {**OneByOne.ON_AND_ON, "n": 4, "max_length": 65536})
            runs = """SELECT w.pid FROM scriptorium.tasks t JOIN scriptorium.attempts a ON a.task_id = t.id JOIN scriptorium.workers w ON w.id = a.worker
                      WHERE t.id = %s AND t.state = 'running'"""
            return task, support.wait_until(lambda: database.sql(runs, task), 20, "the task to run")[0][0]

        support.wait_until(lambda: database.sql("SELECT count(*) FROM scriptorium.workers") == [(2,)], 30, "both workers to have joined")
        # The worker that is waited for first is the idle one: a second task goes to who has free slots.
        task, worker = start()
        if worker == first:
            filler = task
            task, worker = start()
            client.ask("cancel", ids=[filler])
            client.result(filler)
        self.assertEqual(worker, second)
        ((began,),) = database.sql("SELECT clock_timestamp()")
        self.assertEqual(service.stop(seconds=200), 0)
        self.assertEqual(database.sql("SELECT attempt, outcome, finished_at > %s FROM scriptorium.attempts WHERE task_id = %s", began, task),
                         [(1, "succeeded", True)])  # fmt: skip
        # It says so where a worker ends in another way than in order.
        self.assertNotIn("worker-", service.said())


if __name__ == "__main__":
    unittest.main()
