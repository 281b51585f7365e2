import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Java's HttpClient against the echo: in the clear, where it asks for HTTP/2 by Upgrade, and over TLS. */
public class JavaClient {
    static int passed = 0, total = 0;

    interface Case { Object run() throws Exception; }

    static void check(String name, Case work) {
        total++;
        String problem = "";
        try {
            Object result = work.run();
            if (!Boolean.TRUE.equals(result)) problem = ": " + result;
        } catch (Exception error) {
            problem = ": " + error;
        }
        if (problem.isEmpty()) passed++;
        System.out.println((problem.isEmpty() ? "ok      " : "FAILED  ") + name + problem);
    }

    static HttpResponse<byte[]> send(HttpClient client, HttpRequest.Builder request) throws Exception {
        HttpResponse<byte[]> response = client.send(request.timeout(Duration.ofSeconds(30)).build(), BodyHandlers.ofByteArray());
        if (response.version() != HttpClient.Version.HTTP_1_1) throw new Exception("spoke " + response.version());
        return response;
    }

    static boolean endsWith(byte[] all, byte[] end) {
        return all.length >= end.length && Arrays.equals(Arrays.copyOfRange(all, all.length - end.length, all.length), end);
    }

    static void cases(String base, HttpClient client, String name) {
        byte[] big = new byte[5_000_000];
        new java.util.Random(1).nextBytes(big);
        URI uri = URI.create(base + "/a?b=c");
        check(name + " GET", () -> new String(send(client, HttpRequest.newBuilder(uri)).body()).startsWith("GET /a?b=c HTTP/1.1\r\n"));
        check(name + " HEAD", () -> send(client, HttpRequest.newBuilder(uri).method("HEAD", BodyPublishers.noBody())).body().length == 0);
        for (String method : new String[] {"POST", "PUT", "PATCH", "DELETE"}) {
            check(name + " " + method, () -> new String(
                send(client, HttpRequest.newBuilder(uri).method(method, BodyPublishers.ofString("body"))).body()).endsWith("\r\n\r\nbody"));
        }
        check(name + " 5 MB", () -> endsWith(send(client, HttpRequest.newBuilder(uri).PUT(BodyPublishers.ofByteArray(big))).body(), big));
        check(name + " 5 MB in chunks", () -> endsWith(
            send(client, HttpRequest.newBuilder(uri).PUT(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(big)))).body(), big));
        check(name + " 100-continue", () -> endsWith(
            send(client, HttpRequest.newBuilder(uri).expectContinue(true).POST(BodyPublishers.ofByteArray(big))).body(), big));
        check(name + " 100 in order", () -> {
            for (int n = 0; n < 100; n++) {
                if (send(client, HttpRequest.newBuilder(URI.create(base + "/" + n))).statusCode() != 200) return "status at " + n;
            }
            return true;
        });
        check(name + " 50 at once", () -> {
            var all = new CompletableFuture[50];
            for (int n = 0; n < 50; n++) {
                all[n] = client.sendAsync(HttpRequest.newBuilder(URI.create(base + "/" + n)).build(), BodyHandlers.ofString())
                    .thenAccept(r -> { if (r.statusCode() != 200) throw new RuntimeException("" + r.statusCode()); });
            }
            CompletableFuture.allOf(all).get(30, TimeUnit.SECONDS);
            return true;
        });
        check(name + " WebSocket", () -> {
            var heard = new CompletableFuture<String>();
            WebSocket socket = client.newWebSocketBuilder().buildAsync(
                URI.create(base.replace("http", "ws") + "/websocket"), new WebSocket.Listener() {
                    final StringBuilder text = new StringBuilder();
                    public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
                        text.append(data);
                        if (last) heard.complete(text.toString());
                        socket.request(1);
                        return null;
                    }
                }).get(10, TimeUnit.SECONDS);
            String said = "hello ".repeat(20_000);
            socket.sendText(said, true).get(10, TimeUnit.SECONDS);
            boolean same = heard.get(10, TimeUnit.SECONDS).equals(said);
            socket.sendClose(WebSocket.NORMAL_CLOSURE, "").get(10, TimeUnit.SECONDS);
            return same;
        });
    }

    /** HTTP/2 by ALPN: EmptyCall of gRPC's server, as far as a client without trailers sees it. */
    static HttpResponse<byte[]> emptyCall(HttpClient client, byte[] body) throws Exception {
        URI uri = URI.create("https://localhost:" + System.getenv("GRPCS") + "/grpc.testing.TestService/EmptyCall");
        return client.send(
            HttpRequest.newBuilder(uri).header("content-type", "application/grpc").header("te", "trailers")
                .timeout(Duration.ofSeconds(30)).POST(BodyPublishers.ofByteArray(body)).build(), BodyHandlers.ofByteArray());
    }

    static void http2(HttpClient client) {
        byte[] empty = new byte[5];
        check("HTTP/2 one call", () -> {
            var response = emptyCall(client, empty);
            return response.version() == HttpClient.Version.HTTP_2 && response.statusCode() == 200 && Arrays.equals(response.body(), empty);
        });
        check("HTTP/2 1,000 in order", () -> {
            for (int n = 0; n < 1000; n++) {
                if (!Arrays.equals(emptyCall(client, empty).body(), empty)) return "body at " + n;
            }
            return true;
        });
        check("HTTP/2 2 MB", () -> {
            // A field that nobody knows comes back.
            int size = 2_000_000;
            var message = java.nio.ByteBuffer.allocate(5 + 5 + size);
            message.put((byte) 0).putInt(5 + size).put((byte) 0x7a);
            for (int left = size; ; left >>= 7) {
                message.put((byte) (left > 127 ? left & 127 | 128 : left));
                if (left <= 127) break;
            }
            int length = message.position() - 5 + size;
            message.putInt(1, length);
            byte[] whole = Arrays.copyOf(message.array(), 5 + length);
            var response = emptyCall(client, whole);
            return Arrays.equals(response.body(), whole) ? true : response + " " + response.body().length;
        });
        check("HTTP/2 a status and no message", () -> {
            URI uri = URI.create("https://localhost:" + System.getenv("GRPCS") + "/nobody.knows/This");
            var response = client.send(
                HttpRequest.newBuilder(uri).header("content-type", "application/grpc").POST(BodyPublishers.ofByteArray(empty)).build(),
                BodyHandlers.ofByteArray());
            return response.body().length == 0 && response.headers().firstValue("grpc-status").orElse("").equals("12");
        });
    }

    public static void main(String[] arguments) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = new FileInputStream(System.getenv("AUTHORITY"))) {
            store.setCertificateEntry("a", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        for (var version : HttpClient.Version.values()) {
            HttpClient client = HttpClient.newBuilder().version(version).sslContext(context)
                .connectTimeout(Duration.ofSeconds(10)).build();
            cases("http://127.0.0.1:" + System.getenv("HTTP"), client, "http wanting " + version);
            cases("https://localhost:" + System.getenv("HTTPS"), client, "https wanting " + version);
            if (version == HttpClient.Version.HTTP_2) http2(client);
        }
        System.out.println(passed + "/" + total);
        System.exit(passed == total ? 0 : 1);
    }
}
