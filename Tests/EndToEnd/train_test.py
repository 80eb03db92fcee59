"""`train` without a service: what it refuses, what it keeps, and what its files say."""

import json
import os
import shutil
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
