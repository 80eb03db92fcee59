"""The tasks endpoint as foreign programs meet it: JSON and MessagePack, watches, refusals, and rubbish."""

import json
import socket
import unittest

import msgpack
import support
import zmq


class Requests(support.ServiceTestCase):
    def test_json_and_messagepack_are_answered_in_kind(self):
        for packed in (False, True):
            client = self.service.client(packed)
            reply = client.ask("ping", id="hello")
            self.assertEqual((reply["re"], reply["protocol"]), ("hello", 1))
            status = client.generate(model="demo", prompt="the", max_length=12, seed=99)
            self.assertEqual(status["result"]["seed"], 99)

    def test_both_encodings_give_the_same_text(self):
        texts = []
        for packed in (False, True):
            client = self.service.client(packed)
            status = client.generate(model="demo", prompt="of the", n=2, max_length=20, seed=123456)
            texts.append([g["text"] for g in status["result"]["generations"]])
        self.assertEqual(texts[0], texts[1])

    def test_refusals_name_their_field(self):
        client = self.service.client()
        model = {"model": "demo"}
        cases = [
            ({**model, "top_p": 1.5}, "invalid_argument", "task.params.top_p"),
            ({**model, "top_p": "high"}, "bad_request", "task.params.top_p"),
            ({**model, "wibble": 1}, "invalid_argument", "task.params.wibble"),
            ({**model, "n": 0}, "invalid_argument", "task.params.n"),
            ({**model, "temperature": 0}, "invalid_argument", "task.params.temperature"),
            ({**model, "seed": 2**53}, "invalid_argument", "task.params.seed"),
            ({**model, "do_sample": False, "n": 2}, "invalid_argument", None),
            ({"model": "nobody"}, "not_found", "task.params.model"),
            ({}, "invalid_argument", "task.params.model"),
            ({**model, "rng": "mersenne"}, "invalid_argument", "task.params.rng"),
        ]
        before = self.service.sql("SELECT count(*) FROM scriptorium.tasks")
        for params, code, field in cases:
            reply = client.request("submit", task={"kind": "generate", "params": params})
            self.assertFalse(reply["ok"], params)
            self.assertEqual(reply["error"]["code"], code, (params, reply))
            if field:
                self.assertEqual(reply["error"]["field"], field, (params, reply))
        for uri in ["/etc/passwd", "file:///etc/passwd", "http://example.org/x", "sha256:xyz"]:
            reply = client.request("submit", task={"kind": "finetune", "params": {"config": "gpt2-cpu", "output": "x", "dataset": {"uri": uri}}})
            self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("invalid_argument", "task.params.dataset.uri"), uri)
        self.assertEqual(self.service.sql("SELECT count(*) FROM scriptorium.tasks"), before)

    def test_a_bad_member_refuses_the_whole_request(self):
        client = self.service.client()
        good = {"kind": "generate", "params": {"model": "demo", "max_length": 8}}
        reply = client.request("submit", tasks=[good, {"kind": "generate", "params": {"model": "demo", "top_k": -1}}], id=3)
        self.assertEqual((reply["re"], reply["error"]["field"]), (3, "tasks[1].params.top_k"))

    def test_what_only_a_worker_can_know_fails_the_task_and_the_worker_goes_on(self):
        client = self.service.client()
        status = client.result(client.submit("generate", {"model": "demo", "prompt": "word " * 200}))
        self.assertEqual((status["state"], status["error"]["code"], status["error"]["field"]), ("failed", "invalid_argument", "params.prompt"))
        status = client.result(
            client.submit("finetune", {"config": "gpt2-cpu", "output": "tiny", "dataset": {"text": "short"}, "tokenizer": {"train": {}}})
        )
        self.assertEqual((status["state"], status["error"]["code"], status["error"]["field"]), ("failed", "invalid_argument", "params.dataset"))
        client.generate(model="demo", prompt="the", max_length=8)

    def test_a_wait_that_is_over_at_once_still_tells_the_state(self):
        client = self.service.client()
        task = client.ask("submit", task={"kind": "generate", "params": {"model": "demo"}, "run_at": "2100-01-01T00:00:00Z"})["tasks"][0]["id"]
        for timeout in (0, 1, 50):
            reply = client.ask("wait", task=task, timeout_ms=timeout)
            self.assertEqual((reply["task"]["state"], reply["timed_out"]), ("queued", True))

    def test_a_base_keeps_its_tokenizer(self):
        client = self.service.client()
        params = {"model": "demo", "output": "other", "dataset": {"text": "of the " * 400}, "num_steps": 1}
        status = client.result(client.submit("finetune", {**params, "tokenizer": {"train": {"vocab_size": 300}}}))
        self.assertEqual((status["state"], status["error"]["code"], status["error"]["field"]), ("failed", "invalid_argument", "params.tokenizer"))

    def test_a_missing_artifact_is_not_found(self):
        client = self.service.client()
        digest = "0" * 64
        params = {"config": "gpt2-cpu", "output": "none", "dataset": {"uri": "sha256:" + digest}}
        reply = client.request("submit", task={"kind": "finetune", "params": params})
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("not_found", "task.params.dataset.uri"))
        task = self.service.sql("SELECT scriptorium.submit('finetune', %s)::text", support.json.dumps(params))[0][0]
        status = client.result(task)
        self.assertEqual((status["error"]["code"], status["error"]["field"], status["attempt"]), ("not_found", "params.dataset.uri", 0))
        reply = client.request("register", dataset={"name": "none", "sha256": digest, "bytes": 1})
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("not_found", "dataset.sha256"))

    def test_keys_make_submits_idempotent(self):
        client = self.service.client()
        task = {"kind": "generate", "key": "k-1", "params": {"model": "demo", "max_length": 8}}
        first = client.ask("submit", task=task)["tasks"][0]
        second = client.ask("submit", task=task)["tasks"][0]
        self.assertEqual((first["id"], first["duplicate"], second["duplicate"]), (second["id"], False, True))
        reply = client.request("submit", task={**task, "params": {"model": "demo", "max_length": 9}})
        self.assertEqual(reply["error"]["code"], "conflict")

    def test_a_watch_streams_the_text(self):
        dealer = support.Dealer(self.service.file["tasks"])
        task = {"kind": "generate", "params": {"model": "demo", "prompt": "the", "max_length": 24, "stream": True, "seed": 11}}
        number = dealer.send("submit", task=task, watch=True)
        pieces, events = [], []
        reply = dealer.receive()
        self.assertTrue(reply["ok"], reply)
        while not events or events[-1]["event"] not in ("succeeded", "failed", "cancelled"):
            message = dealer.receive()
            self.assertEqual(message["re"], number)
            if "event" in message:
                events.append(message["event"])
                if message["event"]["event"] == "token":
                    pieces.append(message["event"]["text"])
        self.assertEqual(events[-1]["event"], "succeeded")
        dealer.close()
        status = self.service.client().ask("get", ids=[reply["tasks"][0]["id"]])["tasks"][0]
        self.assertEqual("the" + "".join(pieces), status["result"]["generations"][0]["text"])

    def test_events_are_published(self):
        subscriber = zmq.Context.instance().socket(zmq.SUB)
        subscriber.setsockopt(zmq.RCVTIMEO, 20000)
        subscriber.setsockopt(zmq.SUBSCRIBE, b"task.")
        subscriber.connect(self.service.file["events"])
        client = self.service.client()
        # Subscriptions travel on their own time: ask until one of them has arrived.
        seen = {}
        while "succeeded" not in seen.values():
            task = client.submit("generate", {"model": "demo", "max_length": 8})
            client.result(task)
            while subscriber.poll(200):
                topic, payload = subscriber.recv_multipart()
                event = json.loads(payload)
                self.assertEqual(topic.decode(), "task." + event["task"])
                seen[event["task"], event["seq"], event["attempt"]] = event["event"]
        subscriber.close()

    def test_cancel(self):
        client = self.service.client()
        queued = client.ask("submit", task={"kind": "generate", "params": {"model": "demo"}, "run_at": "2100-01-01T00:00:00Z"})["tasks"][0]["id"]
        self.assertEqual(client.ask("cancel", ids=[queued])["tasks"], [{"id": queued, "state": "cancelled"}])
        running = client.submit(
            "finetune",
            {"config": "gpt2-cpu", "output": "endless", "dataset": {"text": "the quick brown fox " * 400}, "tokenizer": {"train": {}},
             "num_steps": 100000, "batch_size": 8},
        )  # fmt: skip
        support.wait_until(lambda: client.ask("get", ids=[running])["tasks"][0]["state"] == "running", 20, "the finetune to start")
        client.ask("cancel", ids=[running])
        self.assertEqual(client.result(running, 15)["state"], "cancelled")

    def test_unknown_ids(self):
        reply = self.service.client().request("get", ids=["01900000-0000-7000-8000-000000000000"])
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("not_found", "ids[0]"))


