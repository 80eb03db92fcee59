"""Artifacts through the broker: machines that have nothing but its address, transfers that break off, and what nobody needs any more."""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import urllib.request

import support
from line import Line
from transfers import PART, digest, fetch, noise, put

def metric(service, name):
    with urllib.request.urlopen(f"http://{service.file['http']}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
    raise AssertionError(f"no metric {name}")


def padded_model(folder, padding):
    """The tiny reference model with so many bytes of a tensor that nobody reads."""
    shutil.copytree(os.path.join(support.FIXTURES, "gpt2"), folder)
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header, body = json.loads(file.read(length)), file.read()
    header["unused.padding"] = {"dtype": "F32", "shape": [padding // 4], "data_offsets": [len(body), len(body) + padding // 4 * 4]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body + noise(padding // 4 * 4, 1))


class Bare:
    """A folder without a service, and workers started in it with nothing but a broker's address."""

    def __init__(self, test, service):
        self.service = service
        self.folder = tempfile.mkdtemp(prefix="scriptorium-bare-")
        test.addCleanup(shutil.rmtree, self.folder, True)
        self.log = open(os.path.join(self.folder, "worker.log"), "ab")
        test.addCleanup(self.log.close)
        self.test = test

    def run(self, *arguments, broker=None, **options):
        return support.run(*arguments, "--broker", broker or self.service.file["tasks"], cwd=self.folder, **options)

    def worker(self, broker=None, cache="cache"):
        """A worker that is joined."""
        known = self.sessions()
        process = subprocess.Popen(
            [support.PROGRAM, "worker", "--broker", broker or self.service.file["workers"], "--cache-dir", os.path.join(self.folder, cache),
             "--threads", "1"], cwd=self.folder, env=support.environment(), stdout=self.log, stderr=self.log,
        )  # fmt: skip
        self.test.addCleanup(process.wait)
        self.test.addCleanup(process.kill)
        support.wait_until(lambda: self.sessions() - known, 30, "the worker to be joined")
        return process

    def sessions(self):
        return {row[0] for row in self.service.sql("SELECT id FROM scriptorium.workers WHERE state = 'running'")}

    def said(self):
        with open(self.log.name, errors="replace") as log:
            return log.read()[-3000:]


class PutAndFetch(support.ServiceTestCase):
    workers = 0

    def test_an_artifact_comes_in_parts_and_goes_out_in_parts(self):
        client = self.service.client(packed=True)
        data = noise(3 * PART + 5, 2)
        name = digest(data)
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0)["have"], 0)
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0, data=data[:PART])["have"], PART)
        # What does not follow, and what comes again, changes nothing; the answer says where to go on.
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=2 * PART, data=data[2 * PART : 3 * PART])["have"], PART)
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0, data=data[:PART])["have"], PART)
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0)["have"], PART)
        self.assertEqual(client.request("fetch", sha256=name, offset=0, length=1)["error"]["code"], "not_found")
        self.assertEqual(put(client, data)["have"], len(data))
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0)["have"], len(data))
        self.assertEqual(fetch(client, name), data)
        end = client.ask("fetch", sha256=name, offset=len(data), length=10)
        self.assertEqual((end["data"], end["size"]), (b"", len(data)))
        self.assertEqual(put(client, b"")["have"], 0)
        self.assertEqual(client.ask("fetch", sha256=digest(b""), offset=0, length=10), {"re": None, "ok": True, "data": b"", "size": 0})

    def test_what_cannot_be_is_refused_and_dropped(self):
        client = self.service.client(packed=True)
        data, name = noise(PART + 9, 3), digest(noise(PART + 9, 4))
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0, data=data[:PART])["have"], PART)
        reply = client.request("put", sha256=name, size=len(data), offset=PART, data=data[PART:])
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("invalid_argument", "sha256"))
        self.assertEqual(client.ask("put", sha256=name, size=len(data), offset=0)["have"], 0)
        stored = noise(100, 5)
        put(client, stored)
        for wrong, code, field in [
            ({"sha256": digest(stored), "size": 99, "offset": 0}, "invalid_argument", "size"),
            ({"sha256": "../../etc/passwd", "size": 1, "offset": 0}, "invalid_argument", "sha256"),
            ({"sha256": name, "size": 2 * PART, "offset": 0, "data": bytes(PART + 1)}, "invalid_argument", "data"),
            ({"sha256": name, "size": 5, "offset": 4, "data": b"ab"}, "invalid_argument", "data"),
            ({"sha256": name, "size": 5, "offset": 6, "data": b""}, "invalid_argument", "offset"),
            ({"sha256": name, "size": 5, "offset": 0, "data": "text"}, "bad_request", "data"),
            ({"sha256": name, "size": 5, "offset": 0, "path": "x"}, "invalid_argument", "path"),
            ({"size": 5, "offset": 0}, "bad_request", "sha256"),
        ]:
            reply = client.request("put", **wrong)
            self.assertEqual((reply["error"]["code"], reply["error"]["field"]), (code, field), wrong)
        reply = client.request("fetch", sha256=digest(stored), offset=101, length=1)
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("invalid_argument", "offset"))
        text = self.service.client()
        for op in ("put", "fetch"):
            reply = text.request(op, sha256=name, size=1, offset=0)
            self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("bad_request", "op"))

    def test_two_clients_put_the_same_at_once(self):
        data = noise(6 * PART, 6)
        one, other = self.service.client(packed=True), self.service.client(packed=True)
        name, have = digest(data), [0, 0]
        while min(have) < len(data):
            for place, client in enumerate((one, other)):
                offset = min(have[place], len(data) - PART)
                have[place] = client.ask("put", sha256=name, size=len(data), offset=offset, data=data[offset : offset + PART])["have"]
        self.assertEqual(fetch(one, name), data)

    def test_a_manifest_that_is_not_whole_is_not_registered(self):
        client = self.service.client(packed=True)
        text = noise(50, 7)
        manifest = json.dumps({"files": [{"path": "a.txt", "sha256": digest(text), "size": 50}]}, separators=(",", ":")).encode()
        put(client, manifest)
        dataset = {"name": "parts", "sha256": digest(manifest), "bytes": 50}
        reply = client.request("register", dataset=dataset)
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("not_found", "dataset.sha256"))
        put(client, text)
        self.assertEqual(client.ask("register", dataset=dataset)["dataset"]["name"], "parts")

    def test_a_broker_that_dies_in_the_middle_goes_on_from_what_it_has(self):
        service = self.service
        data = noise(5 * PART, 8)
        client = service.client(packed=True)
        for place in range(3):
            client.ask("put", sha256=digest(data), size=len(data), offset=place * PART, data=data[place * PART : (place + 1) * PART])
        pid = service.file["pids"]["broker"]
        os.kill(pid, signal.SIGKILL)
        support.wait_until(lambda: service.file["pids"]["broker"] not in (pid, None), 40, "a new broker")
        client.connect()
        self.assertEqual(client.ask("put", sha256=digest(data), size=len(data), offset=0)["have"], 3 * PART)
        self.assertEqual(put(client, data, start=3 * PART)["have"], len(data))
        self.assertEqual(fetch(client, digest(data)), data)

    def test_the_command_goes_on_with_a_broker_that_died(self):
        service, bare = self.service, Bare(self, self.service)
        line = Line(service.file["tasks"], 12 * PART)
        self.addCleanup(line.close)
        text = os.path.join(bare.folder, "large.txt")
        with open(text, "wb") as file:
            file.write(noise(20 * PART, 9).hex().encode())
        command = subprocess.Popen(
            [support.PROGRAM, "dataset", "add", text, "--name", "large", "--broker", line.endpoint], cwd=bare.folder,
            env=support.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.addCleanup(command.communicate)
        self.addCleanup(command.kill)
        support.wait_until(lambda: line.carried > 10 * PART, 60, "a quarter to be there")
        pid = service.file["pids"]["broker"]
        os.kill(pid, signal.SIGKILL)
        support.wait_until(lambda: service.file["pids"]["broker"] not in (pid, None), 40, "a new broker")
        support.wait_until(lambda: line.carried > 20 * PART or command.poll() is not None, 60, "half to be there")
        line.cut()
        output, errors = command.communicate(timeout=120)
        self.assertEqual(command.returncode, 0, (output, errors))
        self.assertEqual(service.sql("SELECT bytes FROM scriptorium.datasets WHERE name = 'large'"), [(40 * PART,)])
        # What was there before the broker died was not sent again.
        self.assertLess(line.carried, 65 * PART)


class WorkersWithoutTheStore(support.ServiceTestCase):
    workers = 0

    def test_a_machine_with_nothing_but_an_address(self):
        service, bare = self.service, Bare(self, self.service)
        # Models and datasets come from it …
        row = json.loads(bare.run("model", "import", os.path.join(support.FIXTURES, "gpt2"), "--name", "far", "--json"))
        near = service.sql("SELECT c.sha256, c.uri FROM scriptorium.models m JOIN scriptorium.checkpoints c ON c.id = m.checkpoint_id WHERE name = 'demo'")
        self.assertEqual((row["sha256"], row["uri"]), near[0])
        bare.run("dataset", "add", os.path.join(support.FIXTURES, "corpus.txt"), "--name", "far-corpus")
        # … and its worker runs what they are for.
        worker = bare.worker()
        client = service.client()
        text = client.generate(model="far", prompt="the", max_length=16, seed=3)["result"]["generations"][0]["text"]
        params = {
            "config": "gpt2-cpu", "dataset": {"name": "far-corpus"}, "output": "far-made", "tokenizer": {"train": {"vocab_size": 400}},
            "block_size": 32, "batch_size": 2, "num_steps": 20, "save_every": 8, "generate_every": 0, "seed": 4,
        }  # fmt: skip
        status = client.result(client.submit("finetune", params), 120)
        self.assertEqual(status["state"], "succeeded", (status, bare.said()))
        steps = service.sql("SELECT step FROM scriptorium.checkpoints WHERE model = 'far-made' ORDER BY step")
        self.assertEqual(steps, [(8,), (16,), (20,)])
        client.generate(model="far-made", prompt="The", max_length=12)
        # It can be taken home, and is what a worker beside the store makes of the same task.
        bare.run("model", "export", "far-made", "home")
        self.assertIn("model.safetensors", os.listdir(os.path.join(bare.folder, "home")))
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(30), 0, bare.said())
        mounted = subprocess.Popen(
            [support.PROGRAM, "worker", "--broker", service.file["workers"], "--artifacts", service.file["artifacts"], "--cache-dir",
             os.path.join(bare.folder, "mounted"), "--threads", "1"], cwd=bare.folder, env=support.environment(), stdout=bare.log, stderr=bare.log,
        )  # fmt: skip
        self.addCleanup(mounted.wait)
        self.addCleanup(mounted.kill)
        again = client.result(client.submit("finetune", {**params, "output": "near-made"}), 120)
        self.assertEqual(again["result"]["checkpoint"]["sha256"], status["result"]["checkpoint"]["sha256"])
        self.assertEqual(client.generate(model="far", prompt="the", max_length=16, seed=3)["result"]["generations"][0]["text"], text)

    def test_plain_bytes_serve_as_a_dataset(self):
        service, bare = self.service, Bare(self, self.service)
        bare.worker()
        packed, client = service.client(packed=True), service.client()
        with open(os.path.join(support.FIXTURES, "corpus.txt"), "rb") as file:
            text = file.read()
        put(packed, text)
        params = {
            "config": "gpt2-cpu", "dataset": {"uri": "sha256:" + digest(text)}, "output": "plain", "tokenizer": {"train": {"vocab_size": 300}},
            "block_size": 16, "num_steps": 2, "save_every": 0, "generate_every": 0,
        }  # fmt: skip
        status = client.result(client.submit("finetune", params), 60)
        self.assertEqual(status["state"], "succeeded", (status, bare.said()))
        reply = client.request("submit", task={"kind": "finetune", "params": {**params, "dataset": {"uri": "sha256:" + "0" * 64}, "overwrite": True}})
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("not_found", "task.params.dataset.uri"))

    def test_a_worker_that_is_killed_while_it_saves(self):
        service, bare = self.service, Bare(self, self.service)
        client = service.client()
        line = Line(service.file["workers"], 12 * PART)
        self.addCleanup(line.close)
        first = bare.worker(line.endpoint, "first")
        with open(os.path.join(support.FIXTURES, "corpus.txt")) as file:
            text = file.read()
        # Much to save and little to compute: 34 MB of positions that a block of 16 hardly uses.
        config = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 64, "n_positions": 65536, "vocab_size": 400}
        params = {
            "config": config, "dataset": {"text": text}, "output": "killed", "tokenizer": {"train": {"vocab_size": 400}}, "block_size": 16,
            "num_steps": 6, "save_every": 3, "generate_every": 0, "seed": 5,
        }  # fmt: skip
        task = client.submit("finetune", params)
        parts = os.path.join(service.file["artifacts"], "tmp")

        def size(name):
            # It is given its place under its digest as soon as it is whole.
            with contextlib.suppress(FileNotFoundError):
                return os.path.getsize(os.path.join(parts, name))
            return 0

        def is_uploading():
            return max((size(name) for name in os.listdir(parts) if name.startswith("put-")), default=0) > 4 * PART

        support.wait_until(is_uploading, 90, f"the upload to be under way; {bare.said()}")
        first.kill()
        first.wait()
        second = bare.worker(service.file["workers"], "second")
        status = client.result(task, 120)
        self.assertEqual(status["state"], "succeeded", (status, bare.said()))
        self.assertGreaterEqual(status["attempt"], 2)
        # The second made the same bits and went on with the upload of the first.
        self.assertEqual([name for name in os.listdir(parts) if name.startswith("put-")], [])
        bare.run("model", "export", "killed", "home")
        second.send_signal(signal.SIGTERM)
        self.assertEqual(second.wait(30), 0, bare.said())

    def test_two_hundred_megabytes_delay_no_heartbeat(self):
        service, bare = self.service, Bare(self, self.service)
        client, packed = service.client(), service.client(packed=True)
        padded_model(os.path.join(bare.folder, "wide"), 200 << 20)
        # One worker loads its model over a slow line while it beats over it, and others' artifacts go through the same broker.
        bare.run("model", "import", "wide", "--name", "wide", timeout=120)
        line = Line(service.file["workers"], 24 * PART)
        self.addCleanup(line.close)
        worker = bare.worker(line.endpoint)
        # The task must go to this one, and those of earlier tests may lapse yet.
        support.wait_until(lambda: service.sql("SELECT count(*) FROM scriptorium.sessions") == [(1,)], 20, "no other worker")
        lapsed = metric(service, "scriptorium_lapsed_total")
        session, begun = service.sql("SELECT id, counter FROM scriptorium.sessions")[0]
        task = client.submit("generate", {"model": "wide", "prompt": "the", "max_length": 12})
        data, sent = noise(16 * PART, 10), 0
        put(packed, data)
        while True:
            self.assertEqual(fetch(packed, digest(data)), data)
            sent += len(data)
            status = client.ask("get", ids=[task])["tasks"][0]
            if status["state"] not in ("queued", "running"):
                break
        self.assertEqual((status["state"], status["attempt"]), ("succeeded", 1), (status, bare.said()))
        self.assertGreater(line.carried, 200 << 20)
        # The session that began is the one that lives, its beats went on all the while, and no lease was taken from it.
        rows = service.sql("SELECT id, counter FROM scriptorium.sessions WHERE id = %s", session)
        self.assertEqual(len(rows), 1, bare.said())
        self.assertGreater(rows[0][1], begun)
        self.assertEqual(metric(service, "scriptorium_lapsed_total"), lapsed)
        self.assertEqual(bare.said().count("left a broker"), 0, bare.said())
        self.assertEqual(worker.poll(), None)

    def test_a_line_that_breaks_costs_no_bytes(self):
        service, bare = self.service, Bare(self, self.service)
        client = service.client()
        padded_model(os.path.join(bare.folder, "broken"), 48 << 20)
        bare.run("model", "import", "broken", "--name", "broken", timeout=120)
        line = Line(service.file["workers"], 16 * PART)
        self.addCleanup(line.close)
        bare.worker(line.endpoint)
        task = client.submit("generate", {"model": "broken", "prompt": "the", "max_length": 12})
        for place in (1, 2):
            support.wait_until(lambda: line.carried > place * 14 * PART, 60, "some of it to be there")
            line.cut()
        status = client.result(task, 90)
        self.assertEqual((status["state"], status["attempt"]), ("succeeded", 1), (status, bare.said()))
        # The model of 48 MB, and not much of it twice.
        self.assertLess(line.carried, 64 * PART)


