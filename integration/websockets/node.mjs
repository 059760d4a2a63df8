// Runs the cases with the client that the first argument names, against the server that
// the second one names, and prints what became of them.
import https from 'node:https';
import { torture } from './cases.mjs';

const [client, base] = process.argv.slice(2);
const clients = {
  // undici, as it comes with Node.
  async node() {
    return (path, protocols) => new WebSocket(base + path, protocols);
  },
  async undici() {
    const { WebSocket, EnvHttpProxyAgent } = await import('undici');
    const dispatcher = new EnvHttpProxyAgent();
    return (path, protocols) => new WebSocket(base + path, { protocols, dispatcher });
  },
  async ws() {
    const { WebSocket } = await import('ws');
    const agent = new https.Agent({ proxyEnv: process.env });
    return (path, protocols) => new WebSocket(base + path, protocols, { agent, perMessageDeflate: true });
  },
};
console.log(JSON.stringify(await torture(await clients[client]())));
process.exit();
