"""Tells in X-Seen how Python's http.server reads each request. It leaves bodies
to its users: one of known length is read, a chunked one ends the connection."""

import base64
import http.server
import json
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do(self):
        seen = {
            'method': self.command, 'target': self.path,
            'host': self.headers.get_all('Host', []), 'authorization': self.headers.get_all('Authorization', []),
        }
        if 'Transfer-Encoding' in self.headers:
            self.close_connection = True
        else:
            body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
            seen['body'] = base64.b64encode(body).decode()
        self.send_response(200)
        self.send_header('X-Seen', base64.b64encode(json.dumps(seen).encode()).decode())
        self.send_header('Content-Length', '0')
        self.end_headers()

    def __getattr__(self, name):
        if name.startswith('do_'):
            return self.do
        raise AttributeError(name)

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
