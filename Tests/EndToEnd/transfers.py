"""Artifacts through a broker, as its clients put and fetch them: part by part."""

import hashlib

PART = 1 << 20


def digest(data):
    return hashlib.sha256(data).hexdigest()


def noise(count, seed):
    """Bytes that differ by seed and cannot be compressed."""
    return hashlib.shake_128(b"%d" % seed).digest(count)


def put(client, data, start=None):
    """Puts an artifact part by part, from what is there."""
    name = digest(data)
    have = client.ask("put", sha256=name, size=len(data), offset=0)["have"] if start is None else start
    while have < len(data) or not data:
        reply = client.request("put", sha256=name, size=len(data), offset=have, data=data[have : have + PART])
        if not reply["ok"] or not data:
            return reply
        have = reply["have"]
    return {"ok": True, "have": have}


def fetch(client, name):
    data = b""
    while True:
        reply = client.ask("fetch", sha256=name, offset=len(data), length=PART)
        data += reply["data"]
        if len(data) == reply["size"]:
            return data
