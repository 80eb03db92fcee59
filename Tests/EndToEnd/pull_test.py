"""`model pull` against a hub on loopback: what is fetched, checked, resumed, refused, and who is shown the token."""

import glob
import json
import os
import pty
import random
import re
import shutil
import subprocess
import tempfile
import unittest

import hub
import support
from support import run

REFERENCE = os.path.join(support.FIXTURES, "gpt2")
WEIGHTS = "model.safetensors"


def reference(*names):
    files = {}
    for name in names or ("config.json", "generation_config.json", "tokenizer.json", WEIGHTS):
        with open(os.path.join(REFERENCE, name), "rb") as file:
            files[name] = file.read()
    return files


def damaged(data, chance):
    """The bytes with a few of them changed, doubled, cut out or cut off, or with pieces of the format put in."""
    words = [b"{", b"}", b"[", b"]", b'"sha":', b'"siblings":', b'"rfilename":', b'"../x"', b"null", b"1e999", b'"weight_map":', b"\x00", b"\xff", b'"\\ud800"']
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, len(data))
        end = place + chance.randint(0, 24)
        data = data[:place] + chance.choice([b"", data[place:end] * 2, chance.choice(words), data[:end]]) + (data[end:] if chance.random() < 0.9 else b"")
    return data


class Pull(unittest.TestCase):
    def setUp(self):
        self.hub = hub.Hub("owner/tiny", reference())
        self.addCleanup(self.hub.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "model")

    def pull(self, *arguments, status=0, token=None, model="owner/tiny"):
        more = {"HF_ENDPOINT": self.hub.address, "XDG_CACHE_HOME": self.folder + "-cache"}
        if token:
            more["HF_TOKEN"] = token
        env = support.environment(**more)
        if not token:
            env.pop("HF_TOKEN", None)
        return run("model", "pull", model, "--output", self.folder, *arguments, status=status, env=env)

    def check_folder(self):
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(self.hub.files))
        for name, data in self.hub.files.items():
            with open(os.path.join(self.folder, name), "rb") as file:
                self.assertEqual(file.read(), data, name)

    def test_files_come_checked_and_the_token_stays_with_the_hub(self):
        said = json.loads(self.pull("--json", token="hf_secret"))
        self.check_folder()
        self.assertEqual(said["commit"], hub.COMMIT)
        self.assertEqual({file["path"]: file["checked"] for file in said["files"]}, {name: "sha256" if name == WEIGHTS else "git" for name in self.hub.files})
        self.assertTrue(all(entry[3].get("Authorization") == "Bearer hf_secret" for method in ("GET", "HEAD") for entry in self.hub.requests("hub", method)))
        stored = self.hub.requests("storage")
        self.assertTrue(stored)
        self.assertTrue(all("Authorization" not in entry[3] for entry in stored))
        # A storage's address may be signed for GET alone.
        self.assertEqual(self.hub.requests("storage", "HEAD"), [])
        self.assertIn("HF_TOKEN", self.pull(token="hf_secret\nX-Other: 1", status=2))

    def test_without_a_token_none_is_sent(self):
        self.pull()
        self.assertTrue(all("Authorization" not in entry[3] for entry in self.hub.asked))

    def test_a_cut_transfer_goes_on_where_it_was(self):
        self.hub.cut_after = [100_000, 50_000]
        self.pull()
        self.check_folder()
        self.assertEqual([entry[3].get("Range") for entry in self.hub.requests("storage")], [None, "bytes=100000-", "bytes=150000-"])

    def test_the_next_run_goes_on_where_the_last_one_gave_up(self):
        self.hub.cut_after = [200_000] + [0] * 10
        said = self.pull(status=69)
        self.assertIn(WEIGHTS, said)
        (part,) = glob.glob(os.path.join(self.folder, WEIGHTS + ".*.part"))
        self.assertEqual(os.path.getsize(part), 200_000)
        self.assertFalse(os.path.exists(os.path.join(self.folder, WEIGHTS)))
        self.hub.cut_after = []
        before = len(self.hub.requests("hub"))
        self.pull()
        self.check_folder()
        self.assertEqual(self.hub.requests("storage")[-1][3].get("Range"), "bytes=200000-")
        # The small files were whole: only the list and the weights were asked for again.
        self.assertEqual(len(self.hub.requests("hub")) - before, 2)

    def test_a_server_without_ranges_is_taken_from_the_beginning(self):
        self.hub.cut_after, self.hub.ignores_ranges = [100_000], True
        self.pull()
        self.check_folder()

    def test_other_bytes_than_announced_are_refused_and_removed(self):
        for name, digest in ((WEIGHTS, "0" * 64), ("config.json", "0" * 40)):
            self.hub.digests = {name: digest}
            said = self.pull(status=1)
            self.assertIn(digest, said)
            self.assertEqual([entry for entry in os.listdir(self.folder) if entry.startswith(name)], [])
        self.hub.digests = {}
        self.pull()
        self.check_folder()

    def test_a_part_that_was_spoilt_is_found_and_the_next_run_is_right(self):
        self.hub.cut_after = [200_000] + [0] * 10
        self.pull(status=69)
        (part,) = glob.glob(os.path.join(self.folder, WEIGHTS + ".*.part"))
        with open(part, "r+b") as file:
            file.write(b"spoilt")
        self.hub.cut_after = []
        self.assertIn("digest", self.pull(status=1))
        self.pull()
        self.check_folder()

    def test_what_is_not_there_is_named(self):
        self.assertIn("owner/none", self.pull(status=2, model="owner/none"))
        self.assertIn("branch", self.pull("--revision", "../main", status=2))
        for name in ("../etc", "a/b/c", "", "a b", "https://x/y"):
            self.assertIn("name", self.pull(status=2, model=name))
        del self.hub.files[WEIGHTS]
        self.assertIn("neither model.safetensors nor pytorch_model.bin", self.pull(status=1))

    def test_a_redirect_off_the_secure_path_is_refused(self):
        for address in ("http://192.0.2.1/x", "file:///etc/passwd", "ftp://127.0.0.1/x"):
            self.hub.redirect_to = address
            self.assertRegex(self.pull(status=2), "is not https|is no web address")
        self.hub.redirect_to = f"{self.hub.address}/owner/tiny/resolve/{hub.COMMIT}/{WEIGHTS}"
        self.assertIn("redirected", self.pull(status=1))

    def test_a_hub_without_https_is_refused_beyond_loopback(self):
        self.assertIn("https", self.pull("--hub", "http://192.0.2.1", status=2))

    def test_a_busy_hub_is_asked_again_and_a_closed_one_is_named(self):
        self.hub.statuses = [503, 429]
        self.pull()
        self.check_folder()
        self.hub.statuses = [401]
        self.assertIn("HF_TOKEN", self.pull(status=2))

    def test_shards_are_found_by_their_index(self):
        with open(os.path.join(support.ROOT, "Tests/Fixtures/files/shard-1.bin"), "rb") as file:
            shard = file.read()
        index = json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}).encode()
        self.hub.files = reference("config.json", "tokenizer.json") | {"pytorch_model.bin.index.json": index, "pytorch_model-00001-of-00001.bin": shard}
        self.pull()
        self.check_folder()

    def test_the_plain_tokenizer_files_come_with_their_added_tokens(self):
        self.hub.files = reference("config.json", WEIGHTS)
        for name in ("vocab.json", "merges.txt"):
            with open(os.path.join(support.FIXTURES, name), "rb") as file:
                self.hub.files[name] = file.read()
        self.hub.files["added_tokens.json"] = b'{"<|title|>": 399}'
        self.hub.files["vocab.json"] = re.sub(rb',"[^"]*":399', b"", self.hub.files["vocab.json"])
        last = self.hub.files["merges.txt"].rstrip().rsplit(b"\n", 1)[0]
        self.hub.files["merges.txt"] = last + b"\n"
        self.pull()
        self.check_folder()
        self.assertIn(399, json.loads(run("tokenize", "--tokenizer", self.folder, input=b"the<|title|>the")))

    def test_damaged_answers_are_refused_or_read_and_end_nothing(self):
        chance = random.Random(17)
        index = json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin", "b": "pytorch_model-00001-of-00001.bin"}}).encode()
        listing = json.dumps({"sha": hub.COMMIT, "siblings": [{"rfilename": name} for name in ("config.json", "pytorch_model.bin.index.json", "x")]}).encode()
        self.hub.files = reference("config.json")
        env = support.environment(HF_ENDPOINT=self.hub.address)
        for number in range(60):
            self.hub.listing = damaged(listing, chance) if number % 2 else listing
            self.hub.files["pytorch_model.bin.index.json"] = index if number % 2 else damaged(index, chance)
            with tempfile.TemporaryDirectory() as folder:
                flags = ["model", "pull", "owner/tiny", "--output", os.path.join(folder, "model")]
                done = subprocess.run([support.PROGRAM, *flags], capture_output=True, timeout=60, env=env)
                self.assertIn(done.returncode, (1, 2), (self.hub.listing, self.hub.files, done.stderr))
                self.assertTrue(done.stderr.strip())
                self.assertEqual([name for name in os.listdir(folder) if name != "model"], [])

    def test_a_bar_on_a_terminal_and_none_elsewhere(self):
        master, slave = pty.openpty()
        env = support.environment(HF_ENDPOINT=self.hub.address)
        done = subprocess.run([support.PROGRAM, "model", "pull", "owner/tiny", "--output", self.folder], stderr=slave, stdout=subprocess.PIPE, env=env)
        os.close(slave)
        shown = os.read(master, 1 << 16).decode()
        os.close(master)
        self.assertEqual(done.returncode, 0)
        self.assertIn(WEIGHTS, shown)
        self.assertNotIn("MiB", done.stdout.decode())


