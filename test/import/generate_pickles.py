"""Writes fixtures/pickles.json: one object of everything that Python's own types give, pickled by each protocol, in
base64.

usage: python generate_pickles.py && npx biome format --write fixtures

Needs nothing besides Python.
"""

import base64
import json
import pickle
from collections import OrderedDict
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent / "fixtures"


def everything():
    shared = [1, 2]
    value = {
        "integers": [0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**53, 2**53 - 1, -(2**63), 2**64, 10**30],
        "floats": [0.0, 1.5, -1e300],
        "others": [None, True, False],
        "strings": ["", "a", "naïve €", "line\nbreak", "x" * 300],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "dicts": {"empty": {}, 1: "one"},
        "ordered": OrderedDict([("b", 1), ("a", 2)]),
        "shared": [shared, shared],
    }
    value["itself"] = value
    return value


def main():
    value = everything()
    pickles = {str(protocol): base64.b64encode(pickle.dumps(value, protocol)).decode() for protocol in range(6)}
    (FIXTURES / "pickles.json").write_text(json.dumps(pickles))


if __name__ == "__main__":
    main()
