#!/usr/bin/env node
// A plugin for host in Node, without an SDK: what sdk/wire/README.md says is
// enough. plugin.proto lies beside this file.
//
// It greets: greeter.NAME.greet answers {"name": "Ada"} with {"text": "Hello, Ada"},
// and greeter.NAME.pass emits the event greeted and answers what came of it.
'use strict';

const crypto = require('node:crypto');
const net = require('node:net');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

if (process.env.HOST_PLUGIN !== '6f1c2a94-host-plugin') {
  console.error('greeter is a plugin for host, and is started by it.');
  process.exit(1);
}
process.on('SIGINT', () => {}); // a terminal's Ctrl-C goes to everybody; host drains first
process.on('SIGTERM', () => {}); // the end of the lane is the end

const MAX_FRAME = 16 << 20;
const EMIT_WINDOW = 1024;
const CREDIT = 32;
const INVALID_ARGUMENT = 3, UNKNOWN = 2, RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, UNAVAILABLE = 14;

const string = (name, doc, more) => ({ name, doc, type: { kind: 'string' }, ...more });
const object = (...fields) => ({ kind: 'object', fields });
const EVENTS = [{ name: 'greeted', doc: 'Somebody was greeted.', data: object(string('name', 'Who.', { required: true })) }];
const ACTIONS = [
  { name: 'greet', doc: 'Greets somebody.', input: object(string('name', 'Who.', { required: true })), output: object(string('text', 'The greeting.', { required: true })) },
  { name: 'pass', doc: 'Emits greeted and answers what came of it.', input: object(string('name', 'Who.', { required: true })), output: { kind: 'any' } },
];
const MANIFEST = {
  name: 'greeter', version: '1.0.0', doc: 'Greets, in Node and without an SDK.',
  config: [string('greeting', 'What to say before the name.', { default: Buffer.from('"Hello"') })],
  events: EVENTS, actions: ACTIONS,
};

// ---- The lane ----

const proto = path.join(__dirname, 'plugin.proto');
const Frame = new protobuf.Root().loadSync(proto, { keepCase: true }).lookupType('host.plugin.v1.Frame');

const lane = new net.Socket({ fd: 3, readable: true, writable: true });
const instances = new Map(); // by handle
const promises = new Map(); // by number
let lastPromise = 0;
let unaccepted = 0;
let out = null; // the frame that gathers what is to be sent
let size = 0; // of it, in bytes, about

// send adds an element to the frame that goes when this turn of the loop is over,
// or earlier when it is large.
function send(kind, element, bytes = 0) {
  if (out === null) {
    out = { emit: [], settle: [], credit: [] };
    size = 0;
    setImmediate(flush);
  }
  out[kind].push(element);
  size += bytes + 512;
  if (size > MAX_FRAME / 16) flush();
}

function flush() {
  if (out === null) return;
  lane.write(Frame.encodeDelimited(out).finish());
  out = null;
}

let buffered = Buffer.alloc(0);
lane.on('data', (chunk) => {
  buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
  for (;;) {
    const [length, at] = varint(buffered);
    if (length > MAX_FRAME) fail(`a frame of ${length} bytes`);
    if (at === 0 || buffered.length < at + length) return;
    const frame = Frame.decode(buffered.subarray(at, at + length));
    buffered = buffered.subarray(at + length);
    frame.accept.forEach((a) => a.promise.forEach(accepted));
    frame.settle.forEach(settled);
    frame.deliver.forEach(deliver);
  }
});
lane.on('end', () => process.exit(0)); // host is gone, or wants us gone
lane.on('error', (e) => fail(`lane: ${e.message}`));

// varint reads the length of a frame; 0 bytes read means that more must come.
function varint(b) {
  let value = 0;
  for (let i = 0; i < b.length && i < 5; i++) {
    value += (b[i] & 0x7f) * 2 ** (7 * i);
    if (b[i] < 0x80) return [value, i + 1];
  }
  if (b.length >= 5) fail('a frame without a length');
  return [0, 0];
}

function fail(why) {
  console.error(`greeter: ${why}`);
  process.exit(1);
}

// ---- Promises of events that we emitted ----

function emit(instance, type, data, cause) {
  if (unaccepted >= EMIT_WINDOW) {
    return Promise.reject({ code: RESOURCE_EXHAUSTED, message: 'too many events wait to be accepted', retryable: true });
  }
  const promise = ++lastPromise;
  unaccepted++;
  const event = { id: uuid7(), time: now(), data: Buffer.from(JSON.stringify(data)) };
  if (cause) {
    event.causation = cause.id;
    event.correlation = cause.correlation.length > 0 ? cause.correlation : cause.id;
    event.deadline = cause.deadline;
    event.traceparent = cause.traceparent;
    event.tracestate = cause.tracestate;
  }
  send('emit', { promise, instance, type, event }, event.data.length);
  return new Promise((resolve, reject) => promises.set(promise, { resolve, reject, accepted: false }));
}

