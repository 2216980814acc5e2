#include "stream.h"

#include "board.h"
#include "protocol.h"
#include "text.h"

namespace stream {
static const uint8_t BATCH = 3;
static const uint8_t FAULTS_IN_A_ROW = 5;
static const uint16_t LATE_US = 500;
static int16_t batch[BATCH][3];
static uint8_t held, faults;
static uint16_t line_number, lost;
static uint32_t first_us;
static volatile uint8_t period_ms, wait_ms, due;  // single bytes: shared with the interrupt
static volatile uint32_t due_us;

void begin() {
  period_ms = 0;
  held = due = 0;
  lost = 0;
}

bool start(uint8_t ms) {
  begin();
  faults = 0;
  line_number = 0;
  int16_t probe[3];
  if (!ms) return true;
  if (!board::acceleration(probe)) return false;
  wait_ms = ms;
  period_ms = ms;
  return true;
}

void every_ms() {
  if (!period_ms || --wait_ms) return;
  wait_ms = period_ms;
  due_us = board::micros();
  due++;
}

static void send_batch() {
  Text line;
  line.word("#").unsigned_number(line_number++).word(" ").unsigned_number(first_us).word(" ");
  line.unsigned_number(period_ms * 1000UL).word(" ");
  for (uint8_t i = 0; i < held; i++)
    for (uint8_t axis = 0; axis < 3; axis++) line.hex((uint16_t)batch[i][axis], 4);
  line.close();
  if (!board::send_if_room(line.c_str())) lost += held;
  held = 0;
}

static void fault() {
  lost++;
  if (held) send_batch();
  if (++faults < FAULTS_IN_A_ROW) return;
  period_ms = 0;
  protocol::event("FAULT", "sensor");
}

void poll() {
  uint8_t waiting = due;
  if (!waiting) return;
  due = 0;
  lost += waiting - 1;
  uint32_t now_us = board::micros();
  if (held && (waiting > 1 || now_us - due_us > LATE_US)) send_batch();  // batches are evenly spaced
  if (!board::acceleration(batch[held])) return fault();
  faults = 0;
  if (!held) first_us = now_us;
  if (++held == BATCH) send_batch();
}

uint16_t dropped() { return lost; }
}