class PullIntoService(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = support.Service()

    @classmethod
    def tearDownClass(cls):
        cls.service.stop()

    def pull(self, files, name):
        server = hub.Hub("tiny", files)
        self.addCleanup(server.close)
        with tempfile.TemporaryDirectory() as cache:
            env = support.environment(HF_ENDPOINT=server.address, XDG_CACHE_HOME=cache)
            row = json.loads(self.service.run("model", "pull", "tiny", "--name", name, "--json", env=env))
            self.assertEqual(glob.glob(cache + "/scriptorium/hub/*"), [])
        return row["model"]

    def test_safetensors_and_pytorch_become_one_checkpoint_that_tasks_can_name(self):
        first = self.pull(reference(), "from-safetensors")
        files = reference("config.json", "generation_config.json", "tokenizer.json")
        with open(os.path.join(support.FIXTURES, "gpt2-torch-bin/pytorch_model.bin"), "rb") as file:
            files["pytorch_model.bin"] = file.read()
        second = self.pull(files, "from-pytorch")
        self.assertEqual(first["sha256"], second["sha256"])
        texts = [
            json.loads(self.service.run("submit", "generate", "--model", name, "--prompt", "the", "--seed", 5, "--wait", "--json"))["result"]["generations"][0]["text"]
            for name in ("from-safetensors", "from-pytorch")
        ]
        self.assertEqual(texts[0], texts[1])

    def test_a_tokenizer_beyond_the_models_rows_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model")
            shutil.copytree(REFERENCE, path)
            run("tokenizer", "train", os.path.join(support.FIXTURES, "corpus.txt"), "--output", folder, "--vocab-size", 440)
            shutil.copy(os.path.join(folder, "tokenizer.json"), path)
            said = self.service.run("model", "import", path, "--name", "beyond", status=2)
            self.assertRegex(said, r"the tokenizer has 4[1-9]\d tokens, but the model only 400")
        rows = [json.loads(line)["name"] for line in self.service.run("model", "list", "--json").splitlines()]
        self.assertNotIn("beyond", rows)

    def test_a_tensorflow_checkpoint_is_imported(self):
        said = json.loads(self.service.run("model", "import", os.path.join(support.FIXTURES, "gpt2-tensorflow"), "--name", "from-tensorflow", "--json"))
        self.service.run("model", "import", REFERENCE, "--name", "from-folder")
        rows = {row["name"]: row for row in map(json.loads, self.service.run("model", "list", "--json").splitlines())}
        self.assertEqual(said["sha256"], rows["from-folder"]["sha256"])


if __name__ == "__main__":
    unittest.main()
