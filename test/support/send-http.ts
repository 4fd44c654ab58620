import { Agent, request } from 'node:http';

const agent = new Agent({ keepAlive: true });

/**
 * A request as it is told, nothing added: `fetch` sends no body with GET, and a Content-Type of its own with others.
 * The path is sent as it stands, `//` and escapes included.
 */
export function sendHttp(
  url: string,
  verb: string,
  body?: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; type: string; text: string }> {
  const [, host, port, path] = /^http:\/\/([^:/]+):(\d+)(.*)$/s.exec(url) ?? [];
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const call = request({ agent, host, port, path, method: verb, headers: { ...headers, ...length } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          type: answer.headers['content-type'] ?? '',
          text: Buffer.concat(chunks).toString('utf8'),
        }),
      );
    });
    call.on('error', reject);
    call.end(body);
  });
}
