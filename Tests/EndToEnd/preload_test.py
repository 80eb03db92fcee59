"""Workers with --preload: ready once their models have made a token, and at work before that."""

import json
import os
import signal
import unittest
import urllib.error
import urllib.request

import support
from database import free_port
from fleet import FleetTestCase, Worker
from metrics_test import metrics


def readiness(address):
    """Status and text of /readyz; None while nobody listens yet."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return None


class Preloads(FleetTestCase):
    """A worker that is to hold models, beside one that is not."""

    def begin(self, models, model=True, env=None):
        """A fleet with one worker of each kind."""
        self.fleet = self.make(brokers=1, workers=1, model=model)
        self.http = f"127.0.0.1:{free_port()}"
        flags = [part for name in models for part in ("--preload", name)]
        worker = Worker(self.fleet, 1, [self.fleet.brokers[0].workers], arguments=["--http", self.http, "--log-format", "json", *flags], env=env)
        # A cache of its own: what the other one has laid out is of no help.
        worker.arguments[worker.arguments.index("--cache-dir") + 1] = os.path.join(self.fleet.folder, "cache-1")
        self.fleet.workers.append(worker)
        self.client = support.Client(self.fleet.endpoints[0])
        self.addCleanup(self.client.close)
        return worker

    def says(self, *words):
        """Waits until /readyz says all of this with 503; its text."""
        answer = None

        def is_said():
            nonlocal answer
            answer = readiness(self.http)
            return answer and answer[0] == 503 and all(word in answer[1] for word in words)

        support.wait_until(is_said, 30, lambda: f"/readyz to say {words}: {answer}, {self.fleet.workers[-1].said()}")
        return answer[1]

    def becomes_ready(self):
        support.wait_until(
            lambda: (readiness(self.http) or [0])[0] == 200, 30, lambda: f"readiness: {readiness(self.http)}, {self.fleet.workers[-1].said()}")

    def blob(self, name):
        """Where the store keeps a file of the model `demo`, made writable: a test is to damage it."""
        ((manifest,),) = self.fleet.database.sql(
            "SELECT c.uri FROM scriptorium.checkpoints c JOIN scriptorium.models m ON m.checkpoint_id = c.id WHERE m.name = 'demo'")

        def path(digest):
            return os.path.join(self.fleet.artifacts, "sha256", digest[:2], digest)

        with open(path(manifest.removeprefix("sha256:"))) as file:
            (digest,) = [entry["sha256"] for entry in json.load(file)["files"] if entry["path"] == name]
        os.chmod(path(digest), 0o644)
        return path(digest)

    def generate(self, model="demo"):
        """The session that ran a small task."""
        task = self.client.submit("generate", {"model": model, "prompt": "the", "max_length": 12})
        self.assertEqual(self.client.result(task)["state"], "succeeded")
        return self.fleet.database.sql("SELECT worker FROM scriptorium.tasks WHERE id = %s", task)[0][0]

    def test_a_worker_is_ready_once_its_model_was_imported_and_has_made_a_token(self):
        worker = self.begin(["demo"], model=False)
        worker.start()
        self.says("the model demo of --preload is not ready: there is no such model")
        self.assertEqual(metrics(self.http).value("scriptorium_worker_joined"), 1)
        self.fleet.import_reference()
        self.becomes_ready()
        page = metrics(self.http)
        self.assertEqual(page.value("scriptorium_models_loaded"), 1)
        self.assertEqual(page.value("scriptorium_model_loads_total"), 1)
        # Its broker knows: tasks go where their model is, and find it loaded.
        sessions = {self.generate() for _ in range(3)}
        self.assertEqual(sessions, {worker.id()})
        self.assertEqual(metrics(self.http).value("scriptorium_model_loads_total"), 1)
        with open(worker.log) as log:
            said = log.read()
        self.assertEqual(said.count("a model to preload is waited for"), 1)
        self.assertEqual(said.count("model preloaded"), 1)

    def test_each_model_of_a_list_counts_also_from_the_environment_and_in_another_precision(self):
        worker = self.begin([], env={"SCRIPTORIUM_PRELOAD": "demo/int8,later"})
        worker.start()
        self.says("the model later of --preload is not ready: there is no such model")
        support.wait_until(lambda: "demo" not in readiness(self.http)[1], 30, lambda: f"the first model: {readiness(self.http)}")
        self.assertEqual(readiness(self.http)[0], 503)
        self.fleet.import_reference("later", "gpt-neo")
        self.becomes_ready()
        self.assertEqual(metrics(self.http).value("scriptorium_models_loaded"), 2)

    def test_a_model_with_broken_weights_is_named_with_its_reason_and_keeps_nobody_from_work(self):
        worker = self.begin(["demo"])
        self.fleet.import_reference("other", "gpt-neo")
        weights = self.blob("model.safetensors")
        with open(weights, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        worker.start()
        text = self.says("the model demo of --preload is not ready", "tried again")
        self.assertNotIn("no such model", text)
        # The other worker is gone: this one takes what comes.
        self.assertEqual(self.fleet.workers[0].end(), 0)
        self.assertEqual(self.generate("other"), worker.id())
        self.assertTrue(worker.is_alive)
        self.says("the model demo of --preload is not ready")

    def test_a_drain_does_not_wait_for_a_model_on_its_way(self):
        worker = self.begin(["demo"])
        # Weights that take a minute to be read, and no room on the disk.
        os.truncate(self.blob("model.safetensors"), 64 << 30)
        worker.start()
        self.says("the model demo of --preload is not ready: it is being loaded")
        self.assertEqual(worker.end(signal.SIGTERM, seconds=8), 0)

    def test_what_is_no_model_is_refused_at_once(self):
        said = support.run("worker", "--preload", "/models/demo", status=2)
        self.assertIn("--preload", said)
        self.assertIn("/models/demo", said)


class Up(unittest.TestCase):
    def test_up_hands_it_to_its_workers(self):
        service = support.Service(arguments=["--preload", "demo"])
        try:
            service.import_reference()
            logs = os.path.join(service.data, "logs")

            def said():
                texts = []
                for name in os.listdir(logs):
                    with open(os.path.join(logs, name), errors="replace") as log:
                        texts.append(log.read())
                return "".join(texts)

            support.wait_until(lambda: "model preloaded" in said(), 30, said)
        finally:
            service.remove()
