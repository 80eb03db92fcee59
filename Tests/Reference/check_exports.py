#!/usr/bin/env python3
"""Checks what `scriptorium model export` writes: transformers loads it, and finds the weights, the logits, the configs and the tokenizer of
what was imported.

usage: check_exports.py PROGRAM FIXTURES

PROGRAM is the built `scriptorium`; FIXTURES is Tests/Fixtures, or a set that make_reference.py and make_models.py made. The script starts a
service of its own on free ports, in a temporary folder (`scriptorium up`, so PostgreSQL must be installed), imports and exports every case,
compares, prints a table with a line a case, and ends with 1 where any failed. The cases:

- every model of the fixtures as it stands: GPT-2 in its variants, GPT Neo, GPT-NeoX, a TensorFlow checkpoint, a `pytorch_model.bin`;
- `NAME in float16`, `in bfloat16`: the model as transformers saves it in that type. An export changes no type (and none is quantized: int8 is
  made anew whenever a worker loads a model), so both must come out as they went in;
- `NAME in shards`, `without prefix`, `without sizes`: other forms of the same files, the last with a config.json that leaves transformers'
  defaults out;
- `NAME with an adapter`: fixtures that PEFT made, merged on export;
- `trained`, `trained, merged`: adapters that `scriptorium train` made, merged on export and at the end of the training.

All but merged weights must be equal to the bit; those are compared with PEFT's merge, whose sums have another order: to 2e-6 of the largest
weight, their logits to 1e-3. Needs: pip install torch transformers peft.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

CONVERTED = {"gpt2-tensorflow": "gpt2", "gpt2-torch-bin": "gpt2"}
FREE = "tcp://127.0.0.1:*"


class Scriptorium:
    """A service of its own, and the commands that talk to it."""

    def __init__(self, program, folder):
        self.program, self.data = program, os.path.join(folder, "service")
        endpoints = [part for name in ("tasks", "events", "workers", "peers") for part in (f"--{name}-endpoint", FREE)]
        self.log = open(os.path.join(folder, "up.log"), "w+")
        command = [program, "up", "--data-dir", self.data, *endpoints, "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        while not os.path.exists(os.path.join(self.data, "service.json")):
            if self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"`scriptorium up` ended: {self.log.read()}")
            time.sleep(0.1)

    def run(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments[:3]} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def export(self, source, target, *options):
        """Imports a folder and exports what became of it."""
        name = os.path.basename(target)
        self.run("model", "import", source, "--name", name, "--data-dir", self.data)
        self.run("model", "export", name, target, *options, "--data-dir", self.data)

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def load(path):
    return AutoModelForCausalLM.from_pretrained(path).eval()


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([[1, 2, 3, 5, 8, 13, 21]])).logits


def check_equal(wanted, found):
    """Two models are the same to the bit."""
    assert type(wanted) is type(found), (type(wanted), type(found))
    weights, others = wanted.state_dict(), found.state_dict()
    assert weights.keys() == others.keys(), weights.keys() ^ others.keys()
    for name, tensor in weights.items():
        assert tensor.dtype == others[name].dtype and torch.equal(tensor, others[name]), name
    assert torch.equal(logits(wanted), logits(found)), "logits"
    return f"equal, {next(wanted.parameters()).dtype}".replace("torch.", "")


def check_merged(base, wanted, found):
    """What PEFT merged and what was merged here, which must be something."""
    weights, others = wanted.state_dict(), found.state_dict()
    changed = [name for name, tensor in base.state_dict().items() if not torch.equal(tensor, others[name])]
    assert changed, "the adapter changes no weight"
    assert weights.keys() == others.keys(), weights.keys() ^ others.keys()
    furthest = max(((others[name] - tensor).abs().max() / tensor.abs().max()).item() for name, tensor in weights.items())
    assert furthest <= 2e-6, f"a weight is off by {furthest} of the largest"
    distance = (logits(wanted) - logits(found)).abs().max().item()
    assert distance <= 1e-3, f"logits are off by {distance}"
    return f"{len(changed)} weights as PEFT merges them, within {furthest:.1e}; logits within {distance:.1e}"


def check_configs(source, exported):
    """What transformers reads of config.json and generation_config.json is what it was."""
    first, second = (AutoConfig.from_pretrained(path).to_dict() for path in (source, exported))
    changed = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)} - {"_name_or_path", "transformers_version"}
    assert not changed, f"config.json: {changed}"
    first, second = (load(path).generation_config.to_dict() for path in (source, exported))
    changed = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)} - {"transformers_version"}
    assert not changed, f"generation_config.json: {changed}"


def check_tokenizer(reference, exported):
    with open(os.path.join(reference, "tokenizer_cases.json"), encoding="utf-8") as file:
        cases = json.load(file)
    loaded = [Tokenizer.from_file(os.path.join(exported, "tokenizer.json"))]
    pair = [os.path.join(exported, name) for name in ("vocab.json", "merges.txt")]
    if all(map(os.path.exists, pair)):
        # The plain files name no special token: whoever loads them adds it.
        loaded.append(ByteLevelBPETokenizer.from_file(*pair))
        loaded[-1].add_special_tokens(["<|endoftext|>"])
    for case in cases:
        for tokenizer in loaded:
            assert tokenizer.encode(case["text"]).ids == case["ids"], case["text"]
            assert tokenizer.decode(case["ids"]) == case["decoded"], case["text"]
    assert AutoTokenizer.from_pretrained(exported)("the river").input_ids == loaded[0].encode("the river").ids


class Cases:
    """Every case: a folder to import, and what its export is compared with."""

    def __init__(self, service, fixtures, folder):
        self.service, self.folder = service, folder
        inside = os.path.join(fixtures, "reference")
        self.reference = inside if os.path.isdir(inside) else fixtures
        places = [self.reference, os.path.join(fixtures, "models")]
        self.models = {
            name: os.path.join(place, name)
            for place in places if os.path.isdir(place) for name in sorted(os.listdir(place))
            if os.path.isdir(os.path.join(place, name))
        }  # fmt: skip
        self.rows = []

    def copy(self, name, source):
        """A folder that may be changed, with a tokenizer."""
        path = os.path.join(self.folder, name)
        shutil.copytree(source, path)
        if not any(os.path.exists(os.path.join(path, file)) for file in ("tokenizer.json", "encoder.json", "vocab.json")):
            shutil.copy(os.path.join(self.reference, "tokenizer.json"), path)
        return path

    def case(self, title, make, compare):
        """`make` gives the folder to import; `compare` takes the folder of the export and says what it found."""
        exported = os.path.join(self.folder, f"exported-{len(self.rows)}")
        try:
            source = make()
            self.service.export(source, exported)
            found = compare(source, exported)
            check_tokenizer(self.reference, exported)
            self.rows.append((title, "ok", found))
        except Exception as error:
            traceback.print_exc()
            self.rows.append((title, "FAILED", str(error).splitlines()[0] if str(error) else repr(error)))

    def same(self, original):
        def compare(source, exported):
            check_configs(original, exported)
            return check_equal(load(original), load(exported))

        return compare

    def as_they_stand(self):
        for name, path in self.models.items():
            if name.endswith("-lora"):
                self.case(f"{name[:-5]} with an adapter", lambda: self.copy(name, path), self.merged(path))
            elif name in CONVERTED:
                original = self.models[CONVERTED[name]]
                self.case(name, lambda: self.copy(name, path), lambda _, exported: check_equal(load(original), load(exported)))
            else:
                self.case(name, lambda: self.copy(name, path), self.same(path))

    def merged(self, path):
        def compare(_, exported):
            alone = exported + "-adapter"
            self.service.run("model", "export", os.path.basename(exported), alone, "--adapter", "--data-dir", self.service.data)
            base = os.path.join(self.folder, "base-" + os.path.basename(exported))
            shutil.copytree(path, base, ignore=shutil.ignore_patterns("adapter_*", "resume.*"))
            return check_merged(load(base), PeftModel.from_pretrained(load(base), alone).merge_and_unload(), load(exported))

        return compare

    def in_other_types(self):
        for name in ("gpt2", "gpt-neo", "gpt-neox"):
            for kind in ("float16", "bfloat16"):
                path = self.copy(f"{name}-{kind}", self.models[name])
                load(path).to(getattr(torch, kind)).save_pretrained(path)
                self.case(f"{name} in {kind}", lambda: path, self.same(path))

    def in_other_forms(self):
        gpt2 = self.models["gpt2"]
        shards = self.copy("shards", gpt2)
        os.remove(os.path.join(shards, "model.safetensors"))
        load(gpt2).save_pretrained(shards, max_shard_size="200KB")
        assert os.path.exists(os.path.join(shards, "model.safetensors.index.json")), "one shard alone"
        self.case("gpt2 in shards", lambda: shards, self.same(gpt2))
        bare = self.copy("bare", gpt2)
        weights = os.path.join(bare, "model.safetensors")
        save_file({name.removeprefix("transformer."): tensor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
        self.case("gpt2 without prefix", lambda: bare, self.same(gpt2))
        short = self.copy("short", gpt2)
        torch.manual_seed(1)
        given = {"n_embd": 24, "n_positions": 64, "vocab_size": AutoConfig.from_pretrained(gpt2).vocab_size, "bos_token_id": 0, "eos_token_id": 0}
        GPT2LMHeadModel(GPT2Config(**given)).save_pretrained(short)
        with open(os.path.join(short, "config.json"), "w") as file:
            json.dump({"model_type": "gpt2", **given}, file)
        self.case("gpt2 without sizes", lambda: short, self.same(short))

    def trained(self):
        corpus = os.path.join(self.reference, "corpus.txt")

        def train(name, *options):
            path = os.path.join(self.folder, name)
            self.service.run("train", corpus, "--model", self.models["gpt2"], "--output", path, "--num-steps", 8, "--batch-size", 2, "--block-size", 32,
                "--seed", 5, "--generate-every", 0, "--lora-rank", 4, "--lora-alpha", 32, *options)  # fmt: skip
            return path

        beside, merged = train("beside"), train("merged", "--merged")
        changed = any(not torch.equal(a, b) for a, b in zip(load(self.models["gpt2"]).state_dict().values(), load(merged).state_dict().values()))
        assert changed, "the training changed no weight"
        self.case("gpt2 trained with an adapter", lambda: beside, self.merged(beside))
        self.case("gpt2 trained, merged", lambda: merged, self.same(merged))
        self.case("both ways of merging", lambda: beside, lambda _, exported: check_equal(load(merged), load(exported)))


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    program, fixtures = map(os.path.abspath, sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="check-exports-") as folder:
        # The cluster of `up` may run as another user, who must get to its folder.
        os.chmod(folder, 0o755)
        service = Scriptorium(program, folder)
        try:
            cases = Cases(service, fixtures, folder)
            for part in (cases.as_they_stand, cases.in_other_types, cases.in_other_forms, cases.trained):
                part()
        finally:
            service.close()
    width = max(len(row[0]) for row in cases.rows)
    for title, verdict, found in cases.rows:
        print(f"{title:{width}}  {verdict:8}  {found}")
    sys.exit(any(verdict == "FAILED" for _, verdict, _ in cases.rows))


if __name__ == "__main__":
    main()
