// The emulated board in real time on an open pseudo-terminal. See emulator.py.
//   node realtime.mjs FIRMWARE.hex SENSOR MASTER_FD
// stdin: commands ("reset", "accelerometer {...}"), one a line; stderr: a JSON line per event.
import { readSync, writeSync } from 'node:fs';
import { Accelerometer } from './accelerometer.mjs';
import { HZ, Machine } from './machine.mjs';

const [hex, sensor, fdText] = process.argv.slice(2);
const fd = Number(fdText), COMMANDS = 0;
const accelerometer = sensor === 'none' ? null : new Accelerometer(sensor);
const machine = new Machine(hex, accelerometer);
const buffer = Buffer.alloc(4096), nap = new Int32Array(new SharedArrayBuffer(4));
const start = process.hrtime.bigint();
let commands = '', wasMoving = false, finished = false;

function readSome(from) {
  try { return readSync(from, buffer); } catch (error) {
    if (error.code === 'EAGAIN') return -1;
    if (error.code === 'EIO') return 0; // nobody holds the other end
    throw error;
  }
}

function report(event) { // stderr is what the caller logs
  writeSync(2, JSON.stringify({ event, wall_s: Date.now() / 1e3, mcu_s: machine.cpu.cycles / HZ }) + '\n');
}

function listen() {
  const got = readSome(COMMANDS);
  if (got === 0) { finished = true; return; } // the caller has gone
  if (got > 0) commands += buffer.toString('latin1', 0, got);
  for (let end; (end = commands.indexOf('\n')) >= 0; commands = commands.slice(end + 1)) {
    const [name, ...rest] = commands.slice(0, end).split(' ');
    if (name === 'reset') machine.reset();
    else if (name === 'accelerometer') Object.assign(accelerometer, JSON.parse(rest.join(' ')));
  }
}

function talk() {
  const got = readSome(fd);
  if (got > 0) machine.receive(buffer.subarray(0, got));
  if (!machine.outgoing.length) return;
  try {
    const sent = writeSync(fd, Buffer.from(machine.outgoing));
    machine.outgoing.splice(0, sent);
  } catch (error) {
    if (error.code !== 'EAGAIN' && error.code !== 'EIO') throw error;
    if (machine.outgoing.length > 4096) machine.outgoing.length = 0; // the wire leads nowhere
  }
}

function watchMotor() {
  const moving = machine.motor.level || machine.cpu.cycles - machine.motor.fall < HZ / 100 && machine.motor.fall > 0;
  if (Boolean(moving) !== wasMoving) report(moving ? 'motor on' : 'motor off');
  wasMoving = Boolean(moving);
}

const SLICE = HZ / 4000; // 0.25 ms
for (let turn = 0; !finished; turn++) {
  machine.run(machine.cpu.cycles + SLICE);
  talk();
  if (turn % 40 === 0) { listen(); watchMotor(); }
  const ahead_ms = machine.cpu.cycles / HZ * 1e3 - Number(process.hrtime.bigint() - start) / 1e6;
  if (ahead_ms > 1) Atomics.wait(nap, 0, 0, ahead_ms);
}
