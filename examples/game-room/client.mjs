#!/usr/bin/env node
// Plays by hand: node client.mjs [HOST:]PORT [NAME]. Lines that you type are sent as they are; arrows of text come back.
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

const [target, name = 'player'] = process.argv.slice(2);
const [, host = '127.0.0.1', port] = /^(?:(.+):)?(\d+)$/.exec(target ?? '') ?? [];
if (!port) {
  console.error('usage: node client.mjs [HOST:]PORT [NAME]     then type: move 1 0 | state | ping | leave');
  process.exit(1);
}

const socket = createSocket('udp4');
const say = (text) => socket.send(text, Number(port), host);
const leave = () => {
  say('leave');
  setTimeout(() => process.exit(0), 500);
};

socket.on('message', (data) => {
  const text = data.toString();
  if (text !== 'pong alive') console.log(`< ${text}`);
  if (text.startsWith('bye')) process.exit(0);
});
say(`join ${name}`);
// A player that says nothing is taken for gone.
setInterval(() => say('ping alive'), 3_000);

createInterface({ input: process.stdin }).on('line', say).on('close', leave);
process.on('SIGINT', leave);
