"""Tells in X-Seen how Tornado reads each request."""

import asyncio
import base64
import json
import sys

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine


def handle(request):
    seen = {
        'method': request.method, 'target': request.uri,
        'host': request.headers.get_list('Host'), 'authorization': request.headers.get_list('Authorization'),
        'body': base64.b64encode(request.body).decode(),
    }
    request.connection.write_headers(
        ResponseStartLine('HTTP/1.1', 200, 'OK'),
        HTTPHeaders({'Content-Length': '0', 'X-Seen': base64.b64encode(json.dumps(seen).encode()).decode()}))
    request.connection.finish()


async def main():
    HTTPServer(handle).listen(int(sys.argv[1]), '127.0.0.1')
    await asyncio.Event().wait()


asyncio.run(main())
