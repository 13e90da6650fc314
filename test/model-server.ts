// A server of files on this machine that can break off, forget ranges, redirect and so on; and proxies in front of it.

import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

/** What a server does with a request; `count` is how many there were for the same path before. */
export type Answer = (request: http.IncomingMessage, response: http.ServerResponse, count: number) => void;

/** A request that a server saw. */
export interface Seen {
  readonly url: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
}

export interface TestServer {
  readonly port: number;
  readonly seen: Seen[];
  close(): Promise<void>;
}

/** Starts a server on a port that is free; of https if it has a certificate and its key, as PEM. */
export async function startServer(
  answers: Readonly<Record<string, Answer>>,
  tls?: { readonly key: string; readonly cert: string },
): Promise<TestServer> {
  const seen: Seen[] = [];
  const listener: http.RequestListener = (request, response) => {
    const { url = '', headers } = request;
    const count = seen.filter((before) => before.url === url).length;
    seen.push({ url, range: headers.range, ifRange: headers['if-range'] as string | undefined });
    const answer = answers[url] ?? ((_, missing) => missing.writeHead(404).end('no such file'));
    answer(request, response, count);
  };
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  return { ...(await listening(server)), seen };
}

/** Starts a proxy that sends everything to one server, whatever the name of the host. */
export async function startProxy(port: number): Promise<TestServer> {
  const seen: Seen[] = [];
  const server = http.createServer(({ url = '', headers }, response) => {
    seen.push({ url, range: headers.range, ifRange: undefined });
    const { pathname } = new URL(url);
    http.get({ host: '127.0.0.1', port, path: pathname, headers: { ...headers, connection: 'close' } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
  });
  return { ...(await listening(server)), seen };
}

/**
 * Starts a proxy that only makes tunnels (RFC 9110, 9.3.6), all of them to one port, whatever the name of the host.
 *
 * @param credentials - `user:password`, without which there is no tunnel.
 */
export async function startTunnel(port: number, credentials?: string): Promise<TestServer> {
  const seen: Seen[] = [];
  const open = new Set<Duplex>();
  const expected = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  const server = http.createServer((_, response) => response.writeHead(405).end('only CONNECT'));
  server.on('connect', ({ method, url, headers }: http.IncomingMessage, client: Duplex, head: Buffer) => {
    seen.push({ url: `${method} ${url}`, range: undefined, ifRange: undefined });
    if (expected !== undefined && headers['proxy-authorization'] !== expected) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    const target = net.connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      target.write(head);
      target.pipe(client).pipe(target);
    });
    for (const socket of [client, target]) {
      open.add(socket);
      socket.on('error', () => {
        client.destroy();
        target.destroy();
      });
    }
  });
  const { port: own, close } = await listening(server);
  return {
    port: own,
    seen,
    // Tunnels are no connections of the server any more.
    close: async () => {
      for (const socket of open) socket.destroy();
      await close();
    },
  };
}

async function listening(server: http.Server) {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { port, close };
}

/** Serves a file as servers do: with a name for its version, and parts of it if asked and if it is still that version. */
export function serveFile(file: Buffer, etag = '"1"'): Answer {
  return ({ headers }, response) => {
    const [, start] = /^bytes=(\d+)-$/.exec(headers.range ?? '') ?? [];
    const same = headers['if-range'] === undefined || headers['if-range'] === etag;
    if (start === undefined || !same) {
      response.writeHead(200, { 'content-length': file.length, etag }).end(file);
    } else if (Number(start) >= file.length) {
      response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end();
    } else {
      const rest = file.subarray(Number(start));
      const range = `bytes ${start}-${file.length - 1}/${file.length}`;
      response.writeHead(206, { 'content-length': rest.length, 'content-range': range, etag }).end(rest);
    }
  };
}

/** Sends the first half of a file and then closes the connection. */
export function breakOff(file: Buffer, headers: http.OutgoingHttpHeaders = { etag: '"1"' }): Answer {
  return (_, response) => {
    response.writeHead(200, { 'content-length': file.length, ...headers });
    response.write(file.subarray(0, file.length >> 1), () => response.socket?.end());
  };
}

/** The first request is answered by one, all others by another. */
export function first(answer: Answer, then: Answer): Answer {
  return (request, response, count) => (count === 0 ? answer : then)(request, response, count);
}