class Collection(support.ServiceTestCase):
    workers = 0

    def age(self, name, hours):
        path = os.path.join(self.service.file["artifacts"], "sha256", name[:2], name)
        then = time.time() - hours * 3600
        os.utime(path, (then, then))
        return path

    def stored(self):
        root = os.path.join(self.service.file["artifacts"], "sha256")
        return {name for folder in os.listdir(root) for name in os.listdir(os.path.join(root, folder))}

    def test_what_nothing_names_goes_after_a_day(self):
        service = self.service
        packed, client = service.client(packed=True), service.client()
        kept = self.stored()
        old, young, later, waiting = noise(1000, 20), noise(1000, 21), noise(1000, 22), b"words of a corpus " * 900
        for data in (old, young, later, waiting):
            put(packed, data)
        # A task that waits names its dataset in its params.
        task = client.submit(
            "finetune", {"config": "gpt2-cpu", "output": "waiting", "dataset": {"uri": "sha256:" + digest(waiting)},
                         "tokenizer": {"train": {"vocab_size": 300}}, "num_steps": 1},
        )  # fmt: skip
        for name in kept | {digest(old), digest(later), digest(waiting)}:
            self.age(name, 30)
        # A put that finds the bytes renews their age.
        self.assertEqual(packed.ask("put", sha256=digest(later), size=1000, offset=0)["have"], 1000)
        leftover = os.path.join(service.file["artifacts"], "tmp/put-" + "e" * 64)
        with open(leftover, "wb") as file:
            file.write(b"half")
        then = time.time() - 30 * 3600
        os.utime(leftover, (then, then))

        dry = json.loads(service.run("artifacts", "gc", "--dry-run", "--json"))
        self.assertEqual([entry["sha256"] for entry in dry["removed"]], [digest(old)])
        self.assertEqual((dry["dry_run"], dry["removed_bytes"], dry["young"]), (True, 1000, 2))
        self.assertIn(digest(old), self.stored())
        self.assertIn(digest(old), service.run("artifacts", "gc"))
        self.assertEqual(self.stored(), kept | {digest(young), digest(later), digest(waiting)})
        self.assertFalse(os.path.exists(leftover))
        self.assertEqual(json.loads(service.run("artifacts", "gc", "--json"))["removed"], [])
        # A register renews all that it names: the manifest and its files.
        row = service.sql("SELECT c.uri FROM scriptorium.models m JOIN scriptorium.checkpoints c ON c.id = m.checkpoint_id WHERE m.name = 'demo'")[0][0]
        manifest = fetch(packed, row.removeprefix("sha256:"))
        client.ask("register", dataset={"name": "same-files", "sha256": digest(manifest), "bytes": 1})
        for name in [digest(manifest)] + [entry["sha256"] for entry in json.loads(manifest)["files"]]:
            path = os.path.join(service.file["artifacts"], "sha256", name[:2], name)
            self.assertLess(time.time() - os.stat(path).st_mtime, 3600)
        client.ask("cancel", ids=[task])

    def test_what_it_asks_for(self):
        service = self.service
        self.assertIn("--older-than", service.run("artifacts", "gc", "--older-than", "1", status=2))
        with tempfile.TemporaryDirectory() as folder:
            other = os.path.join(folder, "store")
            os.makedirs(os.path.join(other, "sha256"))
            self.assertIn("another service", service.run("artifacts", "gc", "--artifacts", other, status=2))
            support.run("artifacts", "gc", "--artifacts", other, status=2, cwd=folder)
            support.run(
                "artifacts", "gc", "--artifacts", other, "--database-url", "host=127.0.0.1 port=1 dbname=x user=x", status=69, cwd=folder
            )


if __name__ == "__main__":
    unittest.main()
