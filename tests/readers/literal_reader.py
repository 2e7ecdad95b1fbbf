"""Prints what CPython takes texts for: a JSON list on standard input, a JSON list on standard output.

Each answer is `{"value": ...}`, or `{"other": "..."}` for what JSON cannot say, or `{}` for what is no literal.
"""

import ast
import json
import math
import sys
import warnings

warnings.simplefilter("ignore")


class Other(Exception):
    pass


def plain(value):
    if value is None or isinstance(value, (bool, str)):
        if isinstance(value, str) and any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise Other("surrogate")
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else plain(float(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) or type(key) is int and abs(key) < 2**63 for key in value):
            raise Other("keys")
        keys = [str(key) for key in value]
        if len(set(keys)) != len(keys) or not all(key.isascii() for key in keys):
            raise Other("keys")
        return {str(key): plain(item) for key, item in value.items()}
    raise Other(type(value).__name__)


def answer(text):
    try:
        return {"value": plain(ast.literal_eval(text))}
    except Other as other:
        return {"other": str(other)}
    except OverflowError:
        return {"other": "overflow"}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}


print(json.dumps([answer(text) for text in json.load(sys.stdin)]))
