#!/usr/bin/env python3
"""Makes reference models with a LoRA adapter beside them, with torch, transformers and PEFT; and checks adapters that Scriptorium wrote.

usage: make_adapters.py make FOLDER [--seed N]
       make_adapters.py check FOLDER [--merged FOLDER]

`make`: each model of make_models.py named below becomes a Hugging Face directory in FOLDER that holds base and adapter, with
`golden.json`: the logits of prompts with the adapter, and its training (AdamW as aitextgen runs it, the base frozen).
`check`: loads FOLDER's base without its adapter, lets PEFT load the adapter, and prints the largest difference between its logits,
those after PEFT's merge, and (with --merged) those of a merged model; it fails where the adapter changes nothing, or one of the two
differences passes a thousandth of what it changes and 1e-4. Needs: pip install torch transformers peft.
The figures in the repository were made with torch 2.15, transformers 5.24 and peft 0.21.
"""
import argparse
import json
import os
import shutil
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

import make_models

ADAPTERS = {
    "gpt2-lora": ("gpt2", LoraConfig(r=3, lora_alpha=7, target_modules=["c_attn", "c_proj", "mlp.c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM")),
    # PEFT's own targets.
    "gpt-neo-lora": ("gpt-neo-mild", LoraConfig(r=4, lora_alpha=4, task_type="CAUSAL_LM")),
    "gpt-neox-lora": ("gpt-neox", LoraConfig(task_type="CAUSAL_LM")),
}


def make(name, folder, seed):
    generator = torch.Generator().manual_seed(seed)
    base, config = ADAPTERS[name]
    model = make_models.MODELS[base]()
    make_models.sharpen(model, generator)
    model.eval()
    model.save_pretrained(folder)
    model = get_peft_model(model, config)
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            if "lora_" in key:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.eval()
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    token = lambda: int(torch.randint(1, make_models.VOCABULARY, (1,), generator=generator))
    prompts = [[0], [token() for _ in range(5)], [token() for _ in range(17)]]
    with torch.no_grad():
        golden = {"prompts": [{"ids": ids, "last_logits": model(torch.tensor([ids])).logits[0, -1].tolist()} for ids in prompts]}
    batches = [[[token() for _ in range(16)] for _ in range(4)] for _ in range(make_models.STEPS)]
    for key, parameter in model.named_parameters():
        parameter.requires_grad = "lora_" in key
    golden["train"] = make_models.train(model, batches, prompts[1])
    with open(os.path.join(folder, "golden.json"), "w") as file:
        json.dump(golden, file)


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.tensor([[1, 2, 3, 5, 8]])).logits


def check(folder, merged):
    with tempfile.TemporaryDirectory() as base:
        for name in os.listdir(folder):
            if not name.startswith("adapter_"):
                shutil.copy(os.path.join(folder, name), base)
        plain = AutoModelForCausalLM.from_pretrained(base)
        without = logits(plain)
        adapted = PeftModel.from_pretrained(plain, folder)
        assert not adapted.peft_config["default"].is_prompt_learning
        expected = logits(adapted)
        report = {"adapter_changes": float((expected - without).abs().max()), "targets": sorted(adapted.peft_config["default"].target_modules)}
        report["peft_merge"] = float((logits(adapted.merge_and_unload()) - expected).abs().max())
        if merged:
            report["merged"] = float((logits(AutoModelForCausalLM.from_pretrained(merged)) - expected).abs().max())
        print(json.dumps(report))
        changes = report["adapter_changes"]
        assert changes > 0, "the adapter changes nothing"
        # Rounding alone: PEFT merges in another order than it adds. (A wrong scale or sign is as large as the change itself.)
        for name in ("peft_merge", "merged"):
            assert report.get(name, 0) <= max(1e-4, changes / 1000), name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder")
    making.add_argument("--seed", type=int, default=20)
    checking = commands.add_parser("check")
    checking.add_argument("folder")
    checking.add_argument("--merged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command == "check":
        return check(options.folder, options.merged)
    for name in ADAPTERS:
        make(name, os.path.join(options.folder, name), options.seed)
        print(os.path.join(options.folder, name))


if __name__ == "__main__":
    main()
