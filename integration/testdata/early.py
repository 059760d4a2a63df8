"""Uploads what standard input lists, each with the library that is named, and
prints what came back, as JSON."""

import json
import sys
import urllib.error
import urllib.request

import requests


def body(upload):
    if not upload["chunked"]:
        return b"x" * upload["size"]
    return pieces(upload["size"])


def pieces(size):
    while size > 0:
        yield b"x" * min(size, 65536)
        size -= 65536


def by_urllib(upload):
    request = urllib.request.Request(upload["url"], data=body(upload), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def by_requests(upload):
    answer = requests.post(upload["url"], data=body(upload), timeout=60)
    return answer.status_code, answer.text


results = []
for upload in json.load(sys.stdin):
    try:
        status, text = {"urllib": by_urllib, "requests": by_requests}[sys.argv[1]](upload)
    except Exception as error:
        status, text = 0, repr(error)
    results.append({"status": status, "body": text})
print(json.dumps(results))
