"""How brokers reach their database: a login with few rights, TLS that proves the server, and commits that are a promise."""

import os
import shutil
import subprocess
import unittest

import fleet
import support
from database import Database


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder, name):
    """A certificate authority of our own."""
    openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt",
        "-days", "2", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip


def make_certificate(folder, authority, host):
    """A server's certificate for one host name."""
    openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "server.key", "-out", "server.csr",
        "-subj", "/CN=server")  # fmt: skip
    with open(os.path.join(folder, "server.ext"), "w") as file:
        file.write(f"subjectAltName=DNS:{host}\n")
    openssl(
        folder, "x509", "-req", "-in", "server.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2",
        "-extfile", "server.ext", "-out", "server.crt")  # fmt: skip


class DatabaseAccessTest(fleet.FleetTestCase):
    def start(self, database):
        self.database = database
        self.addCleanup(database.remove)
        database.start()
        database.migrate()
        # Members of the roles, as an operator makes them: the roles themselves are left without logins.
        database.sql(
            """
            ALTER ROLE scriptorium_broker NOLOGIN; ALTER ROLE scriptorium_publisher NOLOGIN; ALTER ROLE scriptorium_reader NOLOGIN;
            CREATE ROLE app_broker LOGIN PASSWORD 'secret of the broker' IN ROLE scriptorium_broker;
            CREATE ROLE app_publisher LOGIN IN ROLE scriptorium_publisher; CREATE ROLE app_reader LOGIN IN ROLE scriptorium_reader
            """)

    def make_fleet(self, url, **options):
        self.fleet = fleet.Fleet(self.database, broker_url=lambda index: url, **options)
        self.addCleanup(self.fleet.remove)
        self.fleet.start()
        self.fleet.import_reference()
        client = support.Client(self.fleet.endpoints[0])
        self.addCleanup(client.close)
        return client

    def refused(self, url):
        """What a broker says that cannot use this database."""
        folder = os.path.join(self.database.folder, "artifacts")
        return support.run("broker", "--artifacts", folder, "--http", "127.0.0.1:0", status=69, env=support.environment(DATABASE_URL=url))

    def as_login(self, login, query):
        return subprocess.run(
            ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query, self.database.url(login)], capture_output=True, text=True, timeout=30,
            env=support.environment())  # fmt: skip

    def test_a_service_runs_with_logins_of_least_privilege(self):
        self.start(Database())
        client = self.make_fleet(self.database.url("app_broker"), brokers=2, workers=1)
        status = client.generate(model="demo", prompt="In the", n=2, max_length=8)
        published = self.as_login("app_publisher", "SELECT scriptorium.submit('generate', '{\"model\": \"demo\", \"prompt\": \"In the\"}')")
        self.assertEqual(published.returncode, 0, published.stderr)
        self.assertEqual(client.result(published.stdout.strip())["state"], "succeeded")
        read = self.as_login("app_reader", f"SELECT count(*) FROM scriptorium.generations WHERE task_id = '{status['id']}'")
        self.assertEqual(read.stdout.strip(), "2", read.stderr)
        for login, query in (
            ("app_publisher", "SELECT * FROM scriptorium.tasks"), ("app_reader", "SELECT scriptorium.cancel(gen_random_uuid())"),
            ("app_reader", "SELECT * FROM scriptorium.hot"), ("app_broker", "DROP TABLE scriptorium.hot"),
        ):  # fmt: skip
            done = self.as_login(login, query)
            self.assertNotEqual(done.returncode, 0, query)
            self.assertRegex(done.stderr, "permission denied|must be owner")
        # The service has no other connection than its login's.
        users = self.database.sql(
            "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'scriptorium'")
        self.assertEqual(users, [("app_broker",)])
        self.assertEqual(self.database.sql("SELECT count(*) FROM pg_shdepend WHERE refobjid = 'app_broker'::regrole AND deptype = 'o'"), [(0,)])

    def test_tls_proves_the_server_and_without_proof_no_broker_starts(self):
        database = Database(settings=("ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"))
        for name in ("authority", "stranger"):
            make_authority(database.data, name)
        make_certificate(database.data, "authority", "localhost")
        with open(os.path.join(database.data, "pg_hba.conf"), "w") as rules:
            rules.write("host all postgres 127.0.0.1/32 trust\nhostssl all app_broker 127.0.0.1/32 scram-sha-256\n")
        os.chmod(os.path.join(database.data, "server.key"), 0o600)
        database._own(database.data)
        self.start(database)
        # Where brokers read them: the server's folder is the server's alone.
        authorities = os.path.join(database.folder, "authorities")
        os.mkdir(authorities)
        for name in ("authority", "stranger"):
            shutil.copy(os.path.join(database.data, f"{name}.crt"), authorities)

        def url(host="localhost", mode="verify-full", authority="authority", password="secret of the broker"):
            return (
                f"host={host} hostaddr=127.0.0.1 port={database.port} dbname=postgres user=app_broker password='{password}' "
                f"sslmode={mode} sslrootcert={authorities}/{authority}.crt")  # fmt: skip

        self.assertIn("certificate", self.refused(url(authority="stranger")))
        self.assertIn("elsewhere.example", self.refused(url(host="elsewhere.example")))
        self.assertIn("no encryption", self.refused(url(mode="disable")))
        said = self.refused(url(password="a wrong one"))
        self.assertIn("password authentication failed", said)
        self.assertNotIn("a wrong one", said)

        client = self.make_fleet(url(), brokers=1, workers=1)
        self.assertEqual(client.generate(model="demo", prompt="In the", max_length=8)["state"], "succeeded")
        encrypted = database.sql(
            "SELECT bool_and(s.ssl), count(*) > 1 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'app_broker'")
        self.assertEqual(encrypted, [(True, True)])
        found = subprocess.run(
            [support.PROGRAM, "doctor", "--database-url", url()], capture_output=True, text=True, timeout=60, env=support.environment(),
            cwd=self.fleet.folder)  # fmt: skip
        self.assertIn("TLS, sslmode=verify-full", found.stdout)
        self.assertNotIn("secret of the broker", found.stdout + found.stderr + self.fleet.brokers[0].said())

    def test_a_database_whose_commits_are_no_promise_is_refused_from_the_start_and_later(self):
        self.start(Database())
        url = self.database.url("app_broker")
        self.database.sql("ALTER ROLE app_broker SET synchronous_commit = off")
        self.assertIn("synchronous_commit", self.refused(url))
        self.database.sql("ALTER ROLE app_broker RESET synchronous_commit")
        client = self.make_fleet(url, brokers=1, workers=1)

        # Told so while the broker runs, the server holds to its promise on the connections that stand.
        self.set_for_all("off")
        self.assertEqual(client.generate(model="demo", prompt="In the", max_length=8)["state"], "succeeded")
        self.assertEqual(client.ask("ping")["durability"]["synchronous_commit"], "on")
        # New ones are refused: the broker says that its database is away, and takes nothing.
        self.database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_broker'")
        submit = {"task": {"kind": "generate", "params": {"model": "demo", "prompt": "In the", "max_length": 8}}}
        support.wait_until(lambda: "synchronous_commit is off" in self.fleet.brokers[0].said(), 30, "the broker to say why")
        self.assertEqual(client.request("submit", **submit)["error"]["code"], "unavailable")
        self.set_for_all("on")
        support.wait_until(lambda: client.request("submit", **submit)["ok"], 30, "the broker to be back")
        self.fleet.settle(60)
        self.fleet.check()

    def set_for_all(self, value):
        self.database.sql_alone(f"ALTER SYSTEM SET synchronous_commit = {value}")
        self.database.sql("SELECT pg_reload_conf()")
        support.wait_until(lambda: self.database.sql("SHOW synchronous_commit") == [(value,)], 30, "the server to read its settings")


if __name__ == "__main__":
    unittest.main()
