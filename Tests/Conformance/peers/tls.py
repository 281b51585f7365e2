"""TLS to the letter, by a client that OpenSSL's functions are called for: versions, ALPN, SNI, renegotiation, KeyUpdate, close_notify and
handshakes that nobody goes on with, against the ports of HTTP and of gRPC."""

import ctypes
import ctypes.util
import os
import socket
import struct

from checks import HTTPS, attempt, check, finish, skip

GRPCS = int(os.environ["GRPCS"])
path = ctypes.util.find_library("ssl")
if path is None:
    skip("apt-get install libssl3")
lib = ctypes.CDLL(path)
for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "SSL_get1_peer_certificate", "SSL_get_version"):
    getattr(lib, name).restype = ctypes.c_void_p
lib.SSL_get_version.restype = ctypes.c_char_p
lib.SSL_CTX_ctrl.argtypes = lib.SSL_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
TLS1, TLS1_1, TLS1_2, TLS1_3 = range(0x301, 0x305)
MIN_VERSION, MAX_VERSION, HOST_NAME = 123, 124, 55
READ_ALERT, WANT_READ, ZERO_RETURN, RECEIVED_SHUTDOWN = 0x4004, 2, 6, 2


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


# A call of gRPC's EmptyCall as HTTP/2 has it, and the beginning of a DATA frame with an empty message.
CALL = b"".join(
    literal(name, value) for name, value in (
        (b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/grpc.testing.TestService/EmptyCall"), (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers")))
EMPTY = b"\0\0\x05\0"


class Peer:
    """A connection. `alert`: the last one that has come, by its number; -1: none."""

    def __init__(self, port, protocols=None, versions=(TLS1_2, TLS1_3), name=None):
        self.port, self.alert = port, -1
        context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
        # Old versions count as insecure, and are what is tried here.
        lib.SSL_CTX_set_cipher_list(context, b"DEFAULT:@SECLEVEL=0")
        lib.SSL_CTX_ctrl(context, MIN_VERSION, versions[0], None)
        lib.SSL_CTX_ctrl(context, MAX_VERSION, versions[1], None)
        offered = [b"http/1.1" if port == HTTPS else b"h2"] if protocols is None else protocols
        wire = b"".join(bytes([len(item)]) + item for item in offered)
        if wire:
            lib.SSL_CTX_set_alpn_protos(context, wire, len(wire))
        self.callback = CALLBACK(self.note)
        lib.SSL_CTX_set_info_callback(context, self.callback)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        # OpenSSL reads and writes by itself: a timeout of Python's would make the socket one that never waits.
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 20, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 20, 0))
        self.ssl = ctypes.c_void_p(lib.SSL_new(context))
        lib.SSL_CTX_free(context)
        lib.SSL_set_fd(self.ssl, self.socket.fileno())
        if name is not None:
            lib.SSL_ctrl(self.ssl, HOST_NAME, 0, name)
        self.connected = lib.SSL_connect(self.ssl) == 1
        self.stream = -1

    def note(self, _, where, value):
        if where == READ_ALERT:
            self.alert = value & 255

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        lib.SSL_free(self.ssl)
        self.socket.close()

    @property
    def version(self):
        return lib.SSL_get_version(self.ssl).decode()

    @property
    def protocol(self):
        name, size = ctypes.c_void_p(), ctypes.c_uint()
        lib.SSL_get0_alpn_selected(self.ssl, ctypes.byref(name), ctypes.byref(size))
        return ctypes.string_at(name, size.value) if size.value else b""

    @property
    def certificate(self):
        certificate = lib.SSL_get1_peer_certificate(self.ssl)
        buffer = ctypes.POINTER(ctypes.c_ubyte)()
        size = lib.i2d_X509(ctypes.c_void_p(certificate), ctypes.byref(buffer))
        return ctypes.string_at(buffer, size)

    def write(self, data):
        return lib.SSL_write(self.ssl, data, len(data)) == len(data)

    def read(self):
        """What is there; nothing at an end of any kind."""
        buffer = ctypes.create_string_buffer(65_536)
        count = lib.SSL_read(self.ssl, buffer, len(buffer))
        self.error = lib.SSL_get_error(self.ssl, count)
        return buffer.raw[: max(count, 0)]

    def until(self, end):
        """Reads until `end` has come."""
        text = b""
        while end not in text:
            more = self.read()
            if not more:
                return False
            text += more
        return True

    def is_answered(self):
        """A question of the port's protocol, and the answer."""
        if self.port == HTTPS:
            return self.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n?end!") and self.until(b"?end!")
        if self.stream < 0:
            self.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0")
        self.stream += 2
        stream = struct.pack(">I", self.stream)
        head = struct.pack(">I", len(CALL))[1:] + b"\x01\x04" + stream
        # Up to the trailers, so that nothing is left to be read.
        return self.write(head + CALL + EMPTY + b"\x01" + stream + bytes(5)) and self.until(b"\x01\x05" + stream)

    def update_keys(self):
        """KeyUpdate, which asks for one of the server's keys, too (RFC 8446 §4.6.3)."""
        return lib.SSL_key_update(self.ssl, 1) == 1 and lib.SSL_do_handshake(self.ssl) == 1


def answered(port, **options):
    with Peer(port, **options) as peer:
        return peer.connected and peer.is_answered()


def alert(port, **options):
    with Peer(port, **options) as peer:
        return peer.connected, peer.alert


def renegotiate(port):
    with Peer(port, versions=(TLS1_2, TLS1_2)) as peer:
        if not (peer.connected and peer.is_answered()):
            return False
        lib.SSL_renegotiate(peer.ssl)
        lib.SSL_do_handshake(peer.ssl)
        # no_renegotiation
        return peer.alert == 100 and answered(port)


