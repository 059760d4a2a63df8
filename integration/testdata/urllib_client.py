"""Asks for what the arguments name, and prints the outcome as JSON."""

import json
import sys
import urllib.request

what, url = sys.argv[1:]
data = b"a" * (1 << 20) if what == "post" else None
request = urllib.request.Request(url, data=data, headers={"X-Mine": "kept"})
with urllib.request.urlopen(request) as answer:
    # Of a stream the first line, whatever comes after it and when.
    body = answer.readline() if what == "stream" else answer.read()
    print(json.dumps({"status": answer.status, "body": body.decode()}))
