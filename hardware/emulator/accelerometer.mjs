// An MPU-6050 or ADXL345 on the I2C bus that feels a sine, with the faults that real buses have.
import { HZ } from './machine.mjs';

const TWSR = 0xb9, TWCR = 0xbc, TWEN = 4, IDLE = 0xf8;

const KINDS = {
  mpu6050: { address: 0x68, identity: [0x75, 0x68], data: 0x3b, bigEndian: true, countsPerG: 4096 },
  adxl345: { address: 0x53, identity: [0x00, 0xe5], data: 0x32, bigEndian: false, countsPerG: 256 },
};

export class Accelerometer {
  constructor(kind) {
    this.kind = KINDS[kind];
    this.registers = new Uint8Array(256);
    this.registers[this.kind.identity[0]] = this.kind.identity[1];
    this.fault = 'none'; // "none", "nack" or "stuck"
    this.hertz = 0;
    this.amplitudeG = 0;
  }

  attach(twi, cpu) {
    this.twi = twi;
    this.cpu = cpu;
    twi.eventHandler = this;
    // Switching the bus off and on frees it; avr8js waits for ever for a sensor that never answers.
    const hook = cpu.writeHooks[TWCR];
    cpu.writeHooks[TWCR] = (value, ...more) => {
      if (!(value & TWEN)) {
        twi.busy = false;
        cpu.data[TWSR] |= IDLE;
      }
      return hook(value, ...more);
    };
  }

  later(answer) {
    if (this.fault === 'stuck') return;
    this.cpu.addClockEvent(answer, Math.round(9 * HZ / this.twi.sclFrequency));
  }

  start() { this.later(() => this.twi.completeStart()); }

  stop() { this.later(() => this.twi.completeStop()); }

  connectToSlave(address, write) {
    const here = this.fault !== 'nack' && address === this.kind.address;
    this.pointed = !write;
    if (here && !write) this.sample();
    this.later(() => this.twi.completeConnect(here));
  }

  writeByte(value) {
    if (this.pointed) this.registers[this.pointer++ & 255] = value;
    else { this.pointer = value; this.pointed = true; }
    this.later(() => this.twi.completeWrite(true));
  }

  readByte(ack) {
    const value = this.registers[this.pointer++ & 255];
    this.later(() => this.twi.completeRead(value, ack));
  }

  sample() {
    const t = this.cpu.cycles / HZ;
    const g = [this.amplitudeG * Math.sin(2 * Math.PI * this.hertz * t), 0, 1];
    g.forEach((value, axis) => {
      const counts = Math.round(value * this.kind.countsPerG) & 0xffff;
      const pair = this.kind.bigEndian ? [counts >> 8, counts & 255] : [counts & 255, counts >> 8];
      this.registers.set(pair, this.kind.data + 2 * axis);
    });
  }
}
