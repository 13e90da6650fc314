// A server of files on this machine that can break off, forget ranges, redirect and so on; and a proxy in front of it.

import http from 'node:http';
import type { AddressInfo } from 'node:net';

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

/** Starts a server on a port that is free. */
export async function startServer(answers: Readonly<Record<string, Answer>>): Promise<TestServer> {
  const seen: Seen[] = [];
  const server = http.createServer((request, response) => {
    const { url = '', headers } = request;
    const count = seen.filter((before) => before.url === url).length;
    seen.push({ url, range: headers.range, ifRange: headers['if-range'] as string | undefined });
    const answer = answers[url] ?? ((_, missing) => missing.writeHead(404).end('no such file'));
    answer(request, response, count);
  });
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
