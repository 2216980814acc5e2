// The emulated board, led cycle by cycle: one JSON object in, one out. See emulator.py.
//   node lockstep.mjs FIRMWARE.hex [mpu6050|adxl345|none]
import { readSync, writeSync } from 'node:fs';
import { Accelerometer } from './accelerometer.mjs';
import { Machine } from './machine.mjs';

const [hex, sensor = 'mpu6050'] = process.argv.slice(2);
const accelerometer = sensor === 'none' ? null : new Accelerometer(sensor);
const machine = new Machine(hex, accelerometer);

function* lines() {
  const chunk = Buffer.alloc(65536);
  let text = '';
  for (let got; (got = readSync(0, chunk)) > 0;) {
    text += chunk.toString('latin1', 0, got);
    const parts = text.split('\n');
    text = parts.pop();
    yield* parts;
  }
}

function obey(request) {
  if (request.accelerometer) Object.assign(accelerometer, request.accelerometer);
  if ('stop' in request) machine.pressStop(request.stop);
  if (request.trace) machine[request.trace].changes = [];
  if (request.poke) machine.cpu.data.set(request.poke.bytes, request.poke.address);
  if (request.hang) machine.hang();
  if (request.reset) machine.reset();
  if (request.tx) machine.receive(Buffer.from(request.tx, 'latin1'));
  const until = request.until?.charCodeAt(0);
  machine.run(machine.cpu.cycles + (request.run ?? 0), until === undefined ? null
    : () => machine.outgoing[machine.outgoing.length - 1] === until);
  const pin = (one) => ({ level: one.level, edges: one.edges, fall: one.fall,
    high: one.highCycles(machine.cpu.cycles), changes: one.changes });
  const answer = { rx: Buffer.from(machine.outgoing).toString('latin1'), cycle: machine.cpu.cycles,
    resets: machine.resets, motor: pin(machine.motor), led: pin(machine.led) };
  if (request.peek) answer.bytes = [...machine.cpu.data.subarray(...request.peek)];
  machine.outgoing.length = 0;
  for (const one of [machine.motor, machine.led]) if (one.changes) one.changes = [];
  return answer;
}

for (const line of lines()) {
  const answer = Buffer.from(JSON.stringify(obey(JSON.parse(line))) + '\n');
  for (let sent = 0; sent < answer.length;) sent += writeSync(1, answer, sent);
}
