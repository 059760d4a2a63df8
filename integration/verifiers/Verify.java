import java.io.FileInputStream;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;

/** Asks the JDK's default trust manager about a chain: arguments are the CA, the chain, and "server" or "client". */
class Verify {
  public static void main(String[] args) throws Exception {
    var factory = CertificateFactory.getInstance("X.509");
    var store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (var in = new FileInputStream(args[0])) {
      store.setCertificateEntry("ca", factory.generateCertificate(in));
    }
    var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    managers.init(store);
    var manager = (X509ExtendedTrustManager) managers.getTrustManagers()[0];
    X509Certificate[] chain;
    try (var in = new FileInputStream(args[1])) {
      chain = factory.generateCertificates(in).toArray(X509Certificate[]::new);
    }
    try {
      if (args[2].equals("server")) {
        manager.checkServerTrusted(chain, "ECDHE_ECDSA", (SSLEngine) null);
      } else {
        manager.checkClientTrusted(chain, "EC", (SSLEngine) null);
      }
      System.out.println("taken");
    } catch (CertificateException e) {
      System.out.println("refused: " + e);
    }
  }
}
