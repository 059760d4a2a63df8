"""Says which path Python's servers take a request for."""

import http.server
import json
import posixpath
import sys
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        # As it is, and as SimpleHTTPRequestHandler cleans it.
        body = json.dumps([path, posixpath.normpath(path)]).encode("utf-8", "surrogateescape")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
