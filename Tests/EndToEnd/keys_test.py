"""CURVE keys: who has a listed one is served, everybody else gets nothing and is told so."""

import json
import os
import signal
import stat
import subprocess
import tempfile
import time
import unittest

import support
import zmq


def keygen(folder, name):
    """A key pair in a file; its public key."""
    support.run("keygen", os.path.join(folder, name + ".key"))
    with open(os.path.join(folder, name + ".key.pub")) as file:
        return next(line for line in file if not line.startswith("#")).split()[0]


def secret(folder, name):
    with open(os.path.join(folder, name + ".key")) as file:
        return next(line for line in file if not line.startswith("#")).split()[-1]


class House(unittest.TestCase):
    """A service with keys: whoever is in its lists, and a stranger."""

    workers = 1
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="scriptorium-keys-")
        cls.public = {name: keygen(cls.folder, name) for name in ("broker", "client", "worker", "stranger")}
        cls.list("clients", "client")
        cls.list("workers", "worker")
        path = lambda name: os.path.join(cls.folder, name)
        cls.service = support.Service(
            workers=cls.workers,
            arguments=["--curve-key", path("broker.key"), "--curve-clients", path("clients"), "--curve-workers", path("workers"), *cls.arguments])
        cls.service.import_reference()

    @classmethod
    def tearDownClass(cls):
        cls.service.remove()
        subprocess.run(["rm", "-rf", cls.folder], check=True)

    @classmethod
    def list(cls, name, *members):
        """Writes an allow-list, at once and whole."""
        path = os.path.join(cls.folder, name)
        with open(path + ".new", "w") as file:
            file.write("# who may\n" + "".join(f"{cls.public[member]} {member}\n" for member in members))
        os.replace(path + ".new", path)

    def socket(self, name, kind=zmq.REQ, endpoint="tasks", seconds=10):
        """A socket as any program would make it, with somebody's keys."""
        socket = zmq.Context.instance().socket(kind)
        self.addCleanup(socket.close, 0)
        socket.setsockopt(zmq.RCVTIMEO, int(seconds * 1000))
        socket.curve_serverkey = self.public["broker"].encode()
        socket.curve_publickey = self.public[name].encode()
        socket.curve_secretkey = secret(self.folder, name).encode()
        socket.connect(self.service.file[endpoint])
        return socket

    def ask(self, socket, **request):
        socket.send_json(request)
        return socket.recv_json()

    def command(self, *arguments, key="stranger", **options):
        return support.run(
            *arguments, "--broker", self.service.file["tasks"], "--curve-key", os.path.join(self.folder, key + ".key"), "--curve-server-key",
            self.public["broker"], **options)


