'use strict';
/*
 * Runs js-redis-server, the Redis in plain JavaScript, as a process of its own: `node js-redis-process.js PORT FILE`,
 * FILE holding the password. It keeps its data in memory only, and is ended by its watchdog.
 */
const { readFileSync } = require('node:fs');
const net = require('node:net');

// js-redis-server 0.3.0 listens on every interface and has no option for it.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port) {
  return listen.call(this, { port, host: '127.0.0.1' });
};

const { createRedisServer } = require('js-redis-server');

const [port, passwordFile] = process.argv.slice(2);
// One line for each failure: the last lines of the log are quoted when the server does not start.
const complain = (error) => console.error(error instanceof Error ? error.message : error);

createRedisServer({ port: Number(port), logger: { ...console, error: complain } })
  .then(({ state }) => {
    state.requirepass = readFileSync(passwordFile, 'utf8').trim();
  })
  .catch((error) => {
    complain(error);
    process.exit(1);
  });
