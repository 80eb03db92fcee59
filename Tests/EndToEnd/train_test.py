"""`train` without a service: what it refuses, what it keeps, and what its files say."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
import unittest

import support
from support import run

MODEL = os.path.join(support.FIXTURES, "gpt2")
CORPUS = os.path.join(support.FIXTURES, "corpus.txt")
SMALL = ["--num-steps", 2, "--block-size", 16, "--generate-every", 0, "--seed", 3]


class Train(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def config(self, name):
        with open(self.path(name, "config.json")) as file:
            return json.load(file)

    def test_only_a_model_gives_way_and_what_lies_beside_it_stays(self):
        flags = ["train", CORPUS, "--model", MODEL, *SMALL]
        os.makedirs(self.path("models", "mine"))
        self.assertIn("no model", run(*flags, "--output", self.path("models"), "--overwrite", status=2))
        run(*flags, "--output", self.path("made"))
        with open(self.path("made", "notes.txt"), "w") as file:
            file.write("mine")
        self.assertIn("notes.txt", run(*flags, "--output", self.path("made"), "--overwrite", status=2))
        # A run that goes on keeps it, through every checkpoint of its own.
        run(*flags, "--output", self.path("made"), "--resume", "--save-every", 1)
        with open(self.path("made", "notes.txt")) as file:
            self.assertEqual(file.read(), "mine")
        os.remove(self.path("made", "notes.txt"))
        run(*flags, "--output", self.path("made"), "--overwrite")
        self.assertIn("model.safetensors", os.listdir(self.path("made")))

    def test_a_run_that_is_refused_memory_ends_and_never_computes_something_else(self):
        with open(self.path("config.json"), "w") as file:
            sizes = {"vocab_size": 400, "n_positions": 1024, "n_embd": 16, "n_layer": 1, "n_head": 1, "bos_token_id": 0, "eos_token_id": 0}
            json.dump({"model_type": "gpt2", **sizes}, file)
        flags = ["train", CORPUS, "--model-config", self.path("config.json"), "--tokenizer", MODEL, "--overwrite", "--threads", "1"]
        flags += ["--num-steps", "1", "--batch-size", "1", "--block-size", "1024", "--seed", "4", "--generate-every", "0"]
        run(*flags, "--output", self.path("honest"))
        with open(self.path("honest", "model.safetensors"), "rb") as file:
            honest = file.read()
        refused = 0
        for megabytes in range(60, 110, 2):
            done = subprocess.run(
                [support.PROGRAM, *map(str, flags), "--output", self.path("made")], capture_output=True, timeout=120,
                env=support.environment(SCRIPTORIUM_ISA="plain"),
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20)),
            )  # fmt: skip
            if done.returncode != 0:
                refused += 1
                continue
            with open(self.path("made", "model.safetensors"), "rb") as file:
                self.assertTrue(file.read() == honest, f"another model within {megabytes} MiB")
        self.assertGreater(refused, 0)
        support.say(f"memory refused in {refused} of 25 runs")

    def test_going_on_without_the_seed_says_that_other_flags_change_nothing(self):
        run("train", CORPUS, "--model", MODEL, *SMALL, "--output", self.path("made"))
        for flags, told in ((["--num-steps", 9], True), (["--num-steps", 2, "--block-size", 16, "--generate-every", 0], False)):
            done = subprocess.run(
                [support.PROGRAM, "train", CORPUS, "--model", MODEL, *map(str, flags), "--output", self.path("made"), "--resume"],
                capture_output=True, text=True, timeout=120, env=support.environment(),
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual("other flags change nothing" in done.stderr, told, done.stderr)

    def test_a_model_keeps_its_own_tokenizer(self):
        run("tokenizer", "train", CORPUS, "--output", self.path("other"), "--vocab-size", 300)
        flags = ["train", CORPUS, "--model", MODEL, *SMALL, "--output", self.path("made")]
        self.assertIn("--tokenizer", run(*flags, "--tokenizer", self.path("other"), status=2))
        self.assertFalse(os.path.exists(self.path("made")))
        shutil.copy(os.path.join(MODEL, "tokenizer.json"), self.path("copy.json"))
        run(*flags, "--tokenizer", self.path("copy.json"))

    def test_an_encoded_file_says_itself_how_its_texts_stand(self):
        run("encode", CORPUS, "--tokenizer", MODEL, "--output", self.path("lines"), "--line-by-line")
        run("train", self.path("lines"), "--from-cache", "--model", MODEL, *SMALL, "--output", self.path("apart"))
        self.assertIs(self.config("apart")["line_by_line"], True)
        run("encode", CORPUS, "--tokenizer", MODEL, "--output", self.path("bulk"))
        run("train", self.path("bulk"), "--from-cache", "--model", self.path("apart"), *SMALL, "--output", self.path("joined"))
        self.assertIs(self.config("joined")["line_by_line"], False)


if __name__ == "__main__":
    unittest.main()
