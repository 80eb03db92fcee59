"""Kills at bad moments: nothing accepted is lost, nothing is recorded twice, and everything stops and starts again by itself."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import support


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class WorkersThatDie(unittest.TestCase):
    def setUp(self):
        self.service = support.Service(workers=2)
        self.addCleanup(self.service.remove)
        self.service.import_reference()

    def test_two_thousand_tasks_while_workers_are_killed(self):
        service, client = self.service, self.service.client()
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        stop = threading.Event()
        kills = []

        def kill_at_random():
            while not stop.wait(chance.uniform(0.5, 1.5)):
                pid = chance.choice(service.file["pids"]["workers"] or [0])
                if pid and alive(pid):
                    os.kill(pid, signal.SIGKILL)
                    kills.append(pid)

        killer = threading.Thread(target=kill_at_random)
        killer.start()
        ids = []
        try:
            for first in range(0, 2000, 100):
                tasks = [
                    {
                        "kind": "generate", "max_attempts": 100,
                        "params": {"model": "demo", "prompt": "the", "n": 1 + (first + i) % 3, "max_length": 10, "seed": first + i},
                    }  # fmt: skip
                    for i in range(100)
                ]
                ids += [t["id"] for t in client.ask("submit", tasks=tasks)["tasks"]]
                time.sleep(0.1)  # spreads the load over the kills; nothing waits on it
            support.wait_until(lambda: len(kills) >= 3, 30, "three kills")
        finally:
            stop.set()
            killer.join()
        self.assertEqual(len(set(ids)), 2000)

        def unfinished():
            return service.sql("SELECT count(*) FROM scriptorium.tasks WHERE state IN ('queued', 'running')")[0][0]

        support.wait_until(lambda: unfinished() == 0, 120, f"all tasks to end (seed {seed}, {len(kills)} kills)")
        states = dict(service.sql("SELECT state, count(*) FROM scriptorium.tasks GROUP BY state"))
        self.assertEqual(states, {"succeeded": 2000}, f"seed {seed}, {len(kills)} kills")
        wrong = service.sql(
            """SELECT t.id FROM scriptorium.tasks t LEFT JOIN scriptorium.generations g ON g.task_id = t.id
               GROUP BY t.id, t.params HAVING count(g.id) <> (t.params->>'n')::int OR count(DISTINCT g.sample) <> (t.params->>'n')::int"""
        )
        self.assertEqual(wrong, [], f"seed {seed}")
        twice = service.sql("SELECT task_id FROM scriptorium.attempts WHERE outcome = 'succeeded' GROUP BY task_id HAVING count(*) <> 1")
        self.assertEqual(twice, [], f"seed {seed}")

    def test_a_finetune_goes_on_with_the_next_worker(self):
        service, client = self.service, self.service.client()
        text = open(os.path.join(support.FIXTURES, "corpus.txt")).read()
        task = client.submit(
            "finetune",
            {"config": "gpt2-cpu", "output": "phoenix", "dataset": {"text": text}, "tokenizer": {"train": {"vocab_size": 400}}, "batch_size": 4,
             "block_size": 32, "num_steps": 400, "save_every": 50, "generate_every": 0, "seed": 3},
        )  # fmt: skip
        support.wait_until(
            lambda: service.sql("SELECT 1 FROM scriptorium.checkpoints WHERE task_id = %s", task), 60, "the first checkpoint"
        )
        for pid in service.file["pids"]["workers"]:
            os.kill(pid, signal.SIGKILL)
        status = client.result(task, 120)
        self.assertEqual(status["state"], "succeeded", status)
        self.assertGreaterEqual(status["attempt"], 2)
        killed = status["result"]["checkpoint"]["sha256"]
        steps = service.sql("SELECT count(*), count(DISTINCT step), max(step) FROM scriptorium.training_steps WHERE task_id = %s", task)[0]
        self.assertEqual(steps[0], steps[1])
        self.assertEqual(steps[2], 400)
        # An interrupted run ends in the same bits as one that was not.
        params = service.sql("SELECT params FROM scriptorium.tasks WHERE id = %s", task)[0][0]
        whole = client.result(client.submit("finetune", {**params, "output": "undisturbed"}), 120)
        self.assertEqual(whole["result"]["checkpoint"]["sha256"], killed)


class Supervision(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="scriptorium-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def start(self):
        service = support.Service(folder=self.folder)
        self.addCleanup(service.stop)
        return service

    def test_an_interrupt_stops_everything_in_seconds(self):
        service = self.start()
        pids = service.file["pids"]
        children = [pids["postgres"], pids["broker"], *pids["workers"]]
        self.assertTrue(all(map(alive, children)))
        begun = time.monotonic()
        self.assertEqual(service.stop(signal.SIGINT), 130)
        self.assertLess(time.monotonic() - begun, 15)
        self.assertFalse(any(map(alive, children)))
        with open(os.path.join(service.data, "logs/postgres.log")) as log:
            self.assertIn("database system is shut down", log.read())

    def test_a_termination_ends_with_status_0(self):
        self.assertEqual(self.start().stop(signal.SIGTERM), 0)

    def stop_early(self, *arguments, when, number):
        """Stops `up` before it is ready; its exit status."""
        data = os.path.join(self.folder, "data")
        os.chmod(self.folder, 0o755)
        up = subprocess.Popen(
            [support.PROGRAM, "up", "--data-dir", data, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=support.environment()
        )
        self.addCleanup(up.wait)
        self.addCleanup(up.kill)
        when(data)
        up.send_signal(number)
        return up.wait(20)

    def test_a_signal_while_postgresql_is_made_ends_it_soon_and_leaves_none_behind(self):
        def making(data):
            support.wait_until(lambda: os.path.exists(os.path.join(data, "postgres/PG_VERSION")), 60, "initdb to begin")

        self.assertEqual(self.stop_early(when=making, number=signal.SIGTERM), 0)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "data/postgres/postmaster.pid")))
        # What it had made is of use to the next.
        self.assertEqual(self.start().stop(), 0)

    def test_a_signal_while_a_server_of_the_user_is_only_starting_ends_it_soon(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(60)

            def asked(_):
                # Such a server takes connections, and lets go of them.
                server.accept()[0].close()
                server.close()

            url = f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/none"
            self.assertEqual(self.stop_early("--database-url", url, when=asked, number=signal.SIGINT), 130)

    def test_a_second_up_on_the_same_folder_is_refused(self):
        service = self.start()
        said = support.run("up", "--data-dir", service.data, status=2)
        self.assertIn("another", said)

    def test_a_killed_supervisor_recovers_by_itself(self):
        service = self.start()
        service.import_reference()
        client = service.client()
        done = client.generate(model="demo", prompt="the", max_length=12, seed=1)
        pids = service.file["pids"]
        service.process.kill()
        service.process.wait()
        support.wait_until(lambda: not any(map(alive, [pids["broker"], *pids["workers"]])), 15, "the orphans to end")
        second = self.start()
        self.assertNotEqual(second.file["pids"]["postgres"], pids["postgres"])
        rows = second.sql("SELECT text FROM scriptorium.generations WHERE task_id = %s", done["id"])
        self.assertEqual(rows, [(done["result"]["generations"][0]["text"],)])
        again = second.client().generate(model="demo", prompt="the", max_length=12, seed=1)
        self.assertEqual(again["result"]["generations"][0]["text"], rows[0][0])

    def test_a_broker_whose_port_is_taken_says_so_and_ends(self):
        file = self.start().file
        said = support.run(
            "broker", "--artifacts", file["artifacts"], "--tasks-endpoint", file["tasks"], "--events-endpoint", "tcp://127.0.0.1:*",
            "--workers-endpoint", "tcp://127.0.0.1:*", "--peers-endpoint", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0",
            status=1, timeout=30, env=support.environment(DATABASE_URL=file["database_url"]),
        )  # fmt: skip
        self.assertIn(file["tasks"], said)

    def test_a_dead_child_is_started_again(self):
        service = self.start()
        service.import_reference()
        for role in ("broker", "postgres"):
            pid = service.file["pids"][role]
            os.kill(pid, signal.SIGKILL)
            support.wait_until(lambda: service.file["pids"][role] not in (pid, None), 40, f"a new {role}")
            client = service.client()

            def works():
                try:
                    return client.request("ping")["ok"] and client.request(
                        "submit", task={"kind": "generate", "params": {"model": "demo", "max_length": 8}}
                    )["ok"]
                except support.zmq.ZMQError:
                    client.connect()

            support.wait_until(works, 60, f"the service after the end of its {role}")


class ScalingOut(unittest.TestCase):
    def test_a_second_worker_and_a_second_broker_by_hand(self):
        service = support.Service()
        self.addCleanup(service.remove)
        service.import_reference()
        file = service.file
        environment = support.environment(DATABASE_URL=file["database_url"])
        log = open(os.path.join(service.folder, "second.log"), "ab")
        self.addCleanup(log.close)
        ready = os.path.join(service.folder, "ready")
        broker = subprocess.Popen(
            [support.PROGRAM, "broker", "--artifacts", file["artifacts"], "--tasks-endpoint", "tcp://127.0.0.1:*", "--events-endpoint",
             "tcp://127.0.0.1:*", "--workers-endpoint", "tcp://127.0.0.1:*", "--peers-endpoint", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0",
             "--json"], env=environment, stdout=open(ready, "wb"), stderr=log,
        )  # fmt: skip
        self.addCleanup(broker.wait)
        self.addCleanup(broker.kill)

        def endpoints():
            with open(ready) as text:
                line = text.readline()
            return line.endswith("\n") and support.json.loads(line)

        second = support.wait_until(endpoints, 30, "the second broker")
        worker = subprocess.Popen(
            [support.PROGRAM, "worker", "--broker", second["workers"], "--artifacts", file["artifacts"], "--cache-dir",
             os.path.join(service.folder, "cache")], env=support.environment(), stdout=log, stderr=log,
        )  # fmt: skip
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        support.wait_until(lambda: service.sql("SELECT count(*) FROM scriptorium.workers")[0][0] == 2, 30, "both workers to be joined")
        # Any broker serves any task: published at one, awaited at the other.
        here, there = service.client(), support.Client(second["tasks"])
        for one, other in ((here, there), (there, here)):
            tasks = [one.submit("generate", {"model": "demo", "max_length": 10, "seed": i}) for i in range(20)]
            for task in tasks:
                self.assertEqual(other.result(task, 30)["state"], "succeeded")
        # The first worker goes; the second one goes on alone.
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0)
        broker.send_signal(signal.SIGTERM)
        self.assertEqual(broker.wait(30), 0)
        here.generate(model="demo", max_length=10)


if __name__ == "__main__":
    unittest.main()
