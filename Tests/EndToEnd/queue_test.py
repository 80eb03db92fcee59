"""The queue as its users know it: publishing in SQL, and what queues, schedules and retention promise."""

import contextlib
import json
import statistics
import threading
import time
import unittest

import psycopg2
import support
import zmq

SMALL = {"model": "demo", "prompt": "the", "max_length": 8}


class PublishingInSQL(support.ServiceTestCase):
    def connect(self):
        connection = psycopg2.connect(self.service.file["database_url"])
        self.addCleanup(connection.close)
        return connection

    def wait_until_idle(self):
        support.wait_until(lambda: self.service.sql("SELECT 1 FROM scriptorium.brokers WHERE idle"), 10, "the broker to be idle")

    def started(self, subscriber, task):
        """When the event `started` of a task came, by the monotonic clock; events of others are read over."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with contextlib.suppress(zmq.Again):
                _, payload = subscriber.recv_multipart()
                event = json.loads(payload)
                if (event["task"], event["event"]) == (task, "started"):
                    return time.monotonic()
        raise AssertionError("a committed task was not started within 5 s")

    def subscriber(self, client):
        """A subscription to all events, once they are seen to come."""
        subscriber = zmq.Context.instance().socket(zmq.SUB)
        self.addCleanup(subscriber.close, 0)
        subscriber.setsockopt(zmq.RCVTIMEO, 200)
        subscriber.connect(self.service.file["events"])
        subscriber.subscribe(b"task.")

        def is_heard():
            client.result(client.submit("generate", SMALL))
            return subscriber.poll(200)

        support.wait_until(is_heard, 10, "the first event")
        return subscriber

    def test_a_committed_task_starts_at_once_and_one_rolled_back_never(self):
        connection = self.connect()
        client = self.service.client()
        subscriber = self.subscriber(client)
        leased, started = [], []
        for _ in range(20):
            self.wait_until_idle()
            with connection.cursor() as cursor:
                cursor.execute("SELECT scriptorium.submit('generate', %s)", [json.dumps(SMALL)])
                gone = cursor.fetchone()[0]
                connection.rollback()
                cursor.execute("SELECT scriptorium.submit('generate', %s)", [json.dumps(SMALL)])
                task = cursor.fetchone()[0]
                cursor.execute("SELECT clock_timestamp()")
                before_commit = cursor.fetchone()[0]
                connection.commit()
            committed = time.monotonic()
            started.append((self.started(subscriber, task) - committed) * 1000)
            self.assertEqual(client.result(task, 5)["state"], "succeeded")
            (start,) = self.service.sql("SELECT started_at FROM scriptorium.tasks WHERE id = %s", task)[0]
            leased.append((start - before_commit).total_seconds() * 1000)
            self.assertEqual(client.request("get", ids=[gone])["error"]["code"], "not_found")
        for what, delays in (("its lease", leased), ("the event started", started)):
            support.say(f"from commit to {what}: median {statistics.median(delays):.1f} ms, longest {max(delays):.1f} ms")

    def test_an_open_transaction_that_holds_a_task_stalls_no_other(self):
        client, connection = self.service.client(), self.connect()
        slow = client.submit("generate", {**SMALL, "n": 400, "max_length": 60})
        with connection.cursor() as cursor:
            cursor.execute("SELECT scriptorium.submit('generate', %s, after => ARRAY[%s::uuid])", [json.dumps(SMALL), slow])
            child = cursor.fetchone()[0]
            cursor.execute("SELECT state FROM scriptorium.tasks WHERE id = %s", [slow])
            self.assertIn(cursor.fetchone()[0], ("queued", "running"), "it ended before it was held: make it longer")
        # Its result meets the lock. Those of others, and what others publish, do not wait for it.
        meets = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        support.wait_until(lambda: self.service.sql(meets), 60, "the result to meet the lock")
        for _ in range(3):
            tasks = [client.submit("generate", {**SMALL, "seed": seed}) for seed in range(10)]
            tasks += [row[0] for seed in range(10) for row in self.service.sql("SELECT scriptorium.submit('generate', %s)", json.dumps(SMALL))]
            for task in tasks:
                self.assertEqual(client.result(task, 30)["state"], "succeeded")
        self.assertEqual(client.ask("get", ids=[slow])["tasks"][0]["state"], "running")
        connection.commit()
        self.assertEqual(client.result(slow, 30)["state"], "succeeded")
        self.assertEqual(client.result(child, 30)["state"], "succeeded")

    def test_a_task_is_cancelled_in_a_transaction_whether_it_runs_or_waits(self):
        endless = {**SMALL, "n": 16, "max_length": 65536, "sliding_window": True, "banned_tokens": [0]}
        client, connection = self.service.client(), self.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute("SET ROLE scriptorium_publisher")
        for members, state in (({}, "running"), ({"run_at": "2099-01-01T00:00:00Z"}, "cancelled")):
            with self.subTest(state):
                dealer = support.Dealer(self.service.file["tasks"])
                self.addCleanup(dealer.close)
                dealer.send("submit", task={"kind": "generate", "params": endless, **members}, watch=True)
                task = dealer.receive()["tasks"][0]["id"]
                stands = lambda: self.service.sql("SELECT state, cancel_requested FROM scriptorium.tasks WHERE id = %s", task)
                events = [dealer.receive()["event"]["event"]]
                while state == "running" and events[-1] != "started":
                    events.append(dealer.receive()["event"]["event"])
                before = stands()
                for end in (connection.rollback, connection.commit):
                    self.assertEqual(stands(), before)
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT scriptorium.cancel(%s)", [task])
                        self.assertEqual(cursor.fetchone(), (state,))
                    end()
                while events[-1] not in ("succeeded", "failed", "cancelled"):
                    events.append(dealer.receive()["event"]["event"])
                shown = [event for event in events if event != "progress"]
                self.assertEqual(shown, ["queued", "started", "cancelled"] if state == "running" else ["queued", "cancelled"])
                self.assertEqual(client.result(task)["state"], "cancelled")
                self.assertEqual(stands(), [("cancelled", False)])
                self.assertEqual(
                    self.service.sql("SELECT attempt, outcome FROM scriptorium.attempts WHERE task_id = %s", task), [(1, "cancelled")] if state == "running" else [])
                self.assertEqual(self.service.sql("SELECT count(*) FROM scriptorium.generations WHERE task_id = %s", task), [(0,)])
                # Once more changes nothing.
                self.assertEqual(self.service.sql("SELECT scriptorium.cancel(%s)", task), [("cancelled",)])
        with self.assertRaises(psycopg2.errors.NoDataFound):
            self.service.sql("SELECT scriptorium.cancel('01890000-0000-7000-8000-000000000001')")
        # Its slots are free again.
        client.generate(**SMALL, n=16)

    def test_many_at_once_are_all_or_none_and_in_order(self):
        connection = self.connect()
        tasks = [{"kind": "generate", "params": {**SMALL, "seed": seed}, "tags": {"n": str(seed)}} for seed in range(300)]
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT scriptorium.submit_many(%s)", [json.dumps(tasks)])
            ids = [row[0] for row in cursor.fetchall()]
        client = self.service.client()
        for seed, task in enumerate(ids):
            status = client.result(task)
            self.assertEqual((status["state"], status["params"]["seed"], status["tags"]), ("succeeded", seed, {"n": str(seed)}))
        before = self.service.sql("SELECT count(*) FROM scriptorium.tasks")[0][0]
        with self.assertRaises(psycopg2.errors.InvalidParameterValue):
            self.service.sql("SELECT scriptorium.submit_many(%s)", json.dumps([tasks[0], {"kind": "generate"}]))
        self.assertEqual(self.service.sql("SELECT count(*) FROM scriptorium.tasks")[0][0], before)

    def test_what_cannot_be_valid_ends_with_the_error_of_a_client(self):
        client = self.service.client()
        cases = [
            ({"priority": 1000}, "priority => 1000"), ({"max_attempts": 0}, "max_attempts => 0"), ({"timeout_s": -1}, "timeout_s => -1"),
            ({"queue": "no blanks"}, "queue => 'no blanks'"), ({"key": "k" * 257}, "key => repeat('k', 257)"),
            ({"tags": {"a": "t" * 257}}, "tags => jsonb_build_object('a', repeat('t', 257))"),
        ]  # fmt: skip
        for members, arguments in cases:
            task = self.service.sql(f"SELECT scriptorium.submit('generate', %s, {arguments})", json.dumps(SMALL))[0][0]
            status = client.result(task, 10)
            refused = client.request("submit", task={"kind": "generate", "params": SMALL, **members})["error"]
            self.assertTrue(refused["field"].startswith("task."), refused)
            self.assertEqual((status["state"], status["error"]), ("failed", {**refused, "field": refused["field"].removeprefix("task.")}))

    def test_of_fifty_keyed_submits_only_those_whose_keys_are_held_are_busy(self):
        connection = self.connect()
        held = ("held 3", "held 17", "held 40")
        with connection.cursor() as cursor:
            for key in held:
                cursor.execute("SELECT scriptorium.submit('generate', %s, key => %s)", [json.dumps(SMALL), key])
        dealer = support.Dealer(self.service.file["tasks"])
        self.addCleanup(dealer.close)
        keys = {}
        for number in range(50):
            task = {"kind": "generate", "key": f"held {number}", "params": SMALL}
            keys[dealer.send("submit", task=task)] = task["key"]
        replies = [dealer.receive() for _ in range(50)]
        # That the others do not wait for them is HeldKeyTests' to show, without a clock.
        refused = {keys[reply["re"]]: reply["error"]["code"] for reply in replies if not reply["ok"]}
        self.assertEqual(refused, {key: "busy" for key in held})
        connection.rollback()
        client = self.service.client()
        for key in held:
            task = client.ask("submit", task={"kind": "generate", "key": key, "params": SMALL})["tasks"][0]
            self.assertFalse(task["duplicate"])
            self.assertEqual(client.result(task["id"])["state"], "succeeded")

    def test_sixty_four_publishers(self):
        each, publishers = 25, 64
        failures = []

        def publish():
            try:
                connection = psycopg2.connect(self.service.file["database_url"])
                connection.autocommit = True
                with connection.cursor() as cursor:
                    for _ in range(each):
                        cursor.execute("SELECT scriptorium.submit('generate', %s, tags => '{\"from\": \"crowd\"}')", [json.dumps(SMALL)])
                connection.close()
            except psycopg2.Error as error:
                failures.append(error)

        self.wait_until_idle()
        threads = [threading.Thread(target=publish) for _ in range(publishers)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
        self.assertEqual(failures, [])
        query = """SELECT count(*) FROM scriptorium.tasks WHERE tags @> '{"from": "crowd"}' AND state = 'succeeded'"""
        support.wait_until(lambda: self.service.sql(query)[0][0] == each * publishers, 90, "all of them to succeed")
        support.say(f"{publishers} publishers: {each * publishers / seconds:.0f} tasks a second committed, all recorded after "
              f"{time.monotonic() - begun:.1f} s")  # fmt: skip


class QueuesAndSchedules(support.ServiceTestCase):
    def test_a_paused_queue_waits_and_a_limited_one_runs_no_more_than_it_may(self):
        service, client = self.service, self.service.client()
        service.run("queue", "pause", "night")
        ids = [client.submit("generate", SMALL, queue="night") for _ in range(20)]
        self.assertEqual(client.ask("get", ids=ids[:1])["tasks"][0]["waiting_for"], "paused")
        row = json.loads(service.run("queue", "list", "--json").splitlines()[0])
        self.assertEqual((row["name"], row["paused"], row["depth"], row["running"]), ("night", True, 20, 0))
        service.run("queue", "limit", "night", 2)
        self.assertIn("paused", service.run("queue", "resume", "night", "--json"))
        for task in ids:
            self.assertEqual(client.result(task)["state"], "succeeded")
        together = """SELECT max(n) FROM (SELECT count(*) AS n FROM scriptorium.attempts a JOIN scriptorium.attempts b
            ON b.started_at <= a.started_at AND b.finished_at > a.started_at JOIN scriptorium.tasks t ON t.id = a.task_id AND t.queue = 'night'
            JOIN scriptorium.tasks u ON u.id = b.task_id AND u.queue = 'night' GROUP BY a.task_id) x"""
        self.assertLessEqual(service.sql(together)[0][0], 2)
        self.assertIn("none", service.run("queue", "limit", "night", "none"))
        self.assertIn("limit", service.run("queue", "limit", "night", "many", status=2))

    def test_a_finetune_gets_a_worker_though_another_queue_never_runs_dry(self):
        service, client = self.service, self.service.client()
        generate = {"kind": "generate", "queue": "stream", "params": {**SMALL, "max_length": 48, "n": 4}}
        waiting = "SELECT count(*) FROM scriptorium.hot WHERE queue = 'stream' AND lease IS NULL"
        finetune = None

        def has_ended():
            nonlocal finetune
            if service.sql(waiting)[0][0] < 50:
                client.ask("submit", tasks=[generate] * 50)
            elif finetune is None:
                params = {"config": "gpt2-cpu", "output": "between", "dataset": {"text": "the light of the morning " * 200}, "block_size": 16,
                          "tokenizer": {"train": {"vocab_size": 300}}, "num_steps": 3, "generate_every": 0}  # fmt: skip
                finetune = client.submit("finetune", params, queue="train")
            return finetune and client.ask("get", ids=[finetune])["tasks"][0]["state"] == "succeeded"

        support.wait_until(has_ended, 90, lambda: f"the finetune: {service.run('explain', finetune)}")
        self.assertGreater(service.sql(waiting)[0][0], 0)
        told = dict(service.sql("SELECT task, scriptorium.cancel(task) FROM scriptorium.hot WHERE queue = 'stream'"))
        self.assertIn("cancelled", told.values())
        support.wait_until(lambda: service.sql("SELECT count(*) FROM scriptorium.hot WHERE queue = 'stream'")[0][0] == 0, 30, "what runs to stop")
        ends = dict(service.sql("SELECT id, state FROM scriptorium.tasks WHERE id = ANY (%s::uuid[])", list(told)))
        # One that ran may have ended before it was reached.
        allowed = {"cancelled": {"cancelled"}, "running": {"cancelled", "succeeded"}, "succeeded": {"succeeded"}}
        self.assertEqual({id: (state, ends.get(id)) for id, state in told.items() if ends.get(id) not in allowed[state]}, {})

    def test_a_waiting_task_is_explained(self):
        service, client = self.service, self.service.client()
        service.run("queue", "pause", "dusk")
        ids = [client.submit("generate", SMALL, queue="dusk", key=f"dusk {n}") for n in range(3)]
        later = client.submit("generate", SMALL, queue="dusk", run_at="2100-01-01T00:00:00Z")
        self.assertIn("for its queue, which is paused; 2 of its queue are before it", service.run("explain", sorted(ids)[2]))
        self.assertIn("key dusk 0", service.run("explain", ids[0]))
        self.assertIn("for its time, 2100-01-01 00:00:00 (in ", service.run("explain", later, env=support.environment(TZ="UTC")))
        told = json.loads(service.run("explain", ids[0], "--json"))
        self.assertEqual((told["task"]["waiting_for"], told["queue"]["paused"], told["queue"]["depth"]), ("paused", True, 4))
        self.assertEqual(client.request("explain", task="00000000-0000-7000-8000-000000000000")["error"],
                         {"code": "not_found", "message": "there is no such task", "field": "task"})  # fmt: skip
        self.assertEqual(client.request("retry", ids=[ids[0]])["error"]["code"], "conflict")
        service.run("cancel", *ids, later)
        self.assertEqual(service.run("retry", *ids).count("queued"), 3)
        service.run("queue", "resume", "dusk")
        for task in ids:
            self.assertEqual(client.result(task)["state"], "succeeded")
        self.assertIn("succeeded", service.run("explain", ids[0]))

    def test_a_schedule_makes_a_task_a_tick(self):
        service = self.service
        service.run("schedule", "add", "often", "--cron", "0 0 1 1 *", "--params", json.dumps(SMALL), "--priority", 3)
        due = service.sql("SELECT next_run_at FROM scriptorium.schedules")
        support.wait_until(lambda: service.sql("SELECT next_run_at FROM scriptorium.schedules")[0][0], 10, f"its next time, not {due}")
        # Nobody waits a year for a test: its time comes now, and no other comes while this looks.
        service.sql("UPDATE scriptorium.schedules SET next_run_at = date_trunc('minute', now())")
        query = "SELECT state, priority, tags ->> 'tick' FROM scriptorium.tasks WHERE tags ->> 'schedule' = 'often' ORDER BY created_at"
        rows = support.wait_until(lambda: [r for r in service.sql(query) if r[0] == "succeeded"], 15, "its task to succeed")
        self.assertEqual(rows[0][1], 3)
        service.run("schedule", "disable", "often")
        row = json.loads(service.run("schedule", "list", "--json").splitlines()[0])
        self.assertEqual((row["name"], row["enabled"], row["cron"], row["options"]), ("often", False, "0 0 1 1 *", {"priority": 3}))
        self.assertEqual(row["last_run_at"][:16], rows[0][2][:16])
        refused = service.run("schedule", "add", "bad", "--cron", "61 * * * *", "--params", json.dumps(SMALL), status=2)
        self.assertIn("the minute field of cron has a value that is not in 0 … 59", refused)
        self.assertIn("schedule.params.top_p", service.run("schedule", "add", "bad", "--cron", "@daily", "--params", '{"model": "demo", "top_p": 7}', status=2))
        with self.assertRaisesRegex(psycopg2.Error, "the minute field of cron has a value that is not in 0 … 59"):
            service.sql("INSERT INTO scriptorium.schedules (name, cron, kind, params) VALUES ('bad', '61 * * * *', 'generate', '{}')")
        service.run("schedule", "remove", "often")
        self.assertEqual(service.sql("SELECT count(*) FROM scriptorium.schedules"), [(0,)])


if __name__ == "__main__":
    unittest.main()
