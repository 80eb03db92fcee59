"""Finetunes through the service: several datasets, adapters, bfloat16, runs that diverge, workers that die on the way."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

import support

SMALL = {"batch_size": 2, "block_size": 32, "generate_every": 0, "seed": 5}


class Finetunes(support.ServiceTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(support.FIXTURES, "corpus.txt")) as file:
            corpus = file.read()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        for name, text in [("first", corpus[:20000]), ("second", corpus[-15000:])]:
            path = os.path.join(cls.folder.name, name + ".txt")
            with open(path, "w") as file:
                file.write(text)
            cls.service.run("dataset", "add", path, "--name", name)
        table = os.path.join(cls.folder.name, "rows.csv")
        with open(table, "w") as file:
            file.write("text,other\n" + "".join(f'"row {i}, a river and a stone",{i}\n' for i in range(200)))
        cls.service.run("dataset", "add", table, "--name", "rows")
        client = cls.service.client()
        params = {**SMALL, "config": "gpt2-cpu", "dataset": {"name": "first"}, "output": "base", "tokenizer": {"train": {"vocab_size": 400}}}
        status = client.result(client.submit("finetune", {**params, "num_steps": 30}), 120)
        assert status["state"] == "succeeded", status

    def finetune(self, **params):
        client = self.service.client()
        status = client.result(client.submit("finetune", {**SMALL, **params}), 120)
        self.assertEqual(status["state"], "succeeded", status)
        return status

    def sha256(self, status):
        return status["result"]["checkpoint"]["sha256"]

    def through_a_kill(self, name, **params):
        """The digest of a run whose workers are killed after its first checkpoint."""
        service, client = self.service, self.service.client()
        task = client.submit("finetune", {**SMALL, "save_every": 20, "output": name, **params})
        support.wait_until(
            lambda: service.sql("SELECT 1 FROM scriptorium.checkpoints WHERE task_id = %s", task), 60, "the first checkpoint"
        )
        for pid in service.file["pids"]["workers"]:
            os.kill(pid, signal.SIGKILL)
        status = client.result(task, 120)
        self.assertEqual(status["state"], "succeeded", status)
        rows = service.sql("SELECT count(*), count(DISTINCT step), min(step), max(step) FROM scriptorium.training_steps WHERE task_id = %s", task)
        steps = status["result"]["steps"]
        self.assertEqual(rows, [(steps, steps, 1, steps)])
        return status["attempt"], self.sha256(status)

    def test_a_generate_waits_for_the_finetune_that_makes_its_model(self):
        client = self.service.client()
        training = client.submit("finetune", {**SMALL, "model": "base", "dataset": {"name": "first"}, "output": "not-yet", "num_steps": 20})
        text = client.submit("generate", {"model": "not-yet", "prompt": "the", "max_length": 12}, after=[training])
        status = client.result(text, 120)
        self.assertEqual(status["state"], "succeeded", status)
        trained = client.result(training)["result"]["checkpoint"]["sha256"]
        self.assertEqual(status["result"]["model"]["sha256"], trained)

    def test_datasets_one_after_another_survive_a_kill(self):
        params = {
            "model": "base", "cross_train": [{"name": "first"}, {"merge": [{"name": "second"}, {"name": "rows", "line_by_line": True}]}],
            "num_steps": 300, "dropout": 0.1,
        }  # fmt: skip
        whole = self.finetune(output="crossed", **params)
        self.assertEqual(whole["result"]["steps"], 450)
        attempt, digest = self.through_a_kill("crossed-again", **params)
        self.assertGreaterEqual(attempt, 2)
        self.assertEqual(digest, self.sha256(whole))
        resolved = self.service.sql("SELECT resolved FROM scriptorium.tasks WHERE id = %s", whole["id"])[0][0]
        self.assertEqual([d["name"] for d in resolved["datasets"]], ["first", "second", "rows"])
        self.assertEqual([d["line_by_line"] for d in resolved["datasets"]], [False, False, True])
        rates = dict(self.service.sql("SELECT step, learning_rate FROM scriptorium.training_steps WHERE task_id = %s", whole["id"]))
        self.assertAlmostEqual(rates[1], 1e-3)
        self.assertAlmostEqual(rates[301], 5e-4)

    def test_an_adapter_is_trained_in_bfloat16_served_merged_and_exported(self):
        params = {"model": "base", "dataset": {"name": "second"}, "num_steps": 300, "precision": "bfloat16", "lora": {"rank": 4, "dropout": 0.1}}
        whole = self.finetune(output="adapted", **params)
        attempt, digest = self.through_a_kill("adapted-again", **params)
        self.assertGreaterEqual(attempt, 2)
        self.assertEqual(digest, self.sha256(whole))
        client = self.service.client()
        texts = {}
        for model in ["base", "adapted"]:
            status = client.generate(model=model, prompt="The", max_length=24, seed=3)
            texts[model] = status["result"]["generations"][0]["text"]
        self.assertEqual(status["result"]["model"]["sha256"], digest)
        with tempfile.TemporaryDirectory() as folder:
            merged, adapter = os.path.join(folder, "merged"), os.path.join(folder, "adapter")
            self.service.run("model", "export", "adapted", merged)
            self.assertFalse(any(name.startswith("adapter") for name in os.listdir(merged)))
            said = support.run("generate", "--model", merged, "--prompt", "The", "--max-length", "24", "--seed", "3", "--json")
            self.assertEqual(json.loads(said)["text"], texts["adapted"])
            self.service.run("model", "export", "adapted", adapter, "--adapter")
            self.assertEqual(sorted(os.listdir(adapter)), ["adapter_config.json", "adapter_model.safetensors"])
            with open(os.path.join(adapter, "adapter_config.json")) as file:
                config = json.load(file)
            self.assertEqual((config["peft_type"], config["r"], config["target_modules"]), ("LORA", 4, ["c_attn"]))

    def test_a_run_that_diverges_names_its_step_and_keeps_its_checkpoints(self):
        client = self.service.client()
        task = client.submit(
            "finetune",
            {**SMALL, "model": "base", "output": "wild", "dataset": {"name": "first"}, "num_steps": 500, "learning_rate": 1000,
             "weight_decay": 1000, "save_every": 1},
        )  # fmt: skip
        status = client.result(task, 120)
        self.assertEqual((status["state"], status["attempt"]), ("failed", 1), status)
        self.assertEqual(status["error"]["code"], "model_error")
        self.assertRegex(status["error"]["message"], r"at step \d+")
        kept = self.service.sql("SELECT max(step) FROM scriptorium.checkpoints WHERE task_id = %s", task)[0][0]
        self.assertGreaterEqual(kept, 1)
        self.assertEqual(self.service.sql("SELECT 1 FROM scriptorium.models WHERE name = 'wild'"), [])

    def test_the_command_line_says_all_of_it(self):
        said = self.service.run(
            "submit", "finetune", "--model", "base", "--output", "said", "--cross-train", "first,second", "--num-steps", "8", "--batch-size", "2",
            "--block-size", "32", "--precision", "bfloat16", "--lora-rank", "3", "--lora-targets", "c_attn,mlp.c_proj", "--freeze-layers", "--json",
            status=2,
        )  # fmt: skip
        self.assertIn("freeze_layers", said)
        said = self.service.run(
            "submit", "finetune", "--model", "base", "--output", "said", "--merge", "first,second", "--no-equalize", "--num-steps", "8",
            "--batch-size", "2", "--block-size", "32", "--precision", "bfloat16", "--lora-rank", "3", "--lora-targets", "c_attn,mlp.c_proj",
            "--wait", "--json",
        )  # fmt: skip
        self.assertIn("succeeded", said)
        params = self.service.sql("SELECT params FROM scriptorium.tasks WHERE params->>'output' = 'said'")[0][0]
        self.assertEqual(params["dataset"], {"merge": [{"name": "first"}, {"name": "second"}], "equalize": False})
        self.assertEqual(params["lora"], {"rank": 3, "targets": ["c_attn", "mlp.c_proj"]})

    def test_encoded_files_are_added_as_what_they_are(self):
        corpus = os.path.join(support.FIXTURES, "corpus.txt")
        tokenizer = os.path.join(support.FIXTURES, "gpt2")
        old = os.path.join(support.ROOT, "Tests", "Fixtures", "files", "dataset_cache.tar.gz")
        with tempfile.TemporaryDirectory() as folder:
            cache = os.path.join(folder, "cache")
            encoded = json.loads(support.run("encode", corpus, "--tokenizer", tokenizer, "--line-by-line", "--output", cache, "--json"))
            self.service.run("dataset", "add", cache, "--name", "encoded")
            self.assertIn("leave out --line-by-line", self.service.run("dataset", "add", cache, "--name", "no", "--line-by-line", status=2))
            self.assertIn("alone", self.service.run("dataset", "add", cache, corpus, "--name", "no", status=2))
        self.assertIn("--tokenizer", self.service.run("dataset", "add", old, "--name", "no", status=2))
        with tempfile.TemporaryDirectory() as folder:
            # The cache's ids go up to 999: the tokenizer must have so many.
            texts = [os.path.join(support.ROOT, name) for name in ("README.md", "docs/protocol.md", "docs/operations.md")]
            support.run("tokenizer", "train", *texts, "--output", folder, "--vocab-size", 1000)
            self.service.run("dataset", "add", old, "--name", "old", "--tokenizer", folder)
        rows = self.service.sql("SELECT name, tokens, line_by_line, tokenizer_sha256 IS NOT NULL FROM scriptorium.datasets WHERE name IN ('encoded', 'old', 'no')")
        self.assertEqual(sorted(rows), [("encoded", encoded["tokens"], True, True), ("old", 200, False, True)])
        self.service.run("model", "import", tokenizer, "--name", "reference")
        status = self.finetune(model="reference", dataset={"name": "encoded"}, output="from-encoded", num_steps=2)
        row = self.service.sql("SELECT config FROM scriptorium.checkpoints WHERE task_id = %s", status["id"])[0][0]
        self.assertIs(row["line_by_line"], True)

    def test_a_dataset_that_is_not_there_is_named(self):
        client = self.service.client()
        params = {**SMALL, "model": "base", "output": "none", "cross_train": [{"name": "first"}, {"name": "third"}]}
        reply = client.request("submit", task={"kind": "finetune", "params": params})
        self.assertEqual((reply["error"]["code"], reply["error"]["field"]), ("not_found", "task.params.cross_train"))


class TrainAlone(unittest.TestCase):
    def test_an_interrupted_train_goes_on_to_the_same_digest(self):
        corpus = os.path.join(support.FIXTURES, "corpus.txt")
        with tempfile.TemporaryDirectory() as folder:
            flags = ["train", corpus, "--model-config", "gpt2-cpu", "--vocab-size", "300", "--num-steps", "400", "--batch-size", "2", "--seed", "9",
                     "--dropout", "0.1", "--generate-every", "150", "--json"]  # fmt: skip
            whole = json.loads(support.run(*flags, "--output", os.path.join(folder, "whole")).splitlines()[-1])
            process = subprocess.Popen(
                [support.PROGRAM, *flags, "--output", os.path.join(folder, "part")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=support.environment(),
            )  # fmt: skip
            with process:
                # Each step is told as it is done, also into a pipe.
                self.assertIn("step", json.loads(process.stdout.readline()))
                process.send_signal(signal.SIGINT)
                said = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, 130, said)
            self.assertIn("--resume", said)
            last = json.loads(support.run(*flags, "--output", os.path.join(folder, "part"), "--resume").splitlines()[-1])
            self.assertEqual(last["sha256"], whole["sha256"])
            said = support.run(*flags, "--output", os.path.join(folder, "part"), status=2)
            self.assertIn("--overwrite", said)


if __name__ == "__main__":
    unittest.main()
