"""Holds OCSF events (JSON lines on stdin) against the schema's own files: every
attribute that is required, every type and enumerated value, nothing that the
schema doesn't know, and the constraints of class and objects."""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

raw = get_ocsf_schema("1.6.0")
embedded = OcsfJsonSchemaEmbedded(raw)
known = {}


def constrained(value, entity, path, found):
    """`at_least_one` and `just_one`, all the way down."""
    for kind, names in (entity.get("constraints") or {}).items():
        present = [name for name in names if name in value]
        if kind == "at_least_one" and not present or kind == "just_one" and len(present) != 1:
            found.append(f"{path or 'the event'}: {kind} of {names}, not {present}")
    for name, attribute in entity["attributes"].items():
        inner = raw["objects"].get(attribute.get("object_type"))
        if inner is None or name not in value or name == "unmapped":
            continue
        all = value[name] if isinstance(value[name], list) else [value[name]]
        for one in all:
            if isinstance(one, dict):
                constrained(one, inner, f"{path}.{name}", found)


count, wrong = 0, []
for line in sys.stdin:
    event = json.loads(line)
    count += 1
    name = embedded.lookup_class_name_from_uid(event["class_uid"])
    if name not in known:
        known[name] = Draft202012Validator(embedded.get_class_schema(name))
    found = [f"{'.'.join(map(str, e.path))}: {e.message}" for e in known[name].iter_errors(event)]
    constrained(event, raw["classes"][name], "", found)
    if found:
        wrong.append((event.get("metadata", {}).get("uid"), found))
for uid, found in wrong[:5]:
    print(uid, *(one[:300] for one in found), sep="\n  ")
print(f"{count} events of {sorted(known)}, {len(wrong)} wrong")
sys.exit(bool(wrong) or not count)
