"""The index over the words of stored texts: switched by `up` and `migrate`, under a service that works, and taken up after a cut."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

import database
import psycopg2
import support

INDEXES = """SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
    WHERE a.amname = 'gin' AND pg_get_indexdef(i.indexrelid) LIKE '%%text_search)'"""
FOUND = "SELECT count(*) FROM scriptorium.generations WHERE text_search @@ websearch_to_tsquery('simple', %s)"


class WholeService(unittest.TestCase):
    def test_up_drops_it_from_what_is_there_and_migrate_builds_it_beside_a_service_that_works(self):
        service = support.Service(workers=1)
        self.addCleanup(service.remove)
        service.import_reference()
        prompt, word = "the king", "the"
        client = service.client()
        client.generate(model="demo", prompt=prompt, max_length=8)
        whole = service.sql(INDEXES)[0][0]
        self.assertGreater(whole, 4)
        self.assertEqual(service.sql(FOUND, word), [(1,)])
        service.stop()

        again = support.Service(folder=service.folder, workers=1, arguments=["--no-text-search"])
        self.addCleanup(again.remove)
        self.assertEqual(again.sql(INDEXES), [(0,)])
        again.client().generate(model="demo", prompt=prompt, max_length=8)
        self.assertEqual(again.sql(FOUND, word), [(2,)])
        url = again.file["database_url"]
        self.assertIn("missing", support.run("migrate", "--status", "--database-url", url))

        # A client publishes all the while.
        client = again.client()
        tasks = [client.submit("generate", {"model": "demo", "prompt": prompt, "max_length": 8}) for _ in range(20)]
        said = json.loads(support.run("migrate", "--json", "--database-url", url, env=support.environment(SCRIPTORIUM_TEXT_SEARCH="true")))
        self.assertEqual(said, {"applied": [], "pending": [], "text_index": "stands", "text_index_change": "build"})
        self.assertEqual({client.result(task)["state"] for task in tasks}, {"succeeded"})
        self.assertEqual(again.sql(INDEXES), [(whole,)])
        self.assertEqual(again.sql(FOUND, word), [(22,)])


class Command(unittest.TestCase):
    def setUp(self):
        self.database = database.Database()
        self.addCleanup(self.database.remove)
        self.database.start()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def migrate(self, *arguments, **env):
        return support.run("migrate", *arguments, "--database-url", self.database.url(), env=support.environment(**env))

    def test_every_way_to_say_it_says_the_same(self):
        config = os.path.join(self.folder.name, "config.json")
        with open(config, "w") as file:
            json.dump({"no-text-search": True}, file)
        positive = os.path.join(self.folder.name, "positive.json")
        with open(positive, "w") as file:
            json.dump({"text-search": True}, file)
        self.assertIsNone(json.loads(self.migrate("--status", "--json"))["text_index"])
        self.assertEqual(json.loads(self.migrate("--dry-run", "--json", "--no-text-search"))["text_index_change"], "drop")
        self.assertIn("text index dropped", self.migrate("--no-text-search"))
        self.assertEqual(self.migrate("--no-text-search"), "The schema is up to date.\n")
        ways = [
            (["--text-search"], {}), (["--config", config], {}), ([], {"SCRIPTORIUM_TEXT_SEARCH": "1"}), ([], {"SCRIPTORIUM_TEXT_SEARCH": "0"}),
            ([], {"SCRIPTORIUM_NO_TEXT_SEARCH": "false"}), ([], {"SCRIPTORIUM_NO_TEXT_SEARCH": "true"}),
            (["--text-search"], {"SCRIPTORIUM_NO_TEXT_SEARCH": "true"}),
        ]  # fmt: skip
        # Whatever name each goes by, the environment wins over the file.
        ways += [(["--config", positive], {"SCRIPTORIUM_NO_TEXT_SEARCH": "true"}), (["--config", config], {"SCRIPTORIUM_TEXT_SEARCH": "true"})]
        expected = ["stands", "missing"] * 4 + ["stands"]
        for (arguments, env), state in zip(ways, expected):
            self.assertIn("would be", self.migrate("--dry-run", *arguments, **env), (arguments, env))
            self.migrate(*arguments, **env)
            self.assertIn(f"text index {state}", self.migrate("--status"))
            self.assertEqual(json.loads(self.migrate("--status", "--json"))["text_index"], state)
        self.migrate()
        self.assertIn("text index stands", self.migrate("--status"))

    def test_up_can_be_stopped_while_it_builds_and_what_is_half_built_is_told_and_finished(self):
        self.migrate("--no-text-search")
        holder = psycopg2.connect(self.database.url())
        self.addCleanup(holder.close)
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE scriptorium.generations IN ROW EXCLUSIVE MODE")
        up = subprocess.Popen(
            [
                support.PROGRAM, "up", "--text-search", "--data-dir", os.path.join(self.folder.name, "data"), "--workers", "0", "--database-url",
                self.database.url(),
            ],
            stderr=subprocess.PIPE, env=support.environment(),
        )  # fmt: skip
        self.addCleanup(up.stderr.close)
        self.addCleanup(up.kill)
        waiting = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%%' AND wait_event_type = 'Lock'"
        builder = support.wait_until(lambda: self.database.sql(waiting), 60, "the build to wait")[0][0]
        up.send_signal(signal.SIGINT)
        self.assertEqual(up.wait(20), 130)
        self.assertIn(b"text index is being built", up.stderr.read())
        self.assertIn("half built", self.migrate("--status"))
        # Its server sees that nobody waits for it any more, and lets go of it: the next one need not wait until it is done.
        here = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        support.wait_until(lambda: not self.database.sql(here, builder), 20, "the end of what was cut off")
        holder.rollback()
        self.assertIn("text index built", self.migrate("--text-search"))
        self.assertEqual(self.database.sql("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), [(0,)])


if __name__ == "__main__":
    unittest.main()
