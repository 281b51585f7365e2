"""Asks over HTTP/3 (PyPI aioquic): PORT AUTHORITY, of localhost at 127.0.0.1. Prints what it has heard of each request."""

import asyncio
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

REQUESTS = [("GET", b""), ("POST", b"body"), ("POST", b"0123456789abcdef" * 65536), ("DELETE", b"")]


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http = H3Connection(self._quic)
        self.answers = {}

    def quic_event_received(self, event):
        for heard in self.http.handle_event(event):
            status, content, end = self.answers[heard.stream_id]
            if isinstance(heard, HeadersReceived):
                self.answers[heard.stream_id] = (dict(heard.headers)[b":status"], content, end)
            elif isinstance(heard, DataReceived):
                content += heard.data
            if heard.stream_ended:
                end.set_result(None)

    async def ask(self, authority, method, body):
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = (b"", bytearray(), asyncio.get_running_loop().create_future())
        fields = [(b":method", method.encode()), (b":scheme", b"https"), (b":authority", authority.encode()), (b":path", b"/h3?x=y")]
        if body:
            fields.append((b"content-length", str(len(body)).encode()))
        self.http.send_headers(stream, fields, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.answers[stream][2], 20)
        return self.answers[stream]


async def main(port, authority):
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", cafile=authority)
    async with connect("127.0.0.1", int(port), configuration=configuration, create_protocol=Client) as client:
        answers = await asyncio.gather(*[client.ask(f"localhost:{port}", *request) for request in REQUESTS])
    for (method, body), (status, content, _) in zip(REQUESTS, answers):
        whole = content.startswith(f"{method} /h3?x=y ".encode()) and content.endswith(body)
        print(method, len(body), status.decode(), "whole" if whole else "not what was sent")


asyncio.run(main(*sys.argv[1:]))
