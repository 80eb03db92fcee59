"""Makes reference texts with transformers on torch's CPU generator, for Tests/GenerationTests (generation.json beside a model).

usage: generation_reference.py MODEL_DIR OUTPUT.json [SEED] [CASES]

MODEL_DIR is a Hugging Face directory with a tokenizer.json; every case is drawn from SEED (1). Needs torch and transformers
from PyPI (made with torch 2.15 and transformers 5.24; searches that draw need transformers up to 4.49 or from 5.24 on: those between
did not sort what was drawn by its score before they filed what was finished). Sequences are cut behind their end.
"""

import json
import random
import sys

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM


def choices(rng, model, tokenizer, context):
    """The parameters of one case, under the contract's names."""
    prompt = [rng.randrange(1, model.config.vocab_size) for _ in range(rng.randrange(1, 9))]
    words = [tokenizer.decode([rng.randrange(20, tokenizer.get_vocab_size()) for _ in range(rng.choice((1, 1, 2)))]) for _ in range(8)]
    usable = [word for word in words if word and "\ufffd" not in word]
    return {
        "ids": prompt,
        "max_length": rng.randrange(len(prompt) + 2, min(context, 48)),
        "temperature": rng.choice([0.5, 0.7, 1.0, 1.3]),
        "top_k": rng.choice([0, 0, 3, 8, 50]),
        "top_p": rng.choice([1.0, 1.0, 0.6, 0.9]),
        "min_p": rng.choice([0.0, 0.0, 0.02, 0.1]),
        "typical_p": rng.choice([1.0, 1.0, 0.5, 0.9]),
        "repetition_penalty": rng.choice([1.0, 1.0, 1.2]),
        "no_repeat_ngram_size": rng.choice([0, 0, 2, 3]),
        "min_length": rng.choice([0, 0, len(prompt) + 6]),
        "bad_words": usable[: rng.choice([0, 0, 3, 6])],
        "banned_tokens": [rng.randrange(model.config.vocab_size) for _ in range(rng.choice([0, 0, 5]))],
    }


def arguments(case, tokenizer):
    """The same for transformers' generate."""
    given = {name: case[name] for name in ("max_length", "repetition_penalty", "no_repeat_ngram_size")}
    given["min_length"] = case["min_length"] or None
    if case["bad_words"]:
        given["bad_words_ids"] = [tokenizer.encode(word).ids for word in case["bad_words"]]
    if case["banned_tokens"]:
        given["suppress_tokens"] = case["banned_tokens"]
    if case["do_sample"]:
        given |= {name: case[name] for name in ("temperature", "top_k", "top_p", "typical_p")}
        given["min_p"] = case["min_p"] or None
    if case["num_beams"] > 1:
        given |= {name: case[name] for name in ("num_beams", "length_penalty", "early_stopping")}
    return given


def cut(sequence, prompt, ends):
    """A sequence up to and with its first end token."""
    for index in range(prompt, len(sequence)):
        if sequence[index] in ends:
            return sequence[: index + 1]
    return sequence


def main():
    folder, output = sys.argv[1:3]
    seed, count = (int(value) for value in (sys.argv[3:] + ["1", "24"][len(sys.argv) - 3 :])[:2])
    rng = random.Random(seed)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    context = model.config.max_position_embeddings

    def run(case, n):
        made = model.generate(
            torch.tensor([case["ids"]]), num_return_sequences=n, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
            do_sample=case["do_sample"], **arguments(case, tokenizer),
        )
        texts = [cut(sequence, len(case["ids"]), ends) for sequence in made.sequences.tolist()]
        return texts, made.sequences_scores.tolist() if case["num_beams"] > 1 else None

    cases = []
    while len(cases) < count:
        case = choices(rng, model, tokenizer, context)
        case |= {"do_sample": True, "num_beams": 1, "seed": rng.randrange(10**7, 10**8)}
        kind = len(cases) % 4
        n = rng.choice([1, 2, 5])
        if kind == 2:  # beams that draw
            case |= {"num_beams": rng.choice([2, 3, 4]), "length_penalty": rng.choice([0.0, 1.0, 2.0])}
            case["early_stopping"] = rng.choice([False, True, "never"])
            # Where fewer tokens stay than are to be drawn, torch picks impossible ones in no defined order.
            case |= {"top_k": 0, "top_p": rng.choice([1.0, 0.98]), "min_p": 0.0, "typical_p": 1.0, "temperature": rng.choice([1.0, 1.5])}
            n = case["num_beams"]
        if kind == 3 and len(cases) % 8 == 3:  # beams that do not
            case |= {"do_sample": False, "num_beams": 3, "length_penalty": 1.0, "early_stopping": False}
            n = 3
        batches = rng.choice([1, 3]) if kind == 1 else 1
        torch.manual_seed(case["seed"])
        case["n"], case["batch_size"], case["sequences"] = n * batches, n, []
        for _ in range(batches):
            texts, scores = run(case, n)
            case["sequences"] += texts
        if scores:
            case["scores"] = scores
        cases.append(case)
    with open(output, "w", encoding="utf-8") as file:
        made = {"torch": torch.__version__, "transformers": transformers.__version__, "seed": seed, "cases": cases}
        json.dump(made, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
