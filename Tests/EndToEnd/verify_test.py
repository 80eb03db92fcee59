"""Texts are proved: by the service, by another machine that has only the model's files, and by the key of who vouches for them."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import support

MODEL = os.path.join(support.FIXTURES, "gpt2")
PARAMETERS = {"model": "demo", "prompt": "In the", "n": 3, "max_length": 40, "temperature": 1.1, "logprobs": 1, "banned_tokens": [0]}


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="scriptorium-verify-")
        cls.key = os.path.join(cls.folder, "signing.key")
        cls.public = support.run("keygen", "--signing", cls.key).split()[0]
        cls.service = support.Service(arguments=["--signing-key", cls.key])
        try:
            cls.service.import_reference()
            cls.client = cls.service.client()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.service.remove()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def generate(self, **more):
        """A finished generate task: its id and its texts' ids."""
        status = self.client.generate(**{**PARAMETERS, **more})
        return status["id"], [g["id"] for g in status["result"]["generations"]]

    def verify(self, **params):
        status = self.client.result(self.client.submit("verify", params))
        self.assertEqual(status["state"], "succeeded", status)
        return status["result"]

    def edit(self, change, generation):
        self.service.sql(f"UPDATE scriptorium.generations SET {change} WHERE id = %s", generation)

    def proof(self, generation):
        return self.service.sql("SELECT scriptorium.proof(g)::text FROM scriptorium.generations g WHERE id = %s", generation)[0][0]

    def elsewhere(self, proof, *arguments, status=0, model=MODEL):
        """`scriptorium verify` where there is nothing but the model's files."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(model, os.path.join(folder, "model"))
            lines = proof if isinstance(proof, str) else json.dumps(proof)
            done = subprocess.run(
                [support.PROGRAM, "verify", "-", "--model", "model", "--json", *arguments],
                input=lines.encode(), capture_output=True, cwd=folder, env=support.environment(), timeout=60,
            )  # fmt: skip
            self.assertEqual(done.returncode, status, done.stderr.decode())
            return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def test_a_task_and_a_text_are_proved(self):
        task, generations = self.generate()
        result = self.verify(task=task)
        self.assertEqual((result["verified"], result["reason"], result["method"], result["first_difference"]), (True, None, "forward", None))
        self.assertEqual([v["generation"] for v in result["verdicts"]], generations)
        for verdict in result["verdicts"]:
            self.assertGreater(verdict["surprisal_bits"], 64)
            self.assertFalse(verdict["findable"])
        one = self.verify(generation=generations[1])
        self.assertTrue(one["verified"])
        self.assertEqual(one["proof"], result["verdicts"][1]["proof"])
        replay = self.verify(generation=generations[2], method="replay")
        self.assertEqual((replay["verified"], replay["method"]), (True, "replay"))
        rows = self.service.sql("SELECT result ->> 'verified' FROM scriptorium.tasks WHERE kind = 'verify'")
        self.assertEqual({row[0] for row in rows}, {"true"})

    def test_parameters_of_every_kind(self):
        cases = [
            {"do_sample": False, "n": 1}, {"top_k": 5, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "repetition_penalty": 1.2},
            {"no_repeat_ngram_size": 2, "bad_words": ["the"], "min_length": 20, "stop": ["\n"], "truncate": "zq"},
            {"prompt": None, "prompts": ["In the", "", "caf\u00e9"], "deduplicate": True, "temperature": [0.5, 1.5], "include_prefix": False},
            {"schema": True, "schema_tokens": ["the", "a"], "lstrip": False, "clean_up_tokenization_spaces": True, "prepend_bos": True},
            {"num_beams": 3, "do_sample": False}, {"rng": "torch"}, {"sliding_window": True, "max_length": 90},
        ]  # fmt: skip
        for case in cases:
            with self.subTest(case):
                task, _ = self.generate(**{k: v for k, v in case.items()})
                result = self.verify(task=task)
                self.assertTrue(result["verified"], result)
                needs_replay = "num_beams" in case or "sliding_window" in case
                self.assertEqual(result["method"], "replay" if needs_replay else "forward")

    def test_an_edited_row_is_caught(self):
        edits = [
            ("text = overlay(text PLACING 'X' FROM 9 FOR 1)", "text_differs"),
            ("token_ids[4] = token_ids[4] %% 399 + 1", "token_differs"),
            ("seed = seed + 1", "token_differs"),
            ("prompt = 'In a'", "prompt_differs"),
            ("finish_reason = 'eos'", "finish_reason_differs"),
            ("params = jsonb_set(params, '{top_k}', '3')", "token_differs"),
            ("params = jsonb_set(params, '{stream}', 'true')", "record_changed"),
            ("seed_assigned = NOT seed_assigned", "record_changed"),
            ("numerics = 'float32/0'", "record_changed"),
            ("checkpoint_sha256 = repeat('a', 64)", "record_changed"),
            ("mean_logprob = mean_logprob - 0.001", "logprobs_differ"),
            ("logprobs = jsonb_set(logprobs, '{2,logprob}', '-1')", "logprobs_differ"),
            ("signature = NULL, record_sha256 = repeat('0', 64)", "record_changed"),
        ]
        for change, reason in edits:
            with self.subTest(change):
                task, generations = self.generate(n=2)
                before = self.service.sql("SELECT token_ids FROM scriptorium.generations WHERE id = %s", generations[1])[0][0]
                self.edit(change, generations[1])
                result = self.verify(task=task)
                self.assertEqual((result["verified"], result["reason"]), (False, reason), result)
                self.assertEqual([v["verified"] for v in result["verdicts"]], [True, False])
                difference = result["first_difference"]
                self.assertEqual(difference["generation"], generations[1])
                if change.startswith("token_ids"):
                    self.assertEqual((difference["token"], difference["expected"]), (3, before[3]))
                if reason == "text_differs":
                    self.assertEqual((difference["token"], difference["character"], difference["actual"][0]), (None, 8, "X"))

    def test_a_proof_is_checked_on_another_machine(self):
        task, generations = self.generate()
        # Out of SQL, out of a verdict, and as a reader of the database gets them.
        proofs = [self.proof(g) for g in generations]
        verdicts = self.elsewhere("\n".join(proofs), "--public-key", self.public)
        self.assertEqual([v["verified"] for v in verdicts], [True] * 3)
        self.assertEqual(self.elsewhere(json.dumps(self.verify(generation=generations[0]), indent=2))[0]["verified"], True)
        self.assertEqual(len(self.elsewhere(self.verify(task=task))), 3)
        self.assertEqual(self.elsewhere(proofs[0], "--replay")[0]["method"], "replay")

        proof = json.loads(proofs[0])
        self.assertEqual(self.elsewhere({**proof, "text": proof["text"] + " "}, status=1)[0]["reason"], "text_differs")
        for member, value in [("seed", proof["seed"] + 1), ("sample", 7), ("finish_reason", "stop"), ("tokenizer_sha256", "0" * 64)]:
            verdict = self.elsewhere({**proof, member: value}, status=1)[0]
            self.assertIs(verdict["verified"], False, member)
            self.assertIn("record_changed", verdict["reasons"])
        other = self.elsewhere(proof, status=1, model=os.path.join(support.FIXTURES, "gpt2-variant"))[0]
        self.assertEqual((other["verified"], other["reason"]), (None, "weights_missing"))

    def test_one_changed_weight(self):
        _, generations = self.generate()
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "model")
            shutil.copytree(MODEL, model)
            with open(os.path.join(model, "model.safetensors"), "r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)[0]
                file.seek(-1, os.SEEK_END)
                file.write(bytes([last ^ 1]))
            verdict = self.elsewhere(self.proof(generations[0]), status=1, model=model)[0]
        self.assertEqual((verdict["verified"], verdict["reason"]), (None, "weights_missing"))

    def test_a_signature(self):
        _, generations = self.generate()
        proof = json.loads(self.proof(generations[0]))
        self.assertTrue(proof["signature"].startswith("ed25519:" + self.public))
        self.elsewhere(proof, "--public-key", self.key + ".pub")
        stranger = support.run("keygen", "--signing", os.path.join(self.folder, "stranger.key")).split()[0]
        self.assertEqual(self.elsewhere(proof, "--public-key", stranger, status=1)[0]["reason"], "signed_by_another")
        self.assertEqual(self.elsewhere({**proof, "signature": None}, "--public-key", self.public, status=1)[0]["reason"], "not_signed")
        forged = {**proof, "seed_assigned": not proof["seed_assigned"]}
        self.assertIn("signature_invalid", self.elsewhere(forged, status=1)[0]["reasons"])
        # The key is an ordinary one: openssl reads it.
        shown = subprocess.run(["openssl", "pkey", "-pubin", "-in", self.key + ".pub", "-noout", "-text"], capture_output=True, text=True)
        self.assertEqual("".join(re.findall(r"[0-9a-f]{2}(?=[:\n])", shown.stdout.split("pub:")[1])), self.public)
        self.assertEqual(os.stat(self.key).st_mode & 0o777, 0o600)
        self.assertIn("exists", support.run("keygen", "--signing", self.key, status=2))
        os.chmod(self.key, 0o644)
        try:
            self.assertIn("chmod 600", support.run("worker", "--signing-key", self.key, status=2))
        finally:
            os.chmod(self.key, 0o600)

    def test_the_command_asks_the_service(self):
        task, generations = self.generate()
        said = self.service.run("verify", generations[0], "--public-key", self.public)
        self.assertTrue(said.endswith("verified\n"), said)
        self.assertEqual(self.service.run("verify", task).count("\nverified"), 3)
        self.assertTrue(json.loads(self.service.run("submit", "verify", "--generation", generations[0], "--wait", "--json"))["result"]["verified"])
        self.edit("text = text || '.'", generations[1])
        self.assertIn("1 of 3 texts is not proved", self.service.run("verify", task, status=1))
        unknown = "01900000-0000-7000-8000-000000000000"
        self.assertIn("no text of such a task", self.service.run("verify", unknown, status=2))
        self.assertIn("not_found", json.dumps(self.client.request("submit", task={"kind": "verify", "params": {"generation": unknown}})))

    def asked(self, *arguments, status=0):
        """The verdicts that `scriptorium verify ID --json` prints, one a line."""
        done = subprocess.run(
            [support.PROGRAM, "verify", *arguments, "--json", "--data-dir", self.service.data], capture_output=True, env=support.environment(), timeout=60
        )  # fmt: skip
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def test_who_signed_stands_in_the_verdicts_of_the_service(self):
        task, generations = self.generate()
        right = self.asked(task, "--public-key", self.public)
        self.assertEqual([(v["verified"], v["reason"], v["reasons"]) for v in right], [(True, None, [])] * 3)
        self.assertEqual([v["generation"] for v in right], generations)
        self.assertEqual(len(self.elsewhere("\n".join(json.dumps(v) for v in right), "--public-key", self.public)), 3)
        stranger = support.run("keygen", "--signing", os.path.join(self.folder, "unknown.key")).split()[0]
        for subject, count in ((task, 3), (generations[0], 1)):
            wrong = self.asked(subject, "--public-key", stranger, status=1)
            self.assertEqual([(v["verified"], v["reason"]) for v in wrong], [(False, "signed_by_another")] * count)
            self.assertIn(self.public, wrong[0]["message"])
        self.edit("signature = NULL", generations[1])
        found = [(v["verified"], v["reason"]) for v in self.asked(task, "--public-key", self.public, status=1)]
        self.assertEqual(found, [(True, None), (False, "not_signed"), (True, None)])
        self.assertEqual([v["verified"] for v in self.asked(task)], [True] * 3)
        self.edit("signature = (SELECT signature FROM scriptorium.generations WHERE id = '%s')" % generations[2], generations[0])
        self.assertEqual(self.asked(generations[0], "--public-key", self.public, status=1)[0]["reason"], "signature_invalid")
        self.edit("text = text || '.'", generations[2])
        both = self.asked(generations[2], "--public-key", stranger, status=1)[0]
        self.assertEqual((both["reason"], both["reasons"]), ("text_differs", ["text_differs", "signed_by_another"]))
        said = self.service.run("verify", generations[1], "--public-key", self.public, status=1)
        self.assertIn("1 of 1 texts is not proved", said)

    def test_a_text_has_one_record_by_the_service_and_by_the_command_line(self):
        cases = [
            {}, {"max_length": None}, {"sliding_window": True, "max_length": 90}, {"prepend_bos": True}, {"rng": "torch"},
            {"num_beams": 3, "do_sample": False}, {"schema": True, "schema_tokens": ["the"]}, {"temperature": [0.5, 1.5], "stop": ["e"]},
        ]  # fmt: skip
        for case in cases:
            with self.subTest(case):
                params = {**PARAMETERS, "seed": 31415926, **case}
                task, _ = self.generate(**params)
                rows = self.service.sql("SELECT record_sha256 FROM scriptorium.generations WHERE task_id = %s ORDER BY sample", task)
                arguments = ["--model", MODEL]
                for name, value in params.items():
                    flag = "--" + name.replace("_", "-")
                    if name == "model" or value is None:
                        continue
                    elif value is True:
                        arguments.append(flag)
                    elif value is False:
                        arguments.append("--no-" + flag[2:])
                    elif name == "temperature" and isinstance(value, list):
                        arguments += [flag, ",".join(map(str, value))]
                    else:
                        for item in value if isinstance(value, list) else [value]:
                            arguments += [flag, item]
                lines = support.run("generate", *arguments, "--json").splitlines()
                self.assertEqual([json.loads(line)["record_sha256"] for line in lines], [row[0] for row in rows])

    def test_a_text_of_another_arithmetic_is_undecided(self):
        _, generations = self.generate()
        record = json.loads(self.proof(generations[0]))
        stored = record["record_sha256"]
        for name in ("record_sha256", "signature", "text", "schema", "logprobs", "mean_logprob"):
            record.pop(name, None)

        def digest():
            return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()

        self.assertEqual(digest(), stored)
        record["numerics"] = "float32/9"
        self.edit(f"numerics = 'float32/9', signature = NULL, record_sha256 = '{digest()}'", generations[0])
        result = self.verify(generation=generations[0])
        self.assertEqual((result["verified"], result["reason"], result["reasons"]), (None, "unknown_numerics", ["unknown_numerics"]))

    def test_a_verify_can_wait_for_its_task(self):
        generate = self.client.submit("generate", {**PARAMETERS, "n": 8})
        status = self.client.result(self.client.submit("verify", {"task": generate}, after=[generate]))
        self.assertEqual(status["state"], "succeeded", status)
        self.assertEqual([v["verified"] for v in status["result"]["verdicts"]], [True] * 8)
        self.assertNotIn("seed", status["params"])
        rows = self.service.sql("SELECT scriptorium.submit('verify', jsonb_build_object('task', %s::text))", generate)
        self.assertTrue(self.client.result(rows[0][0])["result"]["verified"])

    def test_weights_that_are_gone(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(MODEL, os.path.join(folder, "model"))
            with open(os.path.join(folder, "model", "model.safetensors"), "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"\x3c")
            self.service.run("model", "import", os.path.join(folder, "model"), "--name", "passing")
        task, _ = self.generate(model="passing")
        self.assertTrue(self.verify(task=task)["verified"])
        self.service.sql("DELETE FROM scriptorium.models WHERE name = 'passing'")
        self.service.sql("DELETE FROM scriptorium.checkpoints WHERE model = 'passing'")
        result = self.verify(task=task)
        self.assertEqual((result["verified"], result["reason"]), (None, "weights_missing"))


class Lines(unittest.TestCase):
    """The engine alone: lines of `generate --json` and what else is put into `verify`."""

    def test_lines_of_generate(self):
        with tempfile.TemporaryDirectory() as folder:
            key = os.path.join(folder, "signing.key")
            public = support.run("keygen", "--signing", key, "--json")
            lines = support.run(
                "generate", "--model", MODEL, "--prompt", "In the", "--n", 3, "--max-length", 40, "--json", "--signing-key", key
            )  # fmt: skip
            path = os.path.join(folder, "proofs.jsonl")
            with open(path, "w") as file:
                file.write(lines + "\n")
            said = support.run("verify", path, "--model", MODEL, "--public-key", json.loads(public)["public_key"])
            self.assertEqual(said.count("\nverified"), 3)
            self.assertNotIn("WRONG", said)
            changed = lines.replace('"finish_reason":"length"', '"finish_reason":"stop"', 1)
            said = support.run("verify", "-", "--model", MODEL, "--replay", input=changed.encode(), status=1)
            self.assertIn("1 of 3 texts is not proved", said)

    def test_beams_and_batches_of_the_command_line(self):
        for arguments in [
            ["--num-beams", 3, "--n", 2], ["--rng", "torch", "--n", 4, "--batch-size", 2], ["--sliding-window", "--max-length", 90],
            ["--no-do-sample"], ["--prompts", "A", "--prompts", "He said", "--n", 3],
        ]:  # fmt: skip
            with self.subTest(arguments):
                prompt = [] if "--prompts" in arguments else ["--prompt", "In the"]
                lines = support.run("generate", "--model", MODEL, "--max-length", 30, *prompt, *arguments, "--json")
                verdicts = support.run("verify", "-", "--model", MODEL, "--json", input=lines.encode()).splitlines()
                self.assertEqual([json.loads(v)["verified"] for v in verdicts], [True] * len(lines.splitlines()))

    def test_a_verdict_without_its_proof_is_refused(self):
        lines = support.run("generate", "--model", MODEL, "--prompt", "In the", "--n", 2, "--max-length", 20, "--json").splitlines()
        first, second = ({"verified": True, "generation": f"01900000-0000-7000-8000-00000000000{i}", "proof": json.loads(lines[i])} for i in (0, 1))
        whole = {**first, "verdicts": [first, {**second, "proof": None}]}
        for given in (json.dumps(whole), json.dumps(whole, indent=2), json.dumps(first) + "\n" + json.dumps({**second, "proof": None})):
            said = support.run("verify", "-", "--model", MODEL, input=given.encode(), status=2)
            self.assertIn(second["generation"], said)
            self.assertIn("scriptorium.proof()", said)
        alone = json.dumps({"verified": True, "proof": None}, indent=2)
        self.assertIn("scriptorium.proof()", support.run("verify", "-", "--model", MODEL, input=alone.encode(), status=2))
        broken = {**first, "verdicts": [first, {**second, "proof": {"colour": 1}}]}
        self.assertIn("colour", support.run("verify", "-", "--model", MODEL, input=json.dumps(broken).encode(), status=2))
        whole["verdicts"][1] = second
        self.assertEqual(support.run("verify", "-", "--model", MODEL, input=json.dumps(whole).encode()).count("\nverified"), 2)

    def test_a_record_tells_what_its_directory_alone_says(self):
        # Equal weights, config keys and so digest: but one was trained line by line, and its prompts begin with the end of a text.
        with tempfile.TemporaryDirectory() as folder:
            other = os.path.join(folder, "other")
            shutil.copytree(MODEL, other)
            path = os.path.join(other, "config.json")
            with open(path) as file:
                config = json.load(file)
            self.assertNotIn("line_by_line", config)
            with open(path, "w") as file:
                json.dump({**config, "line_by_line": True}, file)
            arguments = ["--prompt", "In the", "--n", 2, "--seed", 7, "--max-length", 30, "--json"]
            made = {model: support.run("generate", "--model", model, *arguments) for model in (MODEL, other)}
            records = [json.loads(lines.splitlines()[0]) for lines in made.values()]
            self.assertEqual(records[0]["checkpoint_sha256"], records[1]["checkpoint_sha256"])
            self.assertNotEqual(records[0]["prompt_token_ids"], records[1]["prompt_token_ids"])
            for lines in made.values():
                for model in (MODEL, other):
                    said = support.run("verify", "-", "--model", model, input=lines.encode())
                    self.assertEqual(said.count("\nverified"), 2)

    def test_more_texts_than_a_proof_can_find_are_refused(self):
        for arguments in (["--prompts", "A", "--prompts", "B", "--n", 32769], ["--rng", "torch", "--n", 65537]):
            self.assertIn("65536", support.run("generate", "--model", MODEL, *arguments, status=2))

    def test_what_is_no_proof(self):
        cases = [(b"", "no proof"), (b"{}", "line 1"), (b'{"a":1}', "line 1: a"), (b"x", "line 1"), (b"\n[]\n", "line 2")]
        for given, expected in cases:
            self.assertIn(expected, support.run("verify", "-", "--model", MODEL, input=given, status=2))
        self.assertIn("cannot be read", support.run("verify", "/nonexistent", "--model", MODEL, status=2))
        self.assertIn("larger than 256 MiB", support.run("verify", "/dev/zero", "--model", MODEL, status=2))
        self.assertIn("--model", support.run("verify", "proofs.jsonl", status=2))
        self.assertIn("--public-key", support.run("verify", "-", "--model", MODEL, "--public-key", "/nonexistent", status=2))

    def test_the_benchmark(self):
        line = json.loads(support.run("bench", "verify", "--model", MODEL, "--new-tokens", 24, "--json"))
        self.assertTrue(line["verified"])
        self.assertEqual((line["new_tokens"], line["prompt_tokens"]), (24, 32))
        self.assertAlmostEqual(line["ratio"], line["verify_seconds"] / line["generate_seconds"])


class Documentation(unittest.TestCase):
    """Every command of docs/verification.md runs, as it stands there."""

    def test_the_commands(self):
        with open(os.path.join(support.ROOT, "docs/verification.md")) as file:
            blocks = re.findall(r"```sh\n(.*?)```", file.read(), re.S)
        self.assertGreater(len(blocks), 3)
        service = support.Service()
        self.addCleanup(service.remove)
        service.import_reference()
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(MODEL, os.path.join(folder, "my-model"))
            os.symlink(service.data, os.path.join(folder, ".scriptorium"))
            status = service.client().generate(**PARAMETERS)
            environment = support.environment(
                PATH=os.path.dirname(support.PROGRAM) + ":" + os.environ["PATH"], DATABASE_URL=service.file["database_url"],
                TASK=status["id"], ID=status["result"]["generations"][0]["id"],
            )  # fmt: skip
            for block in blocks:
                if "scriptorium up" in block:
                    continue
                done = subprocess.run(["bash", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode, 0, f"{block}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    unittest.main()
