"""Judges documents by a JSON Schema: {"schema": ..., "documents": [...]} on standard input, a list of booleans out."""

import json
import sys

import jsonschema

task = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(task["schema"])
validator = jsonschema.Draft202012Validator(task["schema"])
print(json.dumps([validator.is_valid(document) for document in task["documents"]]))
