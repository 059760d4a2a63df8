// Says which path Node's URL, and a server that splits the target itself, take
// a request for.
import http from "node:http";

http.createServer((request, response) => {
  const takes = [];
  for (const path of [() => new URL(request.url, "http://host").pathname, () => request.url.split("?")[0]]) {
    try {
      takes.push(decodeURIComponent(path()));
    } catch {
      // It is refused.
    }
  }
  response.end(JSON.stringify(takes));
}).listen(Number(process.argv[3]), process.argv[2]);
