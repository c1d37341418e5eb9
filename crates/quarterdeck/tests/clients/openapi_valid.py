"""Judges the plane's OpenAPI documents, read as JSON from standard input: a list of documents."""

import json
import sys

from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

wrong = 0
for document in json.load(sys.stdin):
    old = document.get("swagger") == "2.0"
    validator = OpenAPIV2SpecValidator if old else OpenAPIV30SpecValidator
    for error in validator(document).iter_errors():
        wrong += 1
        place = "/".join(str(part) for part in error.absolute_path)
        print(f"{document['info']['version']}: {place}: {error.message[:400]}")
print(f"{wrong} errors")
sys.exit(wrong > 0)
