#!/usr/bin/env python3
"""Trains byte-level BPE with Hugging Face's tokenizers on small corpora that are full of ties, for the trainer's tests.

usage: make_trainings.py FILE

Each corpus is made from a seed: words of few letters (many pairs of equal count; merges that spell one token in two ways), the same words
reversed, lines without blanks, letters beyond ASCII, white space of several kinds. FILE gets a list of {"text", "vocabulary_size", "minimum_frequency",
"merges"}, the merges as merges.txt has them. Needs: pip install tokenizers.
"""
import json
import os
import random
import sys
import tempfile

from tokenizers import ByteLevelBPETokenizer

ALPHABETS = ["ab", "abc", "aab'", "abcd ", "xyz\t ", "aé中", "ab\u00a0 ", "a1b2-", "aaaaaab", "thein "]


def corpus(seed):
    choose = random.Random(seed)
    letters = ALPHABETS[seed % len(ALPHABETS)]
    words = ["".join(choose.choice(letters) for _ in range(choose.randint(1, 9))) for _ in range(choose.randint(3, 30))]
    words += [word[::-1] for word in words[::2]]
    lines = []
    for _ in range(choose.randint(1, 12)):
        line = choose.choice(["", " ", "  "]).join(choose.choice(words) for _ in range(choose.randint(1, 12)))
        lines.append(line)
    return "\n".join(lines) + choose.choice(["", "\n", "\n\n"])


def train(text, size, frequency):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "corpus.txt")
        with open(path, "w", newline="") as file:
            file.write(text)
        tokenizer = ByteLevelBPETokenizer()
        tokenizer.train([path], vocab_size=size, min_frequency=frequency, special_tokens=["<|endoftext|>"], show_progress=False)
        tokenizer.save_model(folder)
        with open(os.path.join(folder, "merges.txt")) as file:
            return [line for line in file.read().split("\n")[1:] if line]


def main():
    cases = []
    for seed in range(120):
        text, size, frequency = corpus(seed), 257 + (seed * 7) % 60, 1 + seed % 3
        cases.append({"text": text, "vocabulary_size": size, "minimum_frequency": frequency, "merges": train(text, size, frequency)})
    with open(sys.argv[1], "w") as file:
        json.dump(cases, file, ensure_ascii=False, indent=0)
    print(len(cases), "corpora,", sum(len(case["merges"]) for case in cases), "merges")


if __name__ == "__main__":
    main()