function accepted(number) {
  const p = promises.get(Number(number));
  if (p && !p.accepted) {
    p.accepted = true;
    unaccepted--;
  }
}

function settled(s) {
  if (s.attempt) return; // a delivery that was settled too late comes back
  const p = promises.get(Number(s.ref));
  if (!p) return;
  accepted(s.ref); // a settle alone is an accept too
  promises.delete(Number(s.ref));
  if (s.error) p.reject(s.error);
  else p.resolve(s.value);
}

function now() {
  const ns = BigInt(Date.now()) * 1000000n;
  return protobuf.util.Long.fromString(ns.toString(), true);
}

function uuid7() {
  const id = crypto.randomBytes(16);
  id.writeUIntBE(Date.now(), 0, 6);
  id[6] = 0x70 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return id;
}

// ---- Deliveries ----

async function deliver(d) {
  const settle = { ref: d.delivery, attempt: d.attempt };
  const instance = instances.get(d.instance);
  try {
    if (!instance) throw { code: UNAVAILABLE, reason: 'draining', message: 'the instance has left', retryable: true };
    instance.inFlight++;
    const input = parse(d.has_input ? d.input : d.event.data);
    settle.value = await handle(instance, ACTIONS[d.action], input, d);
  } catch (e) {
    settle.error = { code: e.code || UNKNOWN, reason: e.reason || '', message: e.message || String(e), retryable: Boolean(e.retryable), details: e.details };
  }
  send('settle', settle, settle.value ? settle.value.length : 0);
  if (!instance) return;
  send('credit', { instance: d.instance, n: 1 });
  if (--instance.inFlight === 0 && instance.idle) instance.idle();
}

function parse(bytes) {
  try {
    return JSON.parse(bytes.toString());
  } catch (e) {
    throw { code: INVALID_ARGUMENT, message: `the input is not JSON: ${e.message}` };
  }
}

async function handle(instance, action, input, d) {
  switch (action && action.name) {
    case 'greet':
      return Buffer.from(JSON.stringify({ text: `${instance.config.greeting}, ${input.name}` }));
    case 'pass':
      return emit(d.instance, 0, { name: input.name }, d.event);
  }
  throw { code: UNIMPLEMENTED, message: 'there is no such action' };
}

// ---- Control ----

const service = grpc.loadPackageDefinition(protoLoader.loadSync(proto, { keepCase: true, longs: String, defaults: true })).host.plugin.v1.Plugin.service;

const notFound = (handle) => ({ code: grpc.status.NOT_FOUND, details: `there is no instance ${handle}` });

const control = {
  Describe: (_, reply) => reply(null, MANIFEST),

  Verify(call) {
    call.write({ progress: { message: 'looking at the greeting', percent: 50 } });
    for (const d of wrong(JSON.parse(call.request.instance.config))) call.write({ diagnostic: d });
    call.end();
  },

  Prepare(call, reply) {
    const { handle, address, config } = call.request.instance;
    const parsed = JSON.parse(config);
    const diagnostics = wrong(parsed);
    if (diagnostics.length === 0) instances.set(handle, { address, config: parsed, inFlight: 0 });
    reply(null, { diagnostics });
  },

  Commit(call, reply) {
    const { handle } = call.request;
    if (!instances.has(handle)) return reply(notFound(handle));
    send('credit', { instance: handle, n: CREDIT });
    reply(null, {});
  },

  Abort(call, reply) {
    instances.delete(call.request.handle);
    reply(null, {});
  },

  async Drain(call, reply) {
    const { handle, timeout_ms } = call.request;
    const instance = instances.get(handle);
    if (!instance) return reply(notFound(handle));
    if (instance.inFlight > 0) {
      await Promise.race([
        new Promise((resolve) => { instance.idle = resolve; }),
        new Promise((resolve) => setTimeout(resolve, Number(timeout_ms))),
      ]);
    }
    instances.delete(handle);
    reply(null, { unfinished: instance.inFlight });
  },
};

// wrong says what is wrong with a configuration.
function wrong(config) {
  if (config.greeting.trim() !== '') return [];
  return [{ severity: 'ERROR', summary: 'A greeting has words', detail: 'Write what to say before the name.', attribute: 'greeting' }];
}

const limit = { 'grpc.max_receive_message_length': MAX_FRAME, 'grpc.max_send_message_length': MAX_FRAME };
const server = new grpc.Server(limit);
server.addService(service, control);
const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR || process.env.TMPDIR || '/tmp', `plugin${process.pid}`);
server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (err) => {
  if (err) fail(err.message);
  process.stdout.write(`1|1|unix|${socket}|grpc|\n`); // go-plugin's handshake
});
