"""SCRIPTORIUM_ISA: the same files under every instruction set of this processor and any number of threads; one that the processor
lacks ends every command that computes."""

import glob
import hashlib
import json
import os
import subprocess
import tempfile
import unittest
import unittest.mock

import support
from support import run

MODEL = os.path.join(support.FIXTURES, "gpt2")
CORPUS = os.path.join(support.FIXTURES, "corpus.txt")
ALL = ["plain", "avx2", "avx512", "neon"]


def processor(**settings):
    """What doctor says about the processor."""
    said = subprocess.run([support.PROGRAM, "doctor", "--json"], capture_output=True, text=True, env=support.environment(**settings), timeout=120)
    checks = [json.loads(line) for line in said.stdout.splitlines()]
    return next(check for check in checks if check["check"] == "processor")


def available():
    """The sets of this processor, the narrowest first: doctor says `avx2 of plain, avx2; …`."""
    return processor()["found"].split(";")[0].split(" of ")[1].split(", ")


def digests(folder):
    """The SHA-256 of every file of a folder, by name."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "**"), recursive=True)):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def proof(folder):
    """A file with the proofs of some texts."""
    path = os.path.join(folder, "proofs.jsonl")
    with open(path, "w") as file:
        file.write(run("generate", "--model", MODEL, "--prompt", "of the", "--n", 2, "--seed", 3, "--max-length", 40, "--json"))
    return path


class SameFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sets = available()
        support.say(f"instruction sets: {cls.sets}, not on this processor: {[name for name in ALL if name not in cls.sets]}")

    def everywhere(self, make):
        """Calls make(environment, threads) for each set and 1 and 2 threads; all results must be equal, and not empty."""
        results = {(name, threads): make(support.environment(SCRIPTORIUM_ISA=name), threads) for name in self.sets for threads in (1, 2)}
        wanted = results[("plain", 1)]
        self.assertTrue(wanted)
        for key, result in results.items():
            self.assertEqual(result, wanted, key)

    def test_generated_files(self):
        edits = [
            [], ["--temperature", 1.3, "--top-k", 40, "--top-p", 0.9], ["--typical-p", 0.8, "--repetition-penalty", 1.2, "--logprobs", 3],
            ["--num-beams", 3, "--no-do-sample"], ["--rng", "torch"], ["--precision", "bfloat16"], ["--precision", "int8"],
        ]  # fmt: skip
        for edit in edits:
            with self.subTest(edit=edit):
                arguments = ["generate", "--model", MODEL, "--prompt", "of the", "--n", 3, "--seed", 11, "--max-length", 60, "--json", *edit]
                self.everywhere(lambda environment, threads: run(*arguments, "--threads", threads, env=environment))

    def test_scores(self):
        ids = ",".join(str(5 + i * 37 % 250) for i in range(60))
        for precision in ("float32", "bfloat16", "int8"):
            with self.subTest(precision=precision):
                arguments = ["score", "--model", MODEL, "--ids", ids, "--logits", "--json", "--precision", precision]
                self.everywhere(lambda environment, threads: run(*arguments, "--threads", threads, env=environment))

    def test_verdicts(self):
        with tempfile.TemporaryDirectory() as folder:
            proofs = proof(folder)
            self.everywhere(lambda environment, threads: run("verify", proofs, "--model", MODEL, "--json", "--threads", threads, env=environment))

    def test_trained_checkpoints(self):
        for precision in ("float32", "bfloat16"):
            with self.subTest(precision=precision), tempfile.TemporaryDirectory() as folder:

                def train(environment, threads):
                    output = os.path.join(folder, "trained")
                    arguments = ["--model", MODEL, "--num-steps", 3, "--batch-size", 2, "--block-size", 48, "--seed", 4, "--generate-every", 0]
                    run("train", CORPUS, "--output", output, "--overwrite", "--precision", precision, "--threads", threads, *arguments, env=environment)
                    return digests(output)

                self.everywhere(train)


class Service(unittest.TestCase):
    def test_the_workers_of_up_run_the_set_that_is_forced(self):
        for name in available():
            with self.subTest(set=name), unittest.mock.patch.dict(os.environ, SCRIPTORIUM_ISA=name):
                service = support.Service(workers=2)
                try:
                    seen = "SELECT instruction_set FROM scriptorium.workers"
                    support.wait_until(lambda: len(service.sql(seen)) == 2, 30, "two workers")
                    self.assertEqual(service.sql(seen), [(name,)] * 2)
                finally:
                    service.remove()


class Refused(unittest.TestCase):
    def commands(self, folder):
        return [
            ["generate", "--model", MODEL, "--prompt", "x"], ["score", "--model", MODEL, "--ids", "1,2"],
            ["train", CORPUS, "--output", os.path.join(folder, "m"), "--tokenizer", MODEL, "--model-config", "gpt2-cpu", "--num-steps", "1"],
            ["worker", "--broker", "tcp://127.0.0.1:1"], ["up", "--data-dir", os.path.join(folder, "data")], ["doctor"], ["doctor", "--functions"],
            ["bench", "decode"], ["bench", "prefill"], ["bench", "train"], ["bench", "tokenizer"], ["bench", "verify"], ["verify", proof(folder), "--model", MODEL],
        ]  # fmt: skip

    def test_a_set_that_the_processor_lacks_is_status_2_with_the_list(self):
        sets = available()
        lacking = ["altivec"] + [name for name in ALL if name not in sets][:1]
        for name in lacking:
            with tempfile.TemporaryDirectory() as folder:
                for arguments in self.commands(folder):
                    with self.subTest(command=arguments[:2], set=name):
                        said = run(*arguments, status=2, env=support.environment(SCRIPTORIUM_ISA=name))
                        self.assertIn(f'"{name}"', said)
                        self.assertIn(", ".join(sets), said)
                self.assertEqual(glob.glob(os.path.join(folder, "m")), [])

    def test_doctor_shows_the_set_in_use(self):
        sets = available()
        for name in sets:
            check = processor(SCRIPTORIUM_ISA=name)
            self.assertTrue(check["found"].startswith(f"{name} of {', '.join(sets)};"), check)
            if name != sets[-1]:
                self.assertEqual(check["verdict"], "warn")


class Functions(unittest.TestCase):
    def test_doctor_takes_the_settings_of_the_process_that_makes_trouble(self):
        self.assertEqual(processor(SCRIPTORIUM_THREADS="2"), processor())

    def test_one_function_over_all_floats_on_one_thread(self):
        name = available()[-1]
        said = run("doctor", "--function", "relu", "--threads", "1", "--json", env=support.environment(SCRIPTORIUM_ISA=name), timeout=600)
        check = json.loads(said)
        self.assertEqual((check["check"], check["verdict"]), (f"relu on {name}", "ok"))

    def test_an_unknown_function_is_named_with_those_there_are(self):
        said = run("doctor", "--function", "sinh", status=2)
        for name in ["sinh", "exp", "quick_gelu'"]:
            self.assertIn(name, said)

    @unittest.skipUnless(os.environ.get("ALL_FLOATS"), "minutes: ALL_FLOATS=1 looks at the functions over all 2^32 floats")
    def test_every_function_has_the_committed_bits_over_all_floats(self):
        checks = [json.loads(line) for line in run("doctor", "--functions", "--json", timeout=7200).splitlines()]
        self.assertEqual(len(checks), 16 * len(available()))
        self.assertEqual({check["verdict"] for check in checks}, {"ok"})


if __name__ == "__main__":
    unittest.main()
