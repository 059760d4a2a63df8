// Uploads what standard input lists with fetch, which is undici, and prints what
// came back, as JSON.
import { json } from 'node:stream/consumers';

function body({ size, chunked }) {
  if (!chunked) return new Uint8Array(size).fill(0x78);
  return new ReadableStream({
    pull(controller) {
      if (size <= 0) return controller.close();
      controller.enqueue(new Uint8Array(Math.min(size, 65536)).fill(0x78));
      size -= 65536;
    },
  });
}

const results = [];
for (const upload of await json(process.stdin)) {
  try {
    const r = await fetch(upload.url, { method: 'POST', body: body(upload), duplex: 'half' });
    results.push({ status: r.status, body: await r.text() });
  } catch (error) {
    results.push({ status: 0, body: `${error} ${error.cause}` });
  }
}
console.log(JSON.stringify(results));