class Keys(House):
    def test_a_listed_client_is_served_and_known_by_its_key(self):
        socket = self.socket("client")
        task = {"kind": "generate", "params": {"model": "demo", "prompt": "the", "max_length": 12}}
        reply = self.ask(socket, op="submit", task=task)
        self.assertTrue(reply["ok"], reply)
        id = reply["tasks"][0]["id"]
        self.assertEqual(self.ask(socket, op="wait", task=id)["task"]["state"], "succeeded")
        self.assertEqual(self.service.sql("SELECT client FROM scriptorium.tasks WHERE id = %s", id), [(self.public["client"],)])
        self.assertEqual(self.service.sql("SELECT public_key FROM scriptorium.brokers"), [(self.public["broker"],)])

    def test_no_key_and_an_unlisted_key_get_nothing_at_any_door(self):
        plain = zmq.Context.instance().socket(zmq.REQ)
        self.addCleanup(plain.close, 0)
        plain.setsockopt(zmq.RCVTIMEO, 1000)
        plain.connect(self.service.file["tasks"])
        strangers = [plain, self.socket("stranger", seconds=1), self.socket("worker", seconds=1), self.socket("client", zmq.DEALER, "workers", 1)]
        for socket in strangers:
            socket.send_json({"op": "ping"})
        for socket in strangers:
            with self.assertRaises(zmq.Again):
                socket.recv()

    def test_a_refused_key_is_named_at_both_ends(self):
        began = time.monotonic()
        said = self.command("get", "01890000-0000-7000-8000-000000000001", status=69)
        self.assertLess(time.monotonic() - began, 3)
        self.assertIn(self.public["stranger"][:10], said)
        support.wait_until(lambda: self.public["stranger"][:10] in self.log(), 3, "the broker's line about the refused key")

    def log(self):
        with open(os.path.join(self.service.folder, "up.log"), errors="replace") as file:
            said = file.read()
        logs = os.path.join(self.service.data, "logs")
        for name in os.listdir(logs):
            with open(os.path.join(logs, name), errors="replace") as file:
                said += file.read()
        return said

    def test_a_list_is_read_again_when_it_changes(self):
        socket = self.socket("stranger", seconds=0.5)
        self.addCleanup(self.list, "clients", "client")
        self.list("clients", "client", "stranger")

        def is_served():
            fresh = self.socket("stranger", seconds=0.5)
            fresh.send_json({"op": "ping"})
            try:
                return fresh.recv_json()["ok"]
            except zmq.Again:
                return False

        support.wait_until(is_served, 20, "the new key to be let in")
        self.list("clients", "client")
        support.wait_until(lambda: not is_served(), 20, "the key to be shut out again")
        self.assertIsNotNone(socket)

    def test_a_worker_with_a_listed_key_works_and_one_without_is_told(self):
        def worker(key):
            return subprocess.Popen(
                [
                    support.PROGRAM, "worker", "--broker", self.service.file["workers"], "--artifacts", self.service.file["artifacts"],
                    "--cache-dir", os.path.join(self.folder, "cache-" + key), "--curve-key", os.path.join(self.folder, key + ".key"),
                    "--curve-server-key", self.public["broker"],
                ],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=support.environment(), text=True,
            )  # fmt: skip

        def pids():
            return {pid for (pid,) in self.service.sql("SELECT pid FROM scriptorium.workers")}

        good = worker("worker")
        try:
            support.wait_until(lambda: good.pid in pids(), 20, "the worker to join")
        finally:
            good.send_signal(signal.SIGTERM)
            self.assertEqual(good.wait(30), 0)
            good.stderr.close()
        bad = worker("client")
        try:
            line = next(line for line in bad.stderr if "refused" in line)
            self.assertIn(self.public["client"][:10], line)
            self.assertNotIn(bad.pid, pids())
        finally:
            bad.kill()
            bad.wait()
            bad.stderr.close()

    def test_a_key_file_that_others_can_read_is_refused(self):
        path = os.path.join(self.folder, "open.key")
        support.run("keygen", path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertIn("exists", support.run("keygen", path, status=2))
        os.chmod(path, 0o644)
        said = support.run(
            "worker", "--broker", self.service.file["workers"], "--artifacts", self.service.file["artifacts"], "--cache-dir",
            os.path.join(self.folder, "cache"), "--curve-key", path, "--curve-server-key", self.public["broker"], status=2)
        self.assertIn("chmod 600", said)

    def test_doctor_finds_a_healthy_house_healthy_and_a_refused_key(self):
        healthy = [json.loads(line) for line in self.service.run("doctor", "--json").splitlines()]
        checks = {finding["check"] for finding in healthy}
        self.assertLessEqual({"database", "schema", "durability", "rights"}, checks)
        self.assertEqual([f for f in healthy if f["verdict"] == "fail"], [])
        done = subprocess.run(
            [
                support.PROGRAM, "doctor", "--json", "--data-dir", self.folder, "--broker", self.service.file["tasks"], "--curve-key",
                os.path.join(self.folder, "stranger.key"), "--curve-server-key", self.public["broker"],
            ],
            capture_output=True, env=support.environment(), text=True, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.returncode, 1, done.stderr)
        failed = [f for f in map(json.loads, done.stdout.splitlines()) if f["verdict"] == "fail"]
        self.assertTrue(any("refused" in f["found"] for f in failed), done.stdout)


class KeysWithoutTheStore(House):
    """Machines with nothing but a broker's address and a key: their transfers show it too."""

    workers = 0

    def test_models_go_up_and_a_worker_gets_and_puts_through_the_broker(self):
        fixture = lambda name: os.path.join(support.FIXTURES, name)
        # A named broker may be any, so nothing is taken from the store's folder beside it.
        self.command("model", "import", fixture("gpt2"), "--name", "far", key="client")
        self.command("dataset", "add", fixture("corpus.txt"), "--name", "corpus", key="client")
        worker = subprocess.Popen(
            [
                support.PROGRAM, "worker", "--broker", self.service.file["workers"], "--cache-dir", os.path.join(self.folder, "cache"),
                "--curve-key", os.path.join(self.folder, "worker.key"), "--curve-server-key", self.public["broker"], "--threads", "1",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=support.environment(),
        )  # fmt: skip
        try:
            socket = self.socket("client", seconds=60)
            params = {
                "config": "gpt2-cpu", "dataset": {"name": "corpus"}, "output": "made", "tokenizer": {"train": {"vocab_size": 300}},
                "block_size": 16, "num_steps": 2, "save_every": 0, "generate_every": 0,
            }  # fmt: skip
            for kind, params in [("generate", {"model": "far", "prompt": "the", "max_length": 12}), ("finetune", params)]:
                reply = self.ask(socket, op="submit", task={"kind": kind, "params": params})
                self.assertTrue(reply["ok"], reply)
                status = self.ask(socket, op="wait", task=reply["tasks"][0]["id"], timeout_ms=50_000)["task"]
                self.assertEqual(status["state"], "succeeded", status)
        finally:
            worker.send_signal(signal.SIGTERM)
            self.assertEqual(worker.wait(30), 0)
        # What it made is in the store, and comes home the same way.
        self.command("model", "export", "made", os.path.join(self.folder, "home"), key="client")
        self.assertIn("model.safetensors", os.listdir(os.path.join(self.folder, "home")))


class EveryAddress(House):
    """A service whose workers' endpoint is open at every address of the machine."""

    arguments = ("--workers-endpoint", "tcp://*:*")

    def listens_everywhere(self):
        port = int(self.service.file["workers"].rsplit(":", 1)[1])
        with open("/proc/net/tcp") as table:
            return any(line.split()[1] == f"00000000:{port:04X}" and line.split()[3] == "0A" for line in table)

    def test_workers_here_come_over_loopback_also_when_the_broker_is_started_anew(self):
        self.assertTrue(self.service.file["workers"].startswith("tcp://127.0.0.1:"), self.service.file)
        self.assertTrue(self.listens_everywhere())
        workers, broker = self.service.file["workers"], self.service.file["pids"]["broker"]
        os.kill(broker, signal.SIGKILL)
        support.wait_until(lambda: self.service.file["pids"]["broker"] != broker, 30, "another broker")
        self.assertEqual(self.service.file["workers"], workers)
        self.assertTrue(self.listens_everywhere())
        self.service.run("submit", "generate", "--model", "demo", "--prompt", "the", "--wait")


class Doors(unittest.TestCase):
    def test_listening_beyond_loopback_without_keys_is_refused(self):
        for option in ("--tasks-endpoint", "--workers-endpoint", "--events-endpoint", "--peers-endpoint"):
            said = support.run("broker", option, "tcp://*:5999", "--database-url", "host=127.0.0.1 port=1", status=2)
            self.assertIn("--insecure", said)


if __name__ == "__main__":
    unittest.main()
