// Asks for what the arguments name, and prints the outcome as JSON.
import https from 'node:https';

const [what, url] = process.argv.slice(2);
const print = (outcome) => console.log(JSON.stringify(outcome));

const clients = {
  async get() {
    const r = await fetch(url, { headers: { 'x-mine': 'kept' } });
    print({ status: r.status, body: await r.text() });
  },

  async post() {
    const body = new Uint8Array(1 << 20).fill(0x61);
    const r = await fetch(url, { method: 'POST', body });
    print({ status: r.status, body: await r.text() });
  },

  // Prints the first chunk of a stream that does not end, and hangs up.
  async stream() {
    const abort = new AbortController();
    const r = await fetch(url, { signal: abort.signal });
    const { value } = await r.body.getReader().read();
    print({ status: r.status, body: new TextDecoder().decode(value) });
    abort.abort();
  },

  // The module that older libraries are built on.
  https() {
    https.get(url, { headers: { 'x-mine': 'kept' } }, async (r) => {
      let body = '';
      for await (const chunk of r) body += chunk;
      print({ status: r.statusCode, body });
    });
  },

  websocket() {
    const ws = new WebSocket(url);
    ws.onopen = () => ws.send('hello');
    ws.onmessage = (message) => {
      print({ status: 101, body: message.data });
      ws.close(1000);
    };
    ws.onerror = (event) => print({ status: 0, body: String(event.error ?? event.message) });
  },
};

await clients[what]();
