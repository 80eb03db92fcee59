"""A pooler between: publishers in SQL may share one, brokers are refused behind one that pools transactions.

Skipped where Debian's package pgbouncer is missing (`apt-get install pgbouncer`; the tests start one of their own).
"""

import contextlib
import os
import shutil
import subprocess
import unittest

import psycopg2

import database
import fleet
import support

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Pooler:
    """One pgbouncer in front of a database."""

    def __init__(self, behind, mode, processes=20):
        self.port = database.free_port()
        self.log = os.path.join(behind.folder, f"pooler-{mode}.log")
        path = os.path.join(behind.folder, f"pooler-{mode}.ini")
        with open(path, "w") as file:
            file.write(
                f"[databases]\npostgres = host={behind.host} port={behind.port} user=postgres\n"
                f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n"
                f"default_pool_size = {processes}\nignore_startup_parameters = extra_float_digits\n")  # fmt: skip
        self.process = database.spawn([PGBOUNCER, path], support.environment(), self.log, prefix=database.Database._as_owner())
        support.wait_until(self.answers, 30, "pgbouncer to answer")

    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def answers(self):
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(self.url(), connect_timeout=2).close()
            return True
        return False

    def remove(self):
        self.process.terminate()
        self.process.wait(30)


@unittest.skipUnless(PGBOUNCER, "no pooler (pgbouncer)")
class Poolers(fleet.FleetTestCase):
    def start(self, mode, **options):
        """A database and a pooler in front of it."""
        self.database = database.Database()
        self.addCleanup(self.database.remove)
        self.database.start()
        self.database.migrate()
        pooler = Pooler(self.database, mode, **options)
        self.addCleanup(pooler.remove)
        return pooler

    def run_fleet(self, url):
        self.fleet = self.make(self.database, brokers=1, workers=1, broker_url=lambda index: url)
        client = support.Client(self.fleet.endpoints[0])
        self.addCleanup(client.close)
        return client

    def test_publishers_pool_their_transactions_and_brokers_may_not(self):
        pooler = self.start("transaction")
        for command in (
            ["broker", "--artifacts", os.path.join(self.database.folder, "artifacts"), "--http", "127.0.0.1:0"],
            ["migrate"],
        ):  # fmt: skip
            said = support.run(*command, status=69, env=support.environment(DATABASE_URL=pooler.url()))
            self.assertIn("a pooler of transactions stands between", said)
        doctor = subprocess.run(
            [support.PROGRAM, "doctor", "--database-url", pooler.url()], capture_output=True, text=True, timeout=60, env=support.environment())
        self.assertIn("through a pooler of transactions", doctor.stdout)

        client = self.run_fleet(self.database.url())
        with psycopg2.connect(pooler.url()) as publisher, publisher.cursor() as cursor:
            cursor.execute("""SELECT scriptorium.submit('generate', '{"model": "demo", "prompt": "In the", "max_length": 8}')""")
            (task,) = cursor.fetchone()
        publisher.close()
        self.assertEqual(client.result(task)["state"], "succeeded")

    def test_a_broker_works_behind_a_pooler_of_sessions_that_has_no_connection_to_spare(self):
        client = self.run_fleet(self.start("session", processes=8).url())
        for _ in range(3):
            self.assertEqual(client.generate(model="demo", prompt="In the", max_length=8)["state"], "succeeded")
        self.fleet.settle(60)
        self.fleet.check()


if __name__ == "__main__":
    unittest.main()
