// The shaker of a rulerlab rig on an Arduino Uno or Nano (ATmega328P). How to flash: hardware/README.md.
#include <EEPROM.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "board.h"
#include "core.h"
#include "sensor.h"

static const uint8_t MOTOR_PIN = 9;  // Timer1, so that micros() on Timer0 is left alone
static const uint8_t LED_PIN = 8;
static const uint8_t STOP_PIN = 2;   // low while the stop button is pressed
static const uint16_t PWM_TOP = 499; // 16 MHz / 8 / 500 = 4 kHz
static const int UID_ADDRESS = 0;

// Why the board started: kept in memory that start-up code does not clear. The bootloader of an
// Uno clears MCUSR and hands its value on in r2.
static uint8_t reset_cause __attribute__((section(".noinit")));
static uint8_t told_by_bootloader __attribute__((section(".noinit")));

// First thing after a reset: motor low, and no watchdog until setup() has set its own.
extern "C" void __attribute__((naked, used, section(".init3"))) motor_low_first() {
  __asm__ __volatile__("sts %0, r2" : : "i"(&told_by_bootloader));
  PORTB &= ~_BV(1);
  DDRB |= _BV(1);
  reset_cause = MCUSR;
  MCUSR = 0;
  wdt_disable();
}

// Bytes on their way out: more room than Serial has, so that the loop seldom waits. The indices are
// single bytes and go round by themselves.
static const uint16_t OUT_ROOM = 256;
static char outgoing[OUT_ROOM];
static uint8_t out_first, out_count;

static void pump_out() {
  uint8_t room = Serial.availableForWrite();
  for (; room && out_count; room--, out_count--) Serial.write(outgoing[out_first++]);
}

static void queue(char c) { outgoing[(uint8_t)(out_first + out_count++)] = c; }

static bool has_room(const char *line, uint8_t left_free) {
  return out_count + strlen(line) + 1 + left_free < OUT_ROOM;
}

namespace board {
uint32_t micros() { return ::micros(); }

void send(const char *line) {
  while (!has_room(line, 0)) pump_out();
  while (*line) queue(*line++);
  queue('\n');
  pump_out();
}

bool send_if_room(const char *line) {
  const uint8_t for_replies = 100;
  if (!has_room(line, for_replies)) return false;
  send(line);
  return true;
}

void motor(uint16_t permille) {
  uint16_t ticks = (uint32_t)permille * (PWM_TOP + 1) / 1000;
#ifndef MUTATE_NO_DISCONNECT
  if (!ticks) {  // a compare value of 0 would still give spikes: take the timer off the pin
    TCCR1A = _BV(WGM11);
    PORTB &= ~_BV(1);
    return;
  }
#endif
  OCR1A = ticks > 1 ? ticks - 1 : 1;
  TCCR1A = _BV(COM1A1) | _BV(WGM11);
}

void led(bool on) { digitalWrite(LED_PIN, on); }

bool stop_pressed() { return !digitalRead(STOP_PIN); }

uint32_t uid() {
  uint32_t value;
  return EEPROM.get(UID_ADDRESS, value);
}

void store_uid(uint32_t uid) { EEPROM.put(UID_ADDRESS, uid); }

const char *sensor_name() { return sensor::name(); }

uint16_t sensor_counts_per_g() { return sensor::counts_per_g(); }

bool acceleration(int16_t xyz[3]) { return sensor::read(xyz); }
}

ISR(TIMER2_COMPA_vect) { core::every_ms(); }

void setup() {
#ifndef MUTATE_NO_WDT
  wdt_enable(WDTO_250MS);
#endif
  pinMode(LED_PIN, OUTPUT);
  pinMode(STOP_PIN, INPUT_PULLUP);
  TCCR1A = _BV(WGM11);
  TCCR1B = _BV(WGM13) | _BV(WGM12) | _BV(CS11);
  ICR1 = PWM_TOP;
  TCCR2A = _BV(WGM21);  // a tick every millisecond, exactly
  TCCR2B = _BV(CS22);
  OCR2A = 249;
  TIMSK2 = _BV(OCIE2A);
  Serial.begin(115200);
  sensor::begin();
  core::begin(reset_cause ? reset_cause : told_by_bootloader);
}

void loop() {
#ifndef MUTATE_NO_WDT
  wdt_reset();
#endif
  // At most a few bytes at a time: a flood must not keep the motor from being looked after.
  for (uint8_t i = 0; i < 32 && Serial.available(); i++) core::byte(Serial.read());
  core::poll();
  pump_out();
  if (!Serial.available()) {
    set_sleep_mode(SLEEP_MODE_IDLE);
    sleep_mode();  // until the next millisecond or the next byte
  }
}
