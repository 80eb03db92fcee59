"""The main job: a text becomes a dataset, a finetune makes a model, a generate writes texts, and SQL shows them."""

import json
import os
import tempfile
import unittest

import support


class MainPath(support.ServiceTestCase):
    def test_from_text_to_sql(self):
        service = self.service
        corpus = os.path.join(support.FIXTURES, "corpus.txt")
        service.run("dataset", "add", corpus, "--name", "corpus")
        self.assertEqual(service.sql("SELECT name, bytes FROM scriptorium.datasets"), [("corpus", os.path.getsize(corpus))])
        self.assertIn("corpus", service.run("dataset", "list"))

        client = service.client()
        finetune = client.submit(
            "finetune",
            {
                "config": "gpt2-cpu", "dataset": {"name": "corpus"}, "output": "small", "tokenizer": {"train": {"vocab_size": 400}},
                "block_size": 32, "batch_size": 4, "num_steps": 40, "save_every": 20, "generate_every": 20, "seed": 7,
            },
        )  # fmt: skip
        status = client.result(finetune, 120)
        self.assertEqual(status["state"], "succeeded", status)
        result = status["result"]
        self.assertEqual((result["model"], result["steps"]), ("small", 40))
        self.assertLess(result["final_loss"], 6)

        steps = service.sql("SELECT step, loss FROM scriptorium.training_steps WHERE task_id = %s ORDER BY step", finetune)
        self.assertEqual(steps[-1][0], 40)
        self.assertLess(steps[-1][1], steps[0][1])
        checkpoints = service.sql("SELECT step, sha256 FROM scriptorium.checkpoints WHERE model = 'small' ORDER BY step")
        self.assertEqual([step for step, _ in checkpoints], [20, 40])
        self.assertEqual(checkpoints[-1][1], result["checkpoint"]["sha256"])

        status = client.generate(model="small", prompt="The", n=3, max_length=24)
        result = status["result"]
        self.assertEqual([g["sample"] for g in result["generations"]], [0, 1, 2])
        rows = service.sql(
            "SELECT model, seed, checkpoint_sha256, text, sample FROM scriptorium.generations WHERE task_id = %s ORDER BY sample", status["id"]
        )
        self.assertEqual(len(rows), 3)
        for row, generation in zip(rows, result["generations"]):
            self.assertEqual(row, ("small", result["seed"], checkpoints[-1][1], generation["text"], generation["sample"]))
            self.assertTrue(row[3].startswith("The"))

        again = client.generate(model="small", prompt="The", n=3, max_length=24, seed=result["seed"])
        self.assertEqual([g["text"] for g in again["result"]["generations"]], [row[3] for row in rows])

        # The first checkpoint can be named by its step, and is another model than the last.
        early = client.generate(model="small@20", prompt="The", n=1, max_length=24, seed=result["seed"])
        self.assertEqual(early["result"]["model"]["sha256"], checkpoints[0][1])

    def test_a_model_survives_export_and_import(self):
        with tempfile.TemporaryDirectory() as folder:
            exported = os.path.join(folder, "out")
            self.service.run("model", "export", "demo", exported)
            self.assertTrue({"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(exported)))
            self.service.run("model", "import", exported, "--name", "again")
        models = {m["name"]: m for m in self.service.client().ask("models")["models"]}
        self.assertEqual(models["again"]["sha256"], models["demo"]["sha256"])
        self.assertIn("again", self.service.run("model", "list"))

    def test_the_service_writes_what_the_engine_alone_writes_in_every_precision(self):
        parameters = {"prompt": "the", "n": 4, "seed": 4242, "max_length": 32, "temperature": 1.1, "top_k": 40}
        client = self.service.client()
        # All at once, so that a worker holds the model in each precision and must not mix them up.
        tasks = {name: client.submit("generate", {"model": "demo", "precision": name, **parameters}) for name in ("int8", "float32", "bfloat16")}
        texts = set()
        for precision, task in tasks.items():
            status = client.result(task, 60)
            self.assertEqual(status["state"], "succeeded", status)
            result = status["result"]
            self.assertEqual((result["precision"], result["numerics"]), (precision, precision + "/1"))
            served = [g["text"] for g in result["generations"]]
            lines = support.run(
                "generate", "--model", os.path.join(support.FIXTURES, "gpt2"), "--prompt", "the", "--n", 4, "--seed", 4242, "--max-length", 32,
                "--temperature", 1.1, "--top-k", 40, "--precision", precision, "--json",
            ).splitlines()  # fmt: skip
            self.assertEqual([json.loads(line)["text"] for line in lines], served)
            rows = self.service.sql("SELECT DISTINCT precision, numerics FROM scriptorium.generations WHERE task_id = %s", task)
            self.assertEqual(rows, [(precision, precision + "/1")])
            texts.add(tuple(served))
        self.assertEqual(len(texts), 3)
        (numerics,) = self.service.sql("SELECT DISTINCT numerics FROM scriptorium.workers")
        self.assertEqual(sorted(numerics[0]), ["bfloat16/1", "float32/1", "int8/1"])

    def test_publishing_in_sql(self):
        rows = self.service.sql("""SELECT scriptorium.submit('generate', '{"model": "demo", "prompt": "the", "max_length": 16, "seed": 5}')""")
        status = self.service.client().result(rows[0][0], 30)
        self.assertEqual(status["state"], "succeeded", status)
        rows = self.service.sql("""SELECT scriptorium.submit('generate', '{"model": "demo", "top_p": 7}')""")
        status = self.service.client().result(rows[0][0], 30)
        self.assertEqual((status["state"], status["error"]["code"], status["error"]["field"]), ("failed", "invalid_argument", "params.top_p"))

    def test_health_and_metrics(self):
        import urllib.request

        base = "http://" + self.service.file["http"]
        self.assertEqual(urllib.request.urlopen(base + "/healthz").status, 200)
        self.assertEqual(urllib.request.urlopen(base + "/readyz").status, 200)
        self.service.client().generate(model="demo", prompt="the", max_length=12)
        page = urllib.request.urlopen(base + "/metrics").read().decode()
        for name in ["queue_depth", "queue_oldest_seconds", "leases", "lapsed_total", "stale_writes_total", "recorded_total", "tokens_total"]:
            self.assertIn(f"\nscriptorium_{name}", page)


if __name__ == "__main__":
    unittest.main()
