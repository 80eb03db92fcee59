"""Writes GPT-2's weights as a TensorFlow checkpoint, without TensorFlow: an index in LevelDB's table format of protocol buffers
(BundleHeaderProto, BundleEntryProto), and one file of little-endian tensors. Source: tensorflow/core/util/tensor_bundle."""

import os
import re
import struct


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def table():
    entries = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        entries.append(byte)
    return entries


TABLE = table()


def masked(value):
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def entry(shape, offset, data):
    dimensions = b"".join(field(2, varint(1 << 3) + varint(size)) for size in shape)
    numbers = varint(1 << 3) + varint(1) + field(2, dimensions) + varint(4 << 3) + varint(offset) + varint(5 << 3) + varint(len(data))
    return numbers + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(data)))


def block(entries):
    out, restarts = bytearray(), []
    for key, value in entries:
        restarts.append(len(out))
        out += varint(0) + varint(len(key)) + varint(len(value)) + key + value
    for restart in restarts or [0]:
        out += struct.pack("<I", restart)
    return bytes(out) + struct.pack("<I", len(restarts or [0]))


def sorted_table(entries):
    """A table of one block of data, an empty one of meta data, and the index."""
    out = bytearray()

    def append(content):
        handle = varint(len(out)) + varint(len(content))
        out.extend(content + b"\0" + struct.pack("<I", masked(crc32c(content + b"\0"))))
        return handle

    data = append(block(entries))
    meta = append(block([]))
    index = append(block([(entries[-1][0] + b"\0", data)]))
    return bytes(out) + (meta + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def variable(name):
    """`h.0.attn.c_attn.weight` as OpenAI calls it, and whether it is a matrix with a leading dimension of one."""
    name = re.sub(r"^h\.(\d+)\.", r"h\1.", name)
    module, kind = name.rsplit(".", 1)
    if module in ("wte", "wpe"):
        return "model/" + module, False
    is_norm = module.split(".")[-1].startswith("ln_")
    return "model/" + module.replace(".", "/") + "/" + (("g" if is_norm else "w") if kind == "weight" else "b"), kind == "weight" and not is_norm


def write(folder, tensors):
    """Writes `checkpoint`, `model.ckpt.index` and `model.ckpt.data-00000-of-00001` of GPT-2's tensors by their names without prefix."""
    named = {}
    for name, tensor in tensors.items():
        target, is_matrix = variable(name)
        named[target] = tensor.unsqueeze(0) if is_matrix else tensor
    data, entries = bytearray(), [(b"", varint(1 << 3) + varint(1) + field(3, varint(1 << 3) + varint(1)))]
    for name in sorted(named, key=str.encode):
        content = named[name].contiguous().numpy().astype("<f4").tobytes()
        entries.append((name.encode(), entry(named[name].shape, len(data), content)))
        data += content
    for name, content in (
        ("checkpoint", b'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'),
        ("model.ckpt.index", sorted_table(entries)), ("model.ckpt.data-00000-of-00001", bytes(data)),
    ):  # fmt: skip
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
