"""Datasets that tasks name by web address: fetched where the operator allows it, once, and pinned before anything starts."""

import json
import os
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import support

LIMIT = 60_000


class Web(ThreadingHTTPServer):
    """A server whose pages may be changed, and that counts what is asked for."""

    daemon_threads = True

    def __init__(self, pages):
        self.pages, self.asked = pages, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        page = self.server.pages.get(self.path)
        status, headers, body = page if isinstance(page, tuple) else (200, {}, page) if page is not None else (404, {}, b"")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class WebDatasets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(support.FIXTURES, "corpus.txt"), "rb") as file:
            cls.corpus = file.read()
        cls.web = Web(
            {
                "/data/corpus.txt": cls.corpus, "/data/sql.txt": cls.corpus[:20_000], "/other/secret.txt": b"secret",
                "/data/large.txt": b"x" * (LIMIT + 1), "/data/moved.txt": (302, {"Location": "/data/corpus.txt"}, b""),
            }
        )  # fmt: skip
        cls.service = support.Service(arguments=["--allow-uri", cls.web.address + "/data/", "--max-uri-bytes", str(LIMIT)])

    @classmethod
    def tearDownClass(cls):
        cls.service.remove()
        cls.web.shutdown()
        cls.web.server_close()

    def params(self, path, output, **more):
        uri = path if "://" in path else self.web.address + path
        return {
            "config": "gpt2-cpu", "tokenizer": {"train": {}}, "output": output, "dataset": {"uri": uri}, "block_size": 16, "num_steps": 2, **more,
        }  # fmt: skip

    def submit(self, params):
        """As a client does: asks again while the dataset is on its way."""
        client = self.service.client()
        end = time.monotonic() + 30
        while True:
            reply = client.request("submit", task={"kind": "finetune", "params": params})
            if reply["ok"] or reply["error"]["code"] not in ("busy", "unavailable") or time.monotonic() > end:
                return reply
            time.sleep(0.05)

    def gets(self, path):
        return self.web.asked.count(("GET", path))

    def test_a_dataset_is_fetched_once_and_pinned(self):
        client = self.service.client()
        replies = [self.submit(self.params("/data/corpus.txt", f"from-web-{number}", seed=7)) for number in range(2)]
        self.assertTrue(all(reply["ok"] for reply in replies), replies)
        tasks = [reply["tasks"][0]["id"] for reply in replies]
        statuses = [client.result(task) for task in tasks]
        self.assertEqual([status["state"] for status in statuses], ["succeeded"] * 2, statuses)
        self.assertEqual(self.gets("/data/corpus.txt"), 1)
        pinned = self.service.sql("SELECT DISTINCT resolved->'dataset'->>'sha256' FROM scriptorium.tasks WHERE id = ANY (%s::uuid[])", tasks)
        self.assertEqual(len(pinned), 1)
        self.assertRegex(pinned[0][0], r"^[0-9a-f]{64}$")
        # The same text in the task itself gives the same weights.
        inline = self.params("/data/corpus.txt", "inline", seed=7)
        inline["dataset"] = {"text": self.corpus.decode()}
        status = client.result(client.submit("finetune", inline))
        self.assertEqual(status["result"]["checkpoint"]["sha256"], statuses[0]["result"]["checkpoint"]["sha256"])

    def test_a_task_from_sql_waits_for_its_dataset(self):
        ((task,),) = self.service.sql("SELECT scriptorium.submit('finetune', %s::jsonb)", json.dumps(self.params("/data/sql.txt", "from-sql")))
        self.assertEqual(self.service.client().result(str(task))["state"], "succeeded")

    def test_the_command_line_names_an_address(self):
        self.service.run(
            "submit", "finetune", "--model-config", "gpt2-cpu", "--output", "from-line", "--dataset", self.web.address + "/data/corpus.txt",
            "--num-steps", 2, "--block-size", 16, "--wait",
        )  # fmt: skip

    def test_what_may_not_be_fetched_is_refused_and_never_asked_for(self):
        addresses = [
            "/other/secret.txt", "/data/../other/secret.txt", "/data/%2e%2e/other/secret.txt", "/data/..%2fother/secret.txt", "http://example.org/x",
            self.web.address.replace("127.0.0.1", "localhost") + "/data/corpus.txt", self.web.address.replace("http://", "http://user@") + "/data/corpus.txt",
        ]  # fmt: skip
        for address in addresses:
            reply = self.submit(self.params(address, "refused"))
            self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("invalid_argument", "task.params.dataset.uri"), (address, reply))
        self.assertEqual([path for _, path in self.web.asked if "other" in path], [])

    def test_what_cannot_be_fetched_is_refused_with_the_reason(self):
        for path, word in (("/data/none.txt", "does not exist"), ("/data/large.txt", str(LIMIT)), ("/data/moved.txt", "302")):
            reply = self.submit(self.params(path, "refused"))
            self.assertEqual(reply["error"]["code"], "invalid_argument", reply)
            self.assertIn(word, reply["error"]["message"])
        self.assertEqual(self.gets("/data/large.txt"), 0)

    def test_a_tokenizer_never_comes_from_the_web(self):
        params = self.params("/data/corpus.txt", "refused", tokenizer={"uri": self.web.address + "/data/corpus.txt"})
        self.assertEqual(self.submit(params)["error"]["field"], "task.params.tokenizer.uri")


if __name__ == "__main__":
    unittest.main()
