#!/usr/bin/env python3
"""Checks models that `scriptorium model export` wrote: transformers loads them and finds the weights, the logits and the tokenizer of
what was imported.

usage: check_exports.py REFERENCE EXPORTS

Each folder of EXPORTS is compared with the one of its name in REFERENCE, a set that make_reference.py made (or Tests/Fixtures/reference);
`gpt2-tensorflow` and `gpt2-torch-bin` with `gpt2`. To make EXPORTS, beside a running service:

    for m in gpt2 gpt2-variant gpt-neo gpt2-tensorflow; do
        scriptorium model import REFERENCE/$m --name $m && scriptorium model export $m EXPORTS/$m
    done

Everything must be equal to the bit: an export changes no number. Needs: pip install torch transformers.
"""
import json
import os
import sys

import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

ALIASES = {"gpt2-tensorflow": "gpt2", "gpt2-torch-bin": "gpt2"}


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.tensor([[1, 2, 3, 5, 8, 13, 21]])).logits


def check_model(source, exported, is_converted):
    wanted, found = (AutoModelForCausalLM.from_pretrained(path) for path in (source, exported))
    assert type(wanted) is type(found), (type(wanted), type(found))
    weights, others = wanted.state_dict(), found.state_dict()
    assert weights.keys() == others.keys(), weights.keys() ^ others.keys()
    for name, tensor in weights.items():
        assert tensor.dtype == others[name].dtype and torch.equal(tensor, others[name]), name
    assert torch.equal(logits(wanted), logits(found))
    if not is_converted:
        first, second = (AutoConfig.from_pretrained(path).to_dict() for path in (source, exported))
        changed = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)} - {"_name_or_path", "transformers_version"}
        assert not changed, changed


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


def main():
    reference, exports = sys.argv[1:]
    names = sorted(os.listdir(exports))
    assert names, "no export"
    for name in names:
        source, exported = os.path.join(reference, ALIASES.get(name, name)), os.path.join(exports, name)
        check_model(source, exported, name in ALIASES)
        check_tokenizer(reference, exported)
        print(f"{name}: weights, logits and tokenizer are equal")


if __name__ == "__main__":
    main()
