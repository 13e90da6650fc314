// One request for a file by HTTP: through the proxy that the environment asks for, and along redirects. node:http rather
// than fetch(), which knows no proxies in Node.js 20. The agents are those of https://github.com/TooTallNate/proxy-agents:
// unlike undici's, they ask a proxy for http:// addresses by their whole URL, since many proxies make tunnels to port 443
// only; proxy-from-env reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY in the way of curl.

import http from 'node:http';
import https from 'node:https';
import { HttpProxyAgent } from 'http-proxy-agent';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { getProxyForUrl } from 'proxy-from-env';
import { version } from './version';

const mostRedirects = 10;
/** After which silence a server counts as gone, in milliseconds. */
const idleTimeout = 60_000;

/** That asking again is of no use; other failures of a request may pass. */
export class FinalFailure extends Error {}

/**
 * Asks for `url`; the body is the caller's to read or destroy.
 *
 * @throws FinalFailure for redirects that lead nowhere; what node:http throws.
 */
export async function requestFile(
  url: string,
  headers: http.OutgoingHttpHeaders,
  signal: AbortSignal | undefined,
): Promise<http.IncomingMessage> {
  let address = new URL(url);
  for (let redirects = 0; redirects <= mostRedirects; redirects++) {
    const response = await request(address, headers, signal);
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined) return response;
    response.destroy();
    const next = new URL(location, address);
    if (!/^https?:$/.test(next.protocol)) throw new FinalFailure(`it redirects to ${next.protocol}`);
    // What was asked for in private must not go on in public.
    if (address.protocol === 'https:' && next.protocol === 'http:') {
      throw new FinalFailure(`it redirects from https to ${next.href}`);
    }
    address = next;
  }
  throw new FinalFailure(`it redirects more than ${mostRedirects} times`);
}

function request(url: URL, headers: http.OutgoingHttpHeaders, signal: AbortSignal | undefined) {
  return new Promise<http.IncomingMessage>((resolve, reject) => {
    const client = url.protocol === 'https:' ? https : http;
    const options: http.RequestOptions = {
      agent: agentFor(url),
      timeout: idleTimeout,
      headers: { 'user-agent': `deeplab/${version}`, 'accept-encoding': 'identity', ...headers },
      ...(signal === undefined ? {} : { signal }),
    };
    const asked = client.get(url, options, resolve);
    asked.on('timeout', () => asked.destroy(new Error(`it has not answered for ${idleTimeout / 1000} s`)));
    asked.on('error', reject);
  });
}

/** Without a pool of connections: a download is one request, and nothing must keep the process alive after it. */
function agentFor(url: URL): http.Agent | false {
  const proxy = getProxyForUrl(url.href);
  if (proxy === '') return false;
  return url.protocol === 'https:' ? new HttpsProxyAgent(proxy) : new HttpProxyAgent(proxy);
}
