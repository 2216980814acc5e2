// An Arduino Uno: avr8js's processor and peripherals, with cures for what avr8js leaves out.
import { readFileSync } from 'node:fs';
import {
  AVRClock, AVREEPROM, AVRIOPort, AVRTWI, AVRTimer, AVRUSART, AVRWatchdog, CPU, EEPROMMemoryBackend,
  avrInstruction, clockConfig, portBConfig, portCConfig, portDConfig, timer0Config, timer1Config,
  timer2Config, twiConfig, usart0Config, watchdogConfig,
} from 'avr8js';

export const HZ = 16e6;
const SLEEP = 0x9588;
const RJMP_SELF = 0xcfff;
const MCUSR = 0x54;
const UCSRA = 0xc0, UCSRB = 0xc1, RXC = 0x80, UDRE = 0x20, RXEN = 0x10;
const POWER_ON = 1, EXTERNAL = 2, WATCHDOG = 8;
const MOTOR_BIT = 1, LED_BIT = 0, STOP_BIT = 2; // PB1 = pin 9, PB0 = pin 8, PD2 = pin 2

function readHex(path) {
  const bytes = new Uint8Array(0x8000).fill(0xff);
  for (const line of readFileSync(path, 'ascii').split('\n')) {
    if (!line.startsWith(':') || line.slice(7, 9) !== '00') continue;
    const record = Buffer.from(line.slice(1).trim(), 'hex');
    bytes.set(record.subarray(4, 4 + record[0]), record.readUInt16BE(1));
  }
  return new Uint16Array(bytes.buffer);
}

// How long a pin was high, how often it changed, and when it fell last.
class Pin {
  constructor() { Object.assign(this, { level: 0, edges: 0, high: 0, since: 0, fall: 0, changes: null }); }

  set(level, cycles) {
    if (level === this.level) return;
    if (this.level) { this.high += cycles - this.since; this.fall = cycles; }
    this.level = level;
    this.since = cycles;
    this.edges++;
    this.changes?.push([cycles, level]);
  }

  highCycles(cycles) { return this.high + (this.level ? cycles - this.since : 0); }
}

export class Machine {
  constructor(hexPath, accelerometer) {
    this.flash = readHex(hexPath);
    this.eeprom = new EEPROMMemoryBackend(1024);
    this.accelerometer = accelerometer;
    this.motor = new Pin();
    this.led = new Pin();
    this.incoming = [];
    this.outgoing = [];
    this.resets = 0;
    this.stopPressed = false;
    this.hung = null;
    this.build(POWER_ON, null);
  }

  // avr8js's own reset leaves registers and peripherals as they are: make new ones instead.
  build(cause, before) {
    const cpu = this.cpu = new CPU(this.flash, 0x800);
    if (before) {
      cpu.data.set(before.data.subarray(0x100), 0x100);
      cpu.cycles = before.cycles;
    }
    const clock = new AVRClock(cpu, HZ, clockConfig);
    this.ports = [portBConfig, portCConfig, portDConfig].map((port) => new AVRIOPort(cpu, port));
    this.timers = [timer0Config, timer1Config, timer2Config].map((timer) => new AVRTimer(cpu, timer));
    new AVREEPROM(cpu, this.eeprom);
    new AVRWatchdog(cpu, watchdogConfig, clock);
    this.buildUsart(cpu);
    this.accelerometer?.attach(new AVRTWI(cpu, twiConfig, HZ), cpu);
    cpu.data[MCUSR] = cause;
    this.watchdogReset = false;
    cpu.reset = () => { this.watchdogReset = true; };
    const watch = () => { // an output that is not driven is held low by the gate's pull-down
      const driven = cpu.data[portBConfig.DDR] & this.ports[0].lastValue;
      this.motor.set(driven >> MOTOR_BIT & 1, cpu.cycles);
      this.led.set(driven >> LED_BIT & 1, cpu.cycles);
    };
    this.ports[0].addListener(watch);
    watch();
    this.ports[2].setPin(STOP_BIT, !this.stopPressed);
  }

  buildUsart(cpu) {
    const usart = this.usart = new AVRUSART(cpu, usart0Config, HZ);
    usart.onByteTransmit = (byte) => this.outgoing.push(byte);
    usart.onRxComplete = () => this.feed();
    if (Machine.LOSE_BYTES) return;
    // A received byte stays until it is read; avr8js forgets it whenever an interrupt of the port is
    // switched (UCSRB) or the transmit flag is cleared (UCSRA).
    const keep = (register, flags, after) => {
      const hook = cpu.writeHooks[register];
      cpu.writeHooks[register] = (value, ...more) => {
        const pending = cpu.data[UCSRA] & flags;
        const done = hook(value, ...more);
        after(value, pending);
        return done;
      };
    };
    keep(UCSRA, RXC | UDRE, (value, pending) => { cpu.data[UCSRA] |= pending; });
    keep(UCSRB, RXC, (value, pending) => {
      if (pending && value & RXEN) cpu.setInterruptFlag(usart.RXC);
    });
  }

  reset(cause = EXTERNAL) {
    this.resets++;
    if (this.hung) { this.flash[this.hung.pc] = this.hung.opcode; this.hung = null; }
    this.build(cause, this.cpu);
  }

  // What a crashed program looks like: one instruction for ever, interrupts off.
  hang() {
    this.hung = { pc: this.cpu.pc, opcode: this.flash[this.cpu.pc] };
    this.flash[this.cpu.pc] = RJMP_SELF;
    this.cpu.data[95] &= 0x7f;
  }

  pressStop(pressed) {
    this.stopPressed = pressed;
    this.ports[2].setPin(STOP_BIT, !pressed);
  }

  receive(bytes) {
    for (const byte of bytes) this.incoming.push(byte);
    this.feed();
  }

  feed() {
    if (this.incoming.length && !this.usart.rxBusy && this.usart.writeByte(this.incoming[0])) this.incoming.shift();
  }

  // Runs until `cycle`, or until `done()` after a byte was sent.
  run(cycle, done = null) {
    let sent = this.outgoing.length;
    while (this.cpu.cycles < cycle) {
      const cpu = this.cpu;
      const from = cpu.pc;
      const asleep = this.flash[from] === SLEEP;
      avrInstruction(cpu);
      cpu.tick();
      if (asleep && cpu.pc === from + 1) this.skipSleep(cycle); // else an interrupt has just come
      if (this.watchdogReset) this.reset(WATCHDOG);
      if (this.outgoing.length !== sent) {
        sent = this.outgoing.length;
        if (done && done()) return;
      }
    }
    if (this.incoming.length) this.feed();
  }

  skipSleep(cycle) { // time jumps from event to event until an interrupt moves the program counter
    const { cpu } = this;
    const pc = cpu.pc;
    while (cpu.pc === pc && cpu.cycles < cycle && !this.watchdogReset) {
      const next = cpu.nextClockEvent ? cpu.nextClockEvent.cycles : cycle;
      if (next > cycle) {
        // Stopped in the middle of a sleep: the next run must find the program asleep again.
        cpu.cycles = cycle;
        cpu.pc = pc - 1;
        return;
      }
      cpu.cycles = Math.max(cpu.cycles, next);
      cpu.tick();
    }
  }
}
Machine.LOSE_BYTES = process.env.EMULATOR_LOSE_BYTES === '1'; // negative control of the cure above
