"""Brokers that are told how long to keep history drop its months, and nothing else."""

import datetime
import json
import subprocess
import unittest
import uuid

import fleet
import support


def month(ago):
    """The first day of a month."""
    today = datetime.datetime.now(datetime.timezone.utc)
    index = today.year * 12 + today.month - 1 - ago
    return datetime.datetime(index // 12, index % 12 + 1, 1, tzinfo=datetime.timezone.utc)


def suffix(ago):
    """How the partitions of a month end."""
    return month(ago).strftime("_%Y_%m")


def id_of(ago):
    """A version-7 id of the fourth day of a month."""
    at = int((month(ago) + datetime.timedelta(days=3)).timestamp() * 1000)
    return str(uuid.UUID(int=(at << 80) | (7 << 76) | (2 << 62) | (uuid.uuid4().int & ((1 << 62) - 1))))


class RetentionTest(fleet.FleetTestCase):
    """Two brokers on a history of which a part is older than they keep."""

    def ended(self, database, ago):
        """A task with a key and a text, both of a month that is over."""
        task, text = id_of(ago), id_of(ago)
        database.sql(
            f"""
            SELECT scriptorium.make_partitions('{month(ago).isoformat()}', 1);
            INSERT INTO scriptorium.task (id, created_at, kind, queue, priority, max_attempts, seed_assigned, run_at, key, client, params, resolved)
            VALUES ('{task}', scriptorium.uuid_time('{task}'), 'generate', 'default', 0, 3, false, now(), 'key {ago}', '', '{{"model": "demo"}}', '{{}}');
            INSERT INTO scriptorium.task_keys (queue, key, task) VALUES ('default', 'key {ago}', '{task}');
            INSERT INTO scriptorium.outcome (task, created_at, finished_at, attempt, failures, losses, state, lease, started_at, ending)
            VALUES ('{task}', scriptorium.uuid_time('{task}'), now(), 1, 0, 0, 'succeeded', gen_random_uuid(), now(), 'succeeded');
            INSERT INTO scriptorium.generations (
                id, task_id, sample, prompt_index, draw, attempt, model, checkpoint_sha256, prompt, text, seed, seed_assigned, rng, numerics, params,
                precision, prompt_token_ids, token_ids, prompt_tokens, completion_tokens, finish_reason, created_at)
            VALUES (
                '{text}', '{task}', 0, 0, 0, 1, 'demo', '', '', 'a text', 1, false, 'philox', 'float32/1', '{{}}',
                'float32', '{{}}', '{{}}', 0, 0, 'eos', scriptorium.uuid_time('{text}'))
            """)
        return task

    def partitions(self, table):
        """A table's months, as the ends of its partitions' names."""
        rows = self.database.sql("SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = ('scriptorium.' || %s)::regclass", table)
        return {name for (name,) in rows}

    def said(self, message):
        """How many lines of the brokers' logs hold a message."""
        found = 0
        for broker in self.fleet.brokers:
            with open(broker.log, errors="replace") as log:
                found += sum(message in line for line in log)
        return found

    def doctor(self):
        """What doctor finds of retention, with a broker's own rights."""
        done = subprocess.run(
            [support.PROGRAM, "doctor", "--json", "--database-url", self.database.url("scriptorium_broker")],
            capture_output=True, env=support.environment(), cwd=self.fleet.folder, timeout=60,
        )  # fmt: skip
        return [finding for finding in map(json.loads, done.stdout.splitlines()) if finding["check"] == "retention"]

    def test_months_that_are_over_for_long_enough_go_once_and_the_rest_of_the_history_stays(self):
        self.fleet = self.make()
        self.database = database = self.fleet.database
        oldest, held, young = (self.ended(database, ago) for ago in (8, 6, 3))
        publish = "SELECT scriptorium.submit('generate', '{\"model\": \"demo\"}', after => ARRAY[%s]::uuid[], run_at => now() + interval '1 day')"
        child = database.sql(publish, held)[0][0]
        before = {table: self.partitions(table) for table in ("task", "outcome", "tries", "generations")}
        for broker in self.fleet.brokers:
            broker.end()
            broker.arguments += ["--retain-tasks", "130d", "--retain-generations", "8w"]
        for broker in self.fleet.brokers:
            broker.start()

        # Texts are kept for less long than tasks. Months that are young, and those that a waiting task names, stay.
        expected = {table: months - {suffix(8)} for table, months in before.items()}
        expected["generations"] -= {suffix(3)}
        support.wait_until(
            lambda: {table: self.partitions(table) for table in before} == expected, 60,
            lambda: f"the months to go: {expected}" + "".join(broker.said() for broker in self.fleet.brokers))  # fmt: skip
        support.wait_until(self.fleet.is_ready, 60, "the brokers to be back")
        client = support.Client(self.fleet.endpoints[0])
        self.addCleanup(client.close)
        self.assertEqual(client.request("wait", task=oldest, timeout_ms=0)["error"]["code"], "not_found")
        self.assertEqual(client.result(young)["result"], {"expired": True})
        self.assertEqual(client.result(held)["result"]["generations"][0]["text"], "a text")
        # Their keys go, and the log says so, after the months have gone.
        keys = [("key 3",), ("key 6",)]
        support.wait_until(lambda: database.sql("SELECT key FROM scriptorium.task_keys ORDER BY key") == keys, 30, f"all keys to go but {keys}")
        support.wait_until(lambda: self.said("month dropped") >= 3 and self.said("month held back") >= 2, 30, "a broker to say what it did")

        # One of the brokers did it, each month once, and said so; what is held back is named there and by doctor.
        self.assertEqual((self.said("month dropped"), self.said("month held back")), (3, 2))
        findings = self.doctor()
        self.assertEqual([finding["verdict"] for finding in findings], ["warn", "warn"])
        for finding in findings:
            self.assertIn(child, finding["found"])

        # The service works, and the months go once nothing holds them.
        self.assertEqual(client.generate(model="demo", prompt="In the", max_length=8)["state"], "succeeded")
        self.assertEqual(client.ask("cancel", ids=[child])["tasks"][0]["state"], "cancelled")
        database.sql("UPDATE scriptorium.retention SET looked_at = looked_at - interval '1 hour'")
        self.fleet.brokers[0].end()
        self.fleet.brokers[0].start()
        expected = {table: months - {suffix(6)} for table, months in expected.items()}
        support.wait_until(lambda: {table: self.partitions(table) for table in before} == expected, 60, "the held months to go")
        self.assertEqual([finding["verdict"] for finding in self.doctor()], ["ok"])
        self.assertEqual(client.result(young)["state"], "succeeded")

    def test_up_hands_the_periods_to_its_broker(self):
        service = support.Service(workers=0, arguments=["--retain-tasks", "26w", "--retain-generations", "36h"])
        self.addCleanup(service.remove)
        rows = "SELECT history, extract(epoch FROM keep)::int FROM scriptorium.retention ORDER BY history"
        support.wait_until(lambda: len(service.sql(rows)) == 2, 60, "the broker to look")
        self.assertEqual(service.sql(rows), [("generations", 36 * 3600), ("tasks", 26 * 7 * 86400)])


if __name__ == "__main__":
    unittest.main()
