"""Runs the torture server's cases with python3-websockets, and prints what became of them."""

import asyncio
import json
import os
import socket
import ssl
import sys
import urllib.parse

import websockets

base = sys.argv[1]


def tunnel():
    """Returns a connection to the server through the proxy."""
    proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
    sock = socket.create_connection((proxy.hostname, proxy.port))
    sock.sendall(b"CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    if b" 200 " not in head.split(b"\r\n")[0]:
        sys.exit(head.decode())
    return sock


context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


def connect(path, **more):
    return websockets.connect(base + path, sock=tunnel(), server_hostname="chatgpt.com", ssl=context, max_size=None, **more)


async def closed(ws):
    """Waits for the end, and returns what it was."""
    try:
        return str(await ws.recv())
    except websockets.ConnectionClosed:
        return {"code": ws.close_code, "reason": ws.close_reason, "wasClean": ws.close_code != 1006}


async def main():
    outcome = {}
    for path in ("/echo", "/deflate"):
        async with connect(path) as ws:
            differ = []
            same = json.dumps(["the same again"] * 500)
            texts = ["grüezi 😀", "", "agent" * (1 << 18)] + [same] * 50
            for message in texts + [bytes(n % 251 for n in range(size)) for size in (1, 125, 126, 65535, 65536, 6 << 20)]:
                await ws.send(message)
                if await ws.recv() != message:
                    differ.append(f"message of {len(message)}")
            # In fragments, as the other clients cannot send them.
            await ws.send(iter(["in ", "", "frag", "ments"]))
            if await ws.recv() != "in fragments":
                differ.append("fragments")
            await (await ws.ping(b"are you there"))
            for i in range(500):
                await ws.send(str(i))
            for i in range(500):
                if await ws.recv() != str(i):
                    differ.append(f"message {i}")
            outcome[path] = {"differ": differ, "extensions": "permessage-deflate" if ws.extensions else ""}
    async with connect("/fragments") as ws:
        outcome["fragments"] = [await ws.recv(), await ws.recv(), (await closed(ws))["code"]]
    outcome["closes"] = []
    for code in (1000, 1001, 1011, 3000, 4999):
        async with connect(f"/close?code={code}") as ws:
            outcome["closes"].append(await closed(ws))
    async with connect("/heard") as ws:
        await ws.close(4002, "the client’s reason")
        outcome["heard"] = {"code": ws.close_code, "wasClean": True}
    outcome["broken"] = {}
    for how in ("reserved", "opcode", "continuation", "utf8", "ping", "masked", "closing", "deflated"):
        async with connect(f"/broken?how={how}") as ws:
            got = await closed(ws)
            outcome["broken"][how] = "closed" if isinstance(got, dict) else got
    async with connect("/abrupt") as ws:
        await ws.send("go")
        outcome["abrupt"] = [await ws.recv(), (await closed(ws))["code"]]
    async with connect("/protocols", subprotocols=["other", "chat.v2"]) as ws:
        outcome["protocol"] = ws.subprotocol
    try:
        async with connect("/refused"):
            outcome["refused"] = 0
    except websockets.InvalidStatusCode as refusal:
        outcome["refused"] = 1006 if refusal.status_code == 403 else refusal.status_code
    print(json.dumps(outcome))


asyncio.run(main())
