import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;

/** Tells in X-Seen how the JDK's own server reads each request. */
class Jdk {
  public static void main(String[] args) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
    server.createContext("/", exchange -> {
      byte[] body = exchange.getRequestBody().readAllBytes();
      String seen = String.format("{\"method\":%s,\"target\":%s,\"host\":%s,\"authorization\":%s,\"body\":%s}",
          quote(exchange.getRequestMethod()), quote(exchange.getRequestURI().toString()),
          quote(exchange.getRequestHeaders().get("Host")), quote(exchange.getRequestHeaders().get("Authorization")),
          quote(Base64.getEncoder().encodeToString(body)));
      exchange.getResponseHeaders().set("X-Seen", Base64.getEncoder().encodeToString(seen.getBytes("UTF-8")));
      exchange.sendResponseHeaders(200, -1);
      exchange.close();
    });
    server.start();
  }

  static String quote(List<String> all) {
    return all == null ? "[]" : all.stream().map(Jdk::quote).collect(Collectors.joining(",", "[", "]"));
  }

  static String quote(String s) {
    return "\"" + s.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
  }
}
