#include "timecode.h"

#include "board.h"
#include "protocol.h"

namespace timecode {
static volatile uint8_t chip, wait_ms;  // single bytes: an interrupt never sees half of one
static volatile uint16_t counter;
static volatile uint8_t index;
static volatile uint32_t bits;
static volatile bool word_begun;
static volatile uint32_t word_us;
static volatile uint16_t word_counter;

static uint32_t word(uint16_t number) {
  uint32_t chips = 0b01110;
  bool parity = true;
  for (int8_t i = 11; i >= 0; i--) {
    bool bit = number >> i & 1;
    parity ^= bit;
    chips = chips << 1 | bit;
  }
  return chips << 1 | parity;
}

void begin() { start(0); }

void start(uint8_t ms) {
  chip = 0;  // the interrupt rests while the rest is written
  index = 0;
  counter = 0;
  wait_ms = 1;
  word_begun = false;
  board::led(false);
  chip = ms;
}

uint8_t chip_ms() { return chip; }

void every_ms() {
  if (!chip || --wait_ms) return;
  wait_ms = chip;
  if (index == 0) {
    bits = word(counter);
    word_us = board::micros();
    word_counter = counter;
    word_begun = true;
    counter = (counter + 1) & 0xFFF;
  }
  board::led(bits >> (CHIPS - 1 - index) & 1);
  index = index + 1 == CHIPS ? 0 : index + 1;
}

void poll() {
  if (!word_begun) return;
  uint32_t us = word_us;  // words are a second apart: no interrupt comes between these lines
  uint16_t number = word_counter;
  word_begun = false;
  protocol::word_event(number, us);
}
}
