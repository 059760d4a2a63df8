"""Tells in X-Seen how aiohttp reads each request."""

import base64
import json
import sys

from aiohttp import web


async def handle(request):
    body = await request.read()
    seen = {
        'method': request.method, 'target': request.raw_path,
        'host': request.headers.getall('Host', []), 'authorization': request.headers.getall('Authorization', []),
        'body': base64.b64encode(body).decode(),
    }
    return web.Response(headers={'X-Seen': base64.b64encode(json.dumps(seen).encode()).decode()})



async def serve():
    import asyncio
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', int(sys.argv[1])).start()
    await asyncio.Event().wait()


if __name__ == '__main__':
    import asyncio
    asyncio.run(serve())
