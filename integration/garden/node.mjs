// Tells in X-Seen how Node reads each request.
import http from 'node:http';

const tell = (request, body) => {
  const values = (name) => request.rawHeaders.filter((_, i, all) => i % 2 && all[i - 1].toLowerCase() === name);
  return Buffer.from(JSON.stringify({
    method: request.method, target: request.url, host: values('host'), authorization: values('authorization'), body: body?.toString('base64'),
  })).toString('base64');
};

const server = http.createServer((request, response) => {
  const body = [];
  request.on('data', (piece) => body.push(piece));
  request.on('end', () => {
    response.setHeader('X-Seen', tell(request, Buffer.concat(body)));
    response.end();
  });
});
// Nothing that follows is read as HTTP.
server.on('upgrade', (request, socket) => socket.end(`HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nX-Seen: ${tell(request)}\r\nContent-Length: 0\r\n\r\n`));
server.listen(Number(process.argv[2]), '127.0.0.1');