class Rubbish(support.ServiceTestCase):
    """Whatever arrives on any socket, the broker goes on."""

    payloads = [
        [b""], [b"", b""], [b"", b"", b""], [b"\x00"], [b"{"], [b"[]"], [b"null"], [b'{"op": 1}'], [b'{"op": "nothing"}'], [b"\x80"], [b"\xdf"],
        [b"\xdf\xff\xff\xff\xff"], [b"\xc1" * 50], [b"\xff" * 1000], [b'{"op": "ping", "op": "ping"}'], [b"{" * 100000], [b'{"op":' * 1000],
        [b'{"op": "get", "ids": ["\\ud800"]}'], [b'{"op": "get", "ids": ["\\u0000"]}'], [b'{"op": "wait", "timeout_ms": 1e999}'],
        [b"x"] * 20, [b""] * 20, [b"\x81\xa2op\xa4ping"], [b"\x8f" + b"\xa1a\x01" * 3],
    ]  # fmt: skip

    def test_garbage_on_every_socket(self):
        file = self.service.file
        for name in ("tasks", "workers", "events", "peers"):
            kinds = [zmq.DEALER, zmq.REQ] if name in ("tasks", "workers") else [zmq.XSUB]
            for kind in kinds:
                for payload in self.payloads:
                    stranger = zmq.Context.instance().socket(kind)
                    stranger.setsockopt(zmq.LINGER, 500)
                    stranger.connect(file[name])
                    stranger.send_multipart(payload)
                    stranger.close()
        self.check_alive()

    def test_huge_frames(self):
        # Spoken by hand (ZMTP 3.0, RFC 23): a libzmq client whose peer closes on such a frame can crash itself.
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
        for name in ("tasks", "workers", "events", "peers"):
            kind = b"DEALER" if name in ("tasks", "workers") else b"SUB"
            ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
            host, port = self.service.file[name].removeprefix("tcp://").split(":")
            for length, body in ((100_000_000, b"\x01" * 100_000_000), (1 << 62, b"\x01" * 1000)):
                with socket.create_connection((host, int(port)), timeout=20) as connection:
                    try:
                        connection.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
                        connection.sendall(b"\x02" + length.to_bytes(8, "big"))
                        connection.sendall(body)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass
                    except OSError:
                        pass  # the broker closed the connection: that is what the limit is for
        self.check_alive()

    def test_a_request_over_the_limit_is_refused(self):
        client = self.service.client()
        reply = client.request("submit", task={"kind": "generate", "params": {"model": "demo", "prompt": "x" * (17 << 20)}})
        self.assertEqual(reply["error"]["code"], "too_large")

    def test_whoever_sends_what_cannot_be_read_is_told_so(self):
        for params in ('{"prompt":"a\\u0000b"}', '{"stop":' + "[" * 60 + "]" * 60 + "}"):
            said = self.service.run("submit", "generate", "--model", "demo", "--params", params, status=2, timeout=60)
            self.assertTrue("U+0000" in said or "deep" in said, said)

    def test_random_messagepack_maps(self):
        import random

        seed = random.randrange(1 << 32)
        chance = random.Random(seed)

        def value(depth):
            kind = chance.randrange(8 if depth < 4 else 5)
            if kind == 0:
                return chance.choice([None, True, False])
            if kind == 1:
                return chance.randrange(-(1 << 40), 1 << 40)
            if kind == 2:
                return chance.random() * 10 ** chance.randrange(-10, 10)
            if kind == 3:
                return chance.choice(["submit", "generate", "demo", "", "\u0000", "é" * 20])
            if kind == 4:
                return chance.randbytes(8)
            if kind == 5:
                return [value(depth + 1) for _ in range(chance.randrange(4))]
            names = ["op", "id", "task", "tasks", "kind", "params", "ids", "model", "prompt", "n", "key", "x"]
            return {chance.choice(names): value(depth + 1) for _ in range(chance.randrange(6))}

        client = self.service.client(packed=True)
        for round in range(500):
            message = {"op": chance.choice(["submit", "get", "wait", "cancel", "ping", "models", "watch", "x"])}
            while len(message) < chance.randrange(2, 6):
                message[chance.choice(["id", "task", "tasks", "ids", "timeout_ms", "model"])] = value(0)
            message.pop("timeout_ms", None)
            reply = msgpack.unpackb(client.raw(msgpack.packb(message)))
            self.assertIn("ok", reply, f"seed {seed} round {round}")
        self.check_alive()

    def check_alive(self):
        self.assertIsNone(self.service.process.poll())
        client = self.service.client()
        client.ask("ping")
        client.generate(model="demo", prompt="the", max_length=8)
        client.close()


if __name__ == "__main__":
    unittest.main()
