'use strict';
/*
 * The watchdog: a small process of its own session that owns one embedded server and never lets it outlive Maestro.
 * Plain JavaScript, because Node runs this file as it is, from `src` under Jest and from `dist` in the product.
 *
 * stdin:  one line of JSON (`WatchdogOrder` in watchdog.ts), then nothing. A further line, or the end of the pipe
 *         (Maestro stopped, or was killed in any way), ends the server and then the watchdog.
 * stdout: one line of JSON per event: {event: 'started', pid} | {event: 'failed', message} | {event: 'ended', code, signal}.
 */
const { spawn } = require('node:child_process');
const { closeSync, openSync } = require('node:fs');

let order;
let server;
let stopping = false;

function report(event, then) {
  process.stdout.write(`${JSON.stringify(event)}\n`, then);
}

function fail(error) {
  report({ event: 'failed', message: error.message }, () => process.exit(1));
}

function start() {
  const log = openSync(order.logFile, 'a', 0o600);
  server = spawn(order.file, order.args, {
    cwd: order.cwd,
    env: order.env,
    uid: order.uid,
    gid: order.gid,
    stdio: ['ignore', log, log],
    windowsHide: true,
  });
  closeSync(log);
  server.once('spawn', () => report({ event: 'started', pid: server.pid }));
  server.once('error', (error) => {
    if (server.pid === undefined) fail(error);
  });
  server.once('exit', (code, signal) => {
    report({ event: 'ended', code, signal }, () => process.exit(0));
  });
}

function stop() {
  if (stopping) return;
  stopping = true;
  if (server === undefined) process.exit(0);
  const steps = [...order.stopSignals, 'SIGKILL'];
  const next = () => {
    server.kill(steps.shift());
    if (steps.length > 0) setTimeout(next, order.stopStepMs);
  };
  next();
}

function receive(line) {
  if (order !== undefined) return stop();
  order = JSON.parse(line);
  try {
    start();
  } catch (error) {
    fail(error);
  }
}

let received = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk) => {
  received += chunk;
  for (let end = received.indexOf('\n'); end >= 0; end = received.indexOf('\n')) {
    const line = received.slice(0, end);
    received = received.slice(end + 1);
    receive(line);
  }
});
process.stdin.on('end', stop);
process.stdin.on('error', stop);
// Once Maestro is gone nobody reads the events; that must not end the watchdog before its server.
process.stdout.on('error', () => {});
process.on('SIGTERM', stop);
for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => {});
