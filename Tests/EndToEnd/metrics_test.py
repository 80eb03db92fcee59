"""What operators see: the health and metrics of a broker and of a worker, read as strictly as Prometheus reads them."""

import json
import math
import os
import re
import shutil
import subprocess
import unittest
import urllib.error
import urllib.request

from support import PROGRAM, Service, ServiceTestCase, environment, run, wait_until

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN", re.IGNORECASE)
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Page:
    """A page of the text format 0.0.4; whatever breaks a rule of the format or of Prometheus's naming is an AssertionError."""

    def __init__(self, text):
        self.samples, self.kinds, self.order = {}, {}, []
        assert text.endswith("\n"), "the last line has no end"
        family, helped = None, None
        for line in text[:-1].split("\n"):
            if line.startswith("# HELP "):
                helped, words = line[7:].split(" ", 1)
                assert re.fullmatch(NAME, helped) and words, line
                assert helped not in self.kinds, f"{helped} comes twice"
            elif line.startswith("# TYPE "):
                family, kind = line[7:].split(" ")
                assert family == helped, f"TYPE of {family} without its HELP before it"
                self.kinds[family] = kind
                assert kind in SUFFIXES, line
                assert (kind == "counter") == family.endswith("_total"), f"{family} is a {kind}"
            else:
                self.sample(line, family)
        for name, kind in self.kinds.items():
            if kind == "histogram":
                self.check_histogram(name)

    def sample(self, line, family):
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line!r}"
        name, labels, value = found.groups()
        assert NUMBER.fullmatch(value), f"no number: {line!r}"
        assert name in [family + suffix for suffix in SUFFIXES[self.kinds[family]]], f"{name} stands under {family}"
        pairs = tuple(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
        assert len(dict(pairs)) == len(pairs), f"a label comes twice: {line}"
        key = (name, frozenset(pairs))
        assert key not in self.samples, f"a series comes twice: {line}"
        self.samples[key] = float(value)
        self.order.append((name, dict(pairs)))

    def check_histogram(self, name):
        series = {}
        for sample, labels in self.order:
            if sample == name + "_bucket":
                rest = frozenset((k, v) for k, v in labels.items() if k != "le")
                series.setdefault(rest, []).append((float(labels["le"]), self.samples[sample, frozenset(labels.items())]))
        for labels, buckets in series.items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf, f"{name}: bounds {bounds}"
            assert len(bounds) > 10, f"{name} tells nothing with {len(bounds)} buckets"
            assert list(counts) == sorted(counts), f"{name}: counts {counts}"
            assert counts[-1] == self.samples[name + "_count", labels], f"{name}: +Inf is not the count"
            assert self.samples[name + "_sum", labels] >= 0, name

    def value(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name):
        return sum(value for (sample, _), value in self.samples.items() if sample == name)


def get(address, path):
    """Status, content type and body of a GET."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as reply:
            return reply.status, reply.headers["content-type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read().decode()


def metrics(address):
    status, kind, text = get(address, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8"), (status, kind)
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    return Page(text)


class MetricsTest(ServiceTestCase):
    """A broker and a worker that have worked."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.workers_at = []
        client = cls.service.client()
        for number in range(3):
            client.generate(model="demo", prompt="In the", seed=number, max_length=20)
        failed = client.submit("finetune", {"config": "gpt2-cpu", "output": "short", "dataset": {"text": "no"}})
        assert client.result(failed)["state"] == "failed"
        trained = client.submit(
            "finetune",
            {"config": "gpt2-cpu", "output": "own", "dataset": {"text": "one two three " * 400}, "tokenizer": {"train": {"vocab_size": 300}},
             "block_size": 16, "num_steps": 3, "generate_every": 0},
        )  # fmt: skip
        assert client.result(trained)["state"] == "succeeded"
        # One page of that work, before any test adds to it; the snapshot behind it is a fraction of a second old.
        cls.page = wait_until(lambda: (p := metrics(cls.service.file["http"])).value("scriptorium_recorded_total") == 4 and p, 30, "4 records")

    @classmethod
    def tearDownClass(cls):
        for process in cls.workers_at:
            process.kill()
            process.wait()
        super().tearDownClass()

    def test_the_brokers_contract(self):
        """Every name that the contract lists is there, with values that fit what was done."""
        page = self.page
        self.assertEqual(page.value("scriptorium_leases"), 0)
        self.assertEqual(page.value("scriptorium_queue_depth", queue="default"), 0)
        self.assertEqual(page.value("scriptorium_queue_oldest_seconds", queue="default"), 0)
        self.assertEqual(page.value("scriptorium_lapsed_total"), 0)
        self.assertEqual(page.value("scriptorium_lease_losses_total"), 0)
        self.assertEqual(page.value("scriptorium_stale_writes_total"), 0)
        self.assertEqual(page.value("scriptorium_recorded_total"), 4)
        self.assertEqual(page.value("scriptorium_failed_total"), 1)
        self.assertEqual(page.value("scriptorium_training_steps_dropped_total"), 0)
        self.assertGreater(page.value("scriptorium_tokens_total"), 3)
        self.assertGreaterEqual(page.value("scriptorium_retries_total"), 0)
        self.assertGreaterEqual(page.value("scriptorium_xmin_age_seconds"), 0)
        self.assertEqual(page.total("scriptorium_build_info"), 1)

    def test_the_brokers_histograms(self):
        """Waits, attempts and transactions are told with buckets, by queue, by kind and outcome, by request."""
        page = self.page
        starts = page.value("scriptorium_queue_wait_seconds_count", queue="default")
        self.assertGreaterEqual(starts, 4)
        # A wait ends before its task does, and these took seconds in all.
        self.assertLess(page.value("scriptorium_queue_wait_seconds_sum", queue="default"), 60 * starts)
        duration = "scriptorium_task_duration_seconds_count"
        self.assertEqual(page.value(duration, kind="generate", outcome="succeeded"), 3)
        self.assertEqual(page.value(duration, kind="finetune", outcome="succeeded"), 1)
        self.assertGreater(page.value("scriptorium_task_duration_seconds_sum", kind="finetune", outcome="succeeded"), 0)
        requests = {dict(labels)["request"] for name, labels in page.samples if name == "scriptorium_database_seconds_count"}
        self.assertLessEqual({"submit", "complete", "beat"}, requests)
        self.assertGreater(page.value("scriptorium_database_seconds_sum", request="submit"), 0)
        fast = page.value("scriptorium_database_seconds_bucket", request="beat", le="600")
        self.assertEqual(fast, page.value("scriptorium_database_seconds_count", request="beat"))

    def test_a_workers_health_and_metrics(self):
        """A worker with --http is ready while it is joined, and counts its models and tokens."""
        address = self.start_worker(self.service.file["workers"])
        wait_until(lambda: get(address, "/readyz")[0] == 200, 30, "the second worker's readiness")
        self.assertEqual(get(address, "/healthz"), (200, "text/plain; charset=utf-8", "ok\n"))
        page = metrics(address)
        self.assertEqual(page.value("scriptorium_worker_joined"), 1)
        self.assertEqual(page.value("scriptorium_slots"), 16)
        self.assertEqual(page.total("scriptorium_build_info"), 1)
        client = self.service.client()

        def shared():
            ids = client.ask("submit", tasks=[{"kind": "generate", "params": {"model": "demo", "max_length": 60}}] * 60)["tasks"]
            for task in ids:
                self.assertEqual(client.result(task["id"])["state"], "succeeded")
            return (p := metrics(address)).value("scriptorium_model_loads_total") == 1 and p

        page = wait_until(shared, 60, "work for the second worker")
        self.assertGreater(page.value("scriptorium_tokens_total"), 0)
        self.assertEqual(page.value("scriptorium_models_loaded"), 1)
        self.assertEqual(page.value("scriptorium_model_load_failures_total"), 0)

    def test_a_worker_without_a_broker_is_alive_and_not_ready(self):
        address = self.start_worker("tcp://127.0.0.1:9")
        self.assertEqual(get(address, "/healthz")[0], 200)
        status, _, text = get(address, "/readyz")
        self.assertEqual(status, 503)
        self.assertIn("not joined to a broker", text)
        self.assertEqual(metrics(address).value("scriptorium_worker_joined"), 0)

    def test_a_worker_whose_machine_is_at_fault_is_not_ready_and_says_what_to_mend(self):
        """Its tasks go to the healthy worker, and it is not handed them again each second."""
        away = os.path.join(self.service.folder, "not-mounted")
        os.mkdir(away)
        address = self.start_worker(self.service.file["workers"], artifacts=away, cache="cache3", slots=64)
        wait_until(lambda: get(address, "/readyz")[0] == 200, 30, "the worker's readiness")
        client = self.service.client()

        def met():
            # In a precision that the healthy worker, which holds the model, does not have either: else it would get all of them.
            client.generate(model="demo", max_length=8, precision="int8")
            return (page := get(address, "/readyz"))[0] == 503 and page

        _, _, text = wait_until(met, 60, "a task that meets the fault")
        self.assertIn("mount the artifact store", text)
        session = "SELECT count(*) FROM scriptorium.attempts WHERE outcome = 'released'"
        before = self.service.sql(session)
        for _ in range(20):
            client.generate(model="demo", max_length=8)
        self.assertEqual(get(address, "/readyz")[0], 503)
        self.assertEqual(self.service.sql(session), before)
        self.assertEqual(get(address, "/healthz")[0], 200)

    def test_other_paths_say_what_there_is(self):
        status, _, text = get(self.service.file["http"], "/nothing")
        self.assertEqual(status, 404)
        self.assertIn("/readyz", text)

    def start_worker(self, endpoint, artifacts=None, cache="cache2", slots=16):
        """A worker with an HTTP endpoint of its own; its address, as its log tells it."""
        process = subprocess.Popen(
            [PROGRAM, "worker", "--broker", endpoint, "--artifacts", artifacts or self.service.file["artifacts"],
             "--cache-dir", os.path.join(self.service.folder, cache), "--slots", str(slots), "--threads", "1", "--http", "127.0.0.1:0", "--log-format", "json"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), text=True,
        )  # fmt: skip
        self.workers_at.append(process)
        for line in process.stderr:
            found = re.search(r'"http": ?"([^"]+)"', line)
            if found:
                return found.group(1)
        raise AssertionError("the worker ended without a word of its address")


class ReadinessTest(unittest.TestCase):
    """A broker's readiness follows its database; its liveness does not."""

    def test_without_its_database_a_broker_is_alive_and_not_ready(self):
        service, broker = Service(workers=0), None
        try:
            broker = subprocess.Popen(
                [PROGRAM, "broker", "--database-url", service.file["database_url"], "--artifacts", service.file["artifacts"], "--json",
                 "--tasks-endpoint", "tcp://127.0.0.1:*", "--events-endpoint", "tcp://127.0.0.1:*", "--workers-endpoint", "tcp://127.0.0.1:*",
                 "--peers-endpoint", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True,
            )  # fmt: skip
            address = json.loads(broker.stdout.readline())["http"]
            wait_until(lambda: get(address, "/readyz")[0] == 200, 30, "readiness")
            self.assertEqual(service.stop(), 0)
            status, _, text = wait_until(lambda: (r := get(address, "/readyz"))[0] == 503 and r, 30, "the end of readiness")
            self.assertIn("the database does not answer", text)
            self.assertEqual(get(address, "/healthz")[0], 200)
            self.assertGreater(metrics(address).total("scriptorium_database_seconds_count"), 0)
        finally:
            if broker is not None:
                broker.kill()
                broker.wait()
                broker.stdout.close()
            service.remove()

    def test_health_open_to_other_machines_must_be_allowed(self):
        for role in (["worker"], ["broker", "--database-url", "postgresql://nobody@127.0.0.1:1/nothing"]):
            said = run(*role, "--http", "0.0.0.0:0", status=2)
            self.assertIn("--insecure", said)


if __name__ == "__main__":
    unittest.main()
