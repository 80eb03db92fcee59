#!/usr/bin/env python3
"""Makes small files as torch.save writes them, for the readers' tests.

usage: make_files.py FOLDER

`views.bin` and `legacy.bin` hold the same state dict in the format since torch 1.6 and in the one before: a whole tensor, two that share
its storage, a transposed and a cut one, each float type, integers, a scalar, an empty tensor, a parameter, and something that is no
tensor. `expected.json` says what is in them. `shard-1.bin` and `shard-2.bin` hold `a` and `b`. `evil.bin` would run a command if it were executed. Needs: pip install torch.
"""
import json
import os
import sys
from collections import OrderedDict

import torch


class Evil:
    def __reduce__(self):
        return (os.system, ("touch EXECUTED",))


def state_dict():
    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 4
    state = OrderedDict()
    state["whole"] = whole
    state["tied"] = whole
    state["transposed"] = whole.t()
    state["cut"] = whole[1:, 1:3]
    state["row"] = whole[2]
    state["half"] = (torch.arange(5) / 8).to(torch.float16)
    state["brain"] = (torch.arange(5) / 8).to(torch.bfloat16)
    state["double"] = torch.arange(3, dtype=torch.float64)
    state["long"] = torch.arange(3)
    state["bool"] = torch.tensor([True, False])
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    state["version"] = 3
    return state


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    state = state_dict()
    torch.save(state, os.path.join(folder, "views.bin"))
    torch.save(state, os.path.join(folder, "legacy.bin"), _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.ones(2), "evil": Evil()}, os.path.join(folder, "evil.bin"))
    torch.save({"a": torch.ones(2)}, os.path.join(folder, "shard-1.bin"))
    torch.save({"b": torch.zeros(3)}, os.path.join(folder, "shard-2.bin"))
    expected = {
        name: {"shape": list(value.shape), "values": value.detach().double().flatten().tolist()}
        for name, value in state.items() if isinstance(value, torch.Tensor)
    }
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(expected, file, indent=1)


if __name__ == "__main__":
    main()
