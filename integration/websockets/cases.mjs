// What a client with the WebSocket of browsers makes of the torture server's cases.
// open takes a path and a list of subprotocols, and returns a WebSocket.
export async function torture(open) {
  const connect = (path, protocols = []) => {
    const ws = open(path, protocols);
    ws.binaryType = 'arraybuffer';
    const events = [], waiting = [];
    const happens = (event) => (waiting.length ? waiting.shift()(event) : events.push(event));
    ws.onopen = () => happens('open');
    ws.onmessage = ({ data }) => happens(data);
    ws.onclose = ({ code, reason, wasClean }) => happens({ code, reason, wasClean });
    ws.onerror = () => {}; // close follows
    return { ws, next: () => (events.length ? events.shift() : new Promise((resolve) => waiting.push(resolve))) };
  };
  const opened = async (path, protocols) => {
    const c = connect(path, protocols);
    const first = await c.next();
    if (first !== 'open') throw new Error(`${path}: ${JSON.stringify(first)}`);
    return c;
  };
  const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
  const noise = (n) => Uint8Array.from({ length: n }, (_, i) => (i * 2654435761) >>> 24);
  const outcome = {};

  for (const path of ['/echo', '/deflate']) {
    const { ws, next } = await opened(path);
    const differ = [];
    const texts = ['grüezi 😀', '', 'agent'.repeat(1 << 18), ...Array(50).fill(JSON.stringify(Array(500).fill('the same again')))];
    for (const text of texts) {
      ws.send(text);
      if ((await next()) !== text) differ.push(`text of ${text.length}`);
    }
    for (const n of [1, 125, 126, 65535, 65536, 6 << 20]) {
      const bytes = noise(n);
      ws.send(bytes);
      const got = await next();
      if (!(got instanceof ArrayBuffer) || !same(new Uint8Array(got), bytes)) differ.push(`binary of ${n}`);
    }
    for (let i = 0; i < 500; i++) ws.send(`${i}`);
    for (let i = 0; i < 500; i++) if ((await next()) !== `${i}`) differ.push(`message ${i}`);
    outcome[path] = { differ, extensions: ws.extensions };
    ws.close(1000);
    await next();
  }
  {
    const { next } = await opened('/fragments');
    outcome.fragments = [await next(), await next(), (await next()).code];
  }
  outcome.closes = [];
  for (const code of [1000, 1001, 1011, 3000, 4999]) {
    const { next } = await opened(`/close?code=${code}`);
    outcome.closes.push(await next());
  }
  {
    const { ws, next } = await opened('/heard');
    ws.close(4002, 'the client’s reason');
    const { code, wasClean } = await next();
    outcome.heard = { code, wasClean };
  }
  outcome.broken = {};
  for (const how of ['reserved', 'opcode', 'continuation', 'utf8', 'ping', 'masked', 'closing', 'deflated']) {
    const { next } = connect(`/broken?how=${how}`);
    let got = await next();
    if (got === 'open') got = await next(); // Firefox may find the frame before
    outcome.broken[how] = typeof got === 'object' && 'code' in got ? 'closed' : String(got);
  }
  {
    const { ws, next } = await opened('/abrupt');
    ws.send('go');
    outcome.abrupt = [await next(), (await next()).code];
  }
  {
    const { ws, next } = await opened('/protocols', ['other', 'chat.v2']);
    outcome.protocol = ws.protocol;
    ws.close(1000);
    await next();
  }
  outcome.refused = (await connect('/refused').next()).code;
  return outcome;
}
