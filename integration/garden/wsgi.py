"""Tells in X-Seen how a WSGI server reads each request."""

import base64
import json


def app(environ, start_response):
    target = environ.get('RAW_URI') or environ.get('REQUEST_URI')
    if target is None:
        target = environ.get('SCRIPT_NAME', '') + environ['PATH_INFO']
        if environ.get('QUERY_STRING'):
            target += '?' + environ['QUERY_STRING']
    seen = {
        'method': environ['REQUEST_METHOD'], 'target': target,
        'host': [environ['HTTP_HOST']] if 'HTTP_HOST' in environ else [],
        'authorization': [environ['HTTP_AUTHORIZATION']] if 'HTTP_AUTHORIZATION' in environ else [],
        'body': base64.b64encode(environ['wsgi.input'].read()).decode(),
    }
    start_response('200 OK', [('X-Seen', base64.b64encode(json.dumps(seen).encode()).decode()), ('Content-Length', '0')])
    return [b'']


if __name__ == '__main__':
    import sys

    import waitress
    waitress.serve(app, host='127.0.0.1', port=int(sys.argv[1]), threads=2, _quiet=True)