def many_updates(port):
    with Peer(port) as peer:
        for _ in range(30):
            if not (peer.update_keys() and peer.update_keys() and peer.is_answered()):
                return False
        return True


def memory():
    """KiB of the server."""
    text = open(f"/proc/{os.environ['SERVER']}/status").read()
    return int(text.split("VmRSS:")[1].split()[0])


def flood_of_updates(port):
    before = memory()
    with Peer(port) as peer:
        peer.is_answered()
        for count in range(50_000):
            if not peer.update_keys():
                break
            if count % 10_000 == 5000 and not answered(port):
                return False
        grown = memory() - before
        print(f"        {count} updates, {grown} KiB")
    # 64 of them, as far as the kernel's buffers let one see it.
    return answered(port) and grown < 4096 and count < 40_000


def ended(port):
    """close_notify is answered by close_notify."""
    with Peer(port) as peer:
        peer.is_answered()
        lib.SSL_shutdown(peer.ssl)
        while peer.read():
            pass
        return peer.error == ZERO_RETURN and lib.SSL_get_shutdown(peer.ssl) & RECEIVED_SHUTDOWN


def ends(port):
    """A server that ends a connection says so before it closes."""
    with Peer(port) as peer:
        peer.is_answered()
        # The end of a request without Host, and PING on a stream.
        peer.write(b"GET / HTTP/1.1\r\n\r\n" if port == HTTPS else b"\0\0\x08\x06\0\0\0\0\x0112345678")
        while peer.read():
            pass
        return peer.error == ZERO_RETURN


def cut(port):
    """An end without close_notify harms nobody."""
    for _ in range(20):
        with Peer(port) as peer:
            peer.is_answered()
            peer.socket.shutdown(socket.SHUT_WR)
    return answered(port)


def half_handshakes(port):
    """Hellos whose handshakes nobody goes on with, and connections that say nothing."""
    context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
    lib.SSL_CTX_set_alpn_protos(context, b"\x02h2\x08http/1.1", 12)
    lib.BIO_s_mem.restype = lib.BIO_new.restype = ctypes.c_void_p
    hellos = []
    for _ in range(400):
        ssl, bio = ctypes.c_void_p(lib.SSL_new(context)), ctypes.c_void_p(lib.BIO_new(ctypes.c_void_p(lib.BIO_s_mem())))
        lib.SSL_set_bio(ssl, bio, bio)
        lib.SSL_connect(ssl)
        buffer = ctypes.create_string_buffer(4096)
        hellos.append(buffer.raw[: lib.BIO_read(bio, buffer, 4096)])
        lib.SSL_free(ssl)
    before = memory()
    sockets = []
    for number, hello in enumerate(hellos):
        sockets.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        if number % 4:
            sockets[-1].sendall(hello)
        if number % 100 == 99 and not answered(port):
            return False
    grown = memory() - before
    print(f"        {grown} KiB for {len(sockets)} half handshakes")
    for item in sockets:
        item.close()
    # An SSL of OpenSSL's has some 40 KiB in a handshake.
    return answered(port) and grown < 100 * len(sockets)


for port, title in ((HTTPS, "https"), (GRPCS, "grpcs")):
    for version, name in ((TLS1, "TLSv1"), (TLS1_1, "TLSv1.1")):
        attempt(f"{title}: {name} is refused by protocol_version", lambda: alert(port, versions=(version, version)) == (False, 70))
    for version, name in ((TLS1_2, "TLSv1.2"), (TLS1_3, "TLSv1.3")):
        attempt(f"{title}: {name}", lambda: answered(port, versions=(version, version)))
    with Peer(port) as peer:
        check(f"{title}: the newest version is taken", peer.version == "TLSv1.3", peer.version)
        certificate = peer.certificate
    with Peer(port, versions=(TLS1, TLS1_2)) as peer:
        check(f"{title}: the newest of an old client's", peer.version == "TLSv1.2", peer.version)
    ours = b"http/1.1" if port == HTTPS else b"h2"
    attempt(f"{title}: no protocol in common", lambda: alert(port, protocols=[b"spdy/3", b"x"]) == (False, 120))
    attempt(f"{title}: no protocol in common, TLSv1.2", lambda: alert(port, protocols=[b"x"], versions=(TLS1_2, TLS1_2)) == (False, 120))
    with Peer(port, protocols=[b"x", ours]) as peer:
        check(f"{title}: the protocol in common", peer.connected and peer.protocol == ours, peer.protocol)
    if port == HTTPS:
        attempt(f"{title}: no protocol is offered", lambda: answered(port, protocols=[]))
    else:
        attempt(f"{title}: no protocol is offered", lambda: alert(port, protocols=[]) == (False, 120))
    for name in (b"localhost", b"other.example.org", b"x" * 250):
        with Peer(port, name=name) as peer:
            check(f"{title}: server name {name[:20].decode()}", peer.connected and peer.certificate == certificate and peer.is_answered())
    attempt(f"{title}: renegotiation is refused", lambda: renegotiate(port))
    attempt(f"{title}: many KeyUpdates", lambda: many_updates(port))
    attempt(f"{title}: a flood of KeyUpdates", lambda: flood_of_updates(port))
    attempt(f"{title}: close_notify is answered", lambda: ended(port))
    attempt(f"{title}: close_notify before the end", lambda: ends(port))
    attempt(f"{title}: an end without close_notify", lambda: cut(port))
    attempt(f"{title}: half handshakes", lambda: half_handshakes(port))
finish()
