// Pings by REST: a call each, which needs nothing but HTTP.
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

/** Answers a function that pings: it resolves to null when the ping was taken, else to the reason why not. It never throws. */
export function restPings({ url, scheduler, room }) {
  const base = url.replace(/\/$/, '');
  const pingUrl = new URL(`${base}/scheduler/${encodeURIComponent(scheduler)}/rooms/${encodeURIComponent(room)}/ping`);
  const isSecure = pingUrl.protocol === 'https:';
  const agent = isSecure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });

  return (said, timeoutMs) => {
    const body = JSON.stringify({ ...said, timestamp: Math.floor(Date.now() / 1000) });
    return new Promise((resolve) => {
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const request = (isSecure ? httpsRequest : httpRequest)(
        pingUrl,
        { method: 'PUT', agent, headers },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
          response.on('error', (error) => settle(error.message));
          response.on('end', () => {
            const isTaken = response.statusCode === 200 && /"success"\s*:\s*true/.test(text);
            settle(isTaken ? null : `HTTP ${response.statusCode} ${text.slice(0, 200)}`);
          });
        },
      );
      // One deadline for all of it: connecting, sending, and the whole answer.
      const deadline = setTimeout(() => {
        settle(`no answer within ${timeoutMs} ms`);
        request.destroy();
      }, timeoutMs);
      const settle = (reason) => {
        clearTimeout(deadline);
        resolve(reason);
      };
      request.on('error', (error) => settle(error.code ?? error.message));
      request.end(body);
    });
  };
}
