"""Tells how Python's http.client reads each of some answers."""

import base64
import http.client
import json
import sys
import urllib.parse

base, count = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2])
for i in range(count):
    read = {}
    try:
        connection = http.client.HTTPConnection(base.hostname, base.port, timeout=60)
        connection.request('GET', f'/{i}')
        response = connection.getresponse()
        body = base64.b64encode(response.read()).decode()
        read = {'status': response.status, 'check': ', '.join(response.headers.get_all('X-Check', [])), 'body': body}
    except (http.client.HTTPException, OSError, ValueError):
        read = {}
    finally:
        connection.close()
    print(json.dumps(read))
