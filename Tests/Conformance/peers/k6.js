// k6 as a client of the echo (HTTP and WebSocket, in the clear and over TLS) and of grpc.testing.TestService: ten at once. One case for
// each check; it has passed if it has for everybody, every time.
import { check } from 'k6';
import http from 'k6/http';
import grpc from 'k6/net/grpc';
import ws from 'k6/ws';

const body = 'words and more words, '.repeat(5000);
const port = (name) => __ENV[name];
const clients = { GRPC: new grpc.Client(), GRPCS: new grpc.Client() };

export const options = { vus: 10, iterations: 100, insecureSkipTLSVerify: true };

function overHTTP(url, title) {
  const responses = http.batch([['GET', `${url}/a?b=c`], ['POST', `${url}/`, body], ['HEAD', `${url}/`], ['OPTIONS', `${url}/`]]);
  check(responses, {
    [`${title}: GET`]: (r) => r[0].status === 200 && r[0].body.startsWith('GET /a?b=c HTTP/1.1\r\n'),
    [`${title}: POST`]: (r) => r[1].status === 200 && r[1].body.endsWith(body),
    [`${title}: HEAD`]: (r) => r[2].status === 200 && !r[2].body,
    [`${title}: OPTIONS`]: (r) => r[3].status === 200,
  });
}

function overWebSocket(url, title, compression) {
  const heard = [];
  const response = ws.connect(url, compression ? { compression } : {}, (socket) => {
    socket.on('open', () => { socket.send(body); socket.send('short'); });
    socket.on('message', (text) => { heard.push(text); if (heard.length === 2) socket.close(1000); });
    socket.setTimeout(() => socket.close(1001), 20000);
  });
  check(response, {
    [`${title}: the handshake`]: (r) => r && r.status === 101,
    [`${title}: messages`]: () => heard.length === 2 && heard[0] === body && heard[1] === 'short',
  });
}

function overGRPC(name, address, title) {
  const client = clients[name];
  client.connect(address, { plaintext: name === 'GRPC', reflect: true, timeout: '20s' });
  const unary = client.invoke('grpc.testing.TestService/UnaryCall', { response_size: 50000 });
  const refused = client.invoke('grpc.testing.TestService/UnaryCall', { response_status: { code: 5, message: 'nothing here' } });
  const missing = client.invoke('grpc.testing.TestService/UnimplementedCall', {});
  check(unary, {
    [`${title}: UnaryCall`]: (r) => r.status === grpc.StatusOK && r.message.payload.body.length === 66668,
    [`${title}: a status`]: () => refused.status === grpc.StatusNotFound && refused.error.message === 'nothing here',
    [`${title}: no such method`]: () => missing.status === grpc.StatusUnimplemented,
  });
  client.close();
}

export default function () {
  overHTTP(`http://127.0.0.1:${port('HTTP')}`, 'http');
  overHTTP(`https://localhost:${port('HTTPS')}`, 'https');
  overWebSocket(`ws://127.0.0.1:${port('HTTP')}/websocket`, 'ws');
  overWebSocket(`ws://127.0.0.1:${port('HTTP')}/websocket`, 'ws, deflate', 'deflate');
  overWebSocket(`wss://localhost:${port('HTTPS')}/websocket`, 'wss');
  overGRPC('GRPC', `127.0.0.1:${port('GRPC')}`, 'grpc');
  overGRPC('GRPCS', `localhost:${port('GRPCS')}`, 'grpcs');
}

export function handleSummary(data) {
  const checks = data.root_group.checks;
  const lines = checks.map((c) => `${c.fails ? 'FAILED ' : 'ok     '} ${c.name}: ${c.passes} of ${c.passes + c.fails}`);
  const passed = checks.filter((c) => c.passes === 100 && !c.fails).length;
  return { stdout: `${lines.join('\n')}\n${passed}/${checks.length}\n` };
}
