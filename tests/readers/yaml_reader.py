"""Reads YAML texts with PyYAML: a JSON list of texts on standard input, a JSON list of what they say out."""

import json
import sys

import yaml

print(json.dumps([yaml.safe_load(text) for text in json.load(sys.stdin)]))
