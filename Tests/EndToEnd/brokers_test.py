"""Two brokers on one database: whichever a client asks, it is shown everything."""

import json
import subprocess
import time
import unittest

import support
import zmq
from line import Line


class SecondBroker:
    """A broker beside the one of a service, without workers of its own."""

    def __init__(self, service):
        anywhere = "tcp://127.0.0.1:*"
        self.process = subprocess.Popen(
            [
                support.PROGRAM, "broker", "--database-url", service.file["database_url"], "--artifacts", service.file["artifacts"],
                "--tasks-endpoint", anywhere, "--events-endpoint", anywhere, "--workers-endpoint", anywhere, "--peers-endpoint", anywhere,
                "--http", "127.0.0.1:0", "--json",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=support.environment(),
        )  # fmt: skip
        self.endpoints = json.loads(self.process.stdout.readline())
        client = support.Client(self.endpoints["tasks"])
        support.wait_until(lambda: client.request("models")["ok"], 30, "the second broker")
        client.close()

    def stop(self):
        self.process.terminate()
        self.process.wait(40)
        self.process.stdout.close()


def watched(dealer, **params):
    """The events of a task that is published and watched at a broker, up to its end."""
    task = {"kind": "generate", "params": {"model": "demo", "prompt": "the", "max_length": 24, "stream": True, **params}}
    dealer.send("submit", task=task, watch=True)
    assert dealer.receive()["ok"]
    events = []
    while not events or events[-1]["event"] not in ("succeeded", "failed", "cancelled"):
        events.append(dealer.receive()["event"])
    return events


class TwoBrokers(support.ServiceTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.second = SecondBroker(cls.service)
        cls.addClassCleanup(cls.second.stop)
        # A link is there when something comes over it.
        dealer = support.Dealer(cls.second.endpoints["tasks"])
        support.wait_until(lambda: any(e["event"] == "token" for e in watched(dealer)), 30, "the link between the brokers")
        dealer.close()

    def test_a_watch_shows_the_tokens_of_a_task_under_another_broker(self):
        dealer = support.Dealer(self.second.endpoints["tasks"])
        self.addCleanup(dealer.close)
        overtaken = 0
        for seed in range(20):
            events = watched(dealer, seed=seed)
            names = [e["event"] for e in events]
            self.assertEqual(names[0], "queued")
            self.assertEqual(names[-1], "succeeded")
            self.assertEqual(names.count("succeeded"), 1)
            *first, end = [e["seq"] for e in events if e["attempt"] == 1]
            self.assertEqual(first, list(range(len(first))), f"a gap with seed {seed}: {names}")
            # Each second the end may be read in the database before the last events have come over the link: it then has a later number.
            self.assertGreaterEqual(end, len(first))
            overtaken += end > len(first) or "token" not in names
        self.assertLess(overtaken, 3)

    def test_the_events_endpoint_shows_tasks_under_another_broker(self):
        subscriber = zmq.Context.instance().socket(zmq.SUB)
        self.addCleanup(subscriber.close, 0)
        subscriber.setsockopt(zmq.RCVTIMEO, 200)
        subscriber.connect(self.second.endpoints["events"])
        subscriber.subscribe(b"task.")
        client = self.service.client()
        seen = {}

        def until_complete():
            # A subscription takes its way to both brokers; a task that is published after it came is shown whole.
            task = client.submit("generate", {"model": "demo", "prompt": "the", "max_length": 12})
            client.result(task)
            end = time.monotonic() + 2
            while time.monotonic() < end and "succeeded" not in seen.get(task, []):
                try:
                    topic, payload = subscriber.recv_multipart()
                except zmq.Again:
                    continue
                event = json.loads(payload)
                self.assertEqual(topic.decode(), "task." + event["task"])
                seen.setdefault(event["task"], []).append(event["event"])
            return seen.get(task, [])[:1] == ["queued"] and seen[task][-1] == "succeeded"

        support.wait_until(until_complete, 30, "a whole task on the second broker's events endpoint")
        for names in seen.values():
            self.assertLessEqual(names.count("succeeded"), 1)

    def test_any_broker_answers_for_any_task(self):
        here, there = self.service.client(), support.Client(self.second.endpoints["tasks"])
        self.addCleanup(there.close)
        task = there.submit("generate", {"model": "demo", "prompt": "the", "max_length": 12, "seed": 4})
        self.assertEqual(there.result(task)["state"], "succeeded")
        self.assertEqual(here.ask("get", ids=[task])["tasks"][0]["result"], there.ask("get", ids=[task])["tasks"][0]["result"])
        waiting = here.submit("generate", {"model": "demo", "prompt": "the"}, run_at="2099-01-01T00:00:00Z")
        self.assertEqual(there.ask("cancel", ids=[waiting])["tasks"][0]["state"], "cancelled")
        self.assertEqual(here.ask("wait", task=waiting)["task"]["state"], "cancelled")

    def test_a_running_task_is_cancelled_through_another_broker(self):
        here, there = self.service.client(), support.Client(self.second.endpoints["tasks"])
        self.addCleanup(there.close)
        with open(support.FIXTURES + "/corpus.txt") as file:
            text = file.read()
        task = here.submit(
            "finetune",
            {"config": "gpt2-cpu", "output": "endless", "dataset": {"text": text}, "tokenizer": {"train": {"vocab_size": 400}},
             "num_steps": 1000000, "generate_every": 0},
        )  # fmt: skip
        support.wait_until(lambda: (here.ask("get", ids=[task])["tasks"][0]["progress"] or {}).get("step", 0) > 0, 60, "its first step")
        self.assertEqual(there.ask("cancel", ids=[task])["tasks"][0]["state"], "running")
        self.assertEqual(there.result(task)["state"], "cancelled")


class CutBetweenBrokers(support.ServiceTestCase):
    """The second broker reaches the first, which has the workers, over a line of ours."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.second = SecondBroker(cls.service)
        cls.addClassCleanup(cls.second.stop)
        (cls.peers,), = cls.service.sql("SELECT endpoints->>'peers' FROM scriptorium.brokers WHERE pid <> %s", cls.second.process.pid)
        cls.join()
        cls.addClassCleanup(lambda: cls.line.close())

    @classmethod
    def join(cls):
        """Lays a line, and waits until tokens come over it."""
        cls.line = Line(cls.peers, 1 << 30)
        cls.service.sql(
            "UPDATE scriptorium.brokers SET endpoints = endpoints || jsonb_build_object('peers', %s) WHERE pid <> %s",
            cls.line.endpoint, cls.second.process.pid)
        support.wait_until(lambda: cls.line.carried > 0 and "token" in cls.names(), 40, "tokens over the line")

    @classmethod
    def names(cls):
        """The events of a watch at the second broker."""
        dealer = support.Dealer(cls.second.endpoints["tasks"])
        try:
            return [event["event"] for event in watched(dealer)]
        finally:
            dealer.close()

    def test_a_line_that_breaks_is_made_again_and_no_watch_waits_for_it(self):
        for _ in range(3):
            self.line.cut()
            names = self.names()
            self.assertEqual((names[0], names[-1], names.count("succeeded")), ("queued", "succeeded", 1))
            support.wait_until(lambda: "token" in self.names(), 40, "tokens over the line that was cut")

    def test_while_no_line_stands_a_watch_hears_of_the_end_all_the_same(self):
        self.line.close()
        for _ in range(3):
            names = self.names()
            self.assertEqual((names[0], names[-1], names.count("succeeded")), ("queued", "succeeded", 1))
            # What happened elsewhere is read in the database; what was only said is lost.
            self.assertNotIn("token", names)
        self.join()


if __name__ == "__main__":
    unittest.main()
