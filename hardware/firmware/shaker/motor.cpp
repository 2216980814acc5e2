#include "motor.h"

#include "board.h"
#include "limits.h"
#include "protocol.h"

namespace motor {
static State now_state;
static Waveform waveform;
static Drive drive;
static uint16_t duty;          // permille, as it stands at the pin
static uint16_t start_duty;    // where the ramp begins
static uint32_t run_ms, lease, heat;
static uint32_t last_ms_us, lease_from_us;
static uint8_t trip_count;

static void output(int32_t permille) {
  if (permille < 0) permille = 0;
#ifndef MUTATE_NO_CLAMP
  if (permille > MAX_DUTY_PERMILLE) permille = MAX_DUTY_PERMILLE;
#endif
  duty = (uint16_t)permille;
  board::motor(duty);
}

void begin() {
  output(0);
  now_state = SAFE;
  trip_count = 0;
  heat = 0;
  lease = DEFAULT_LEASE_MS;
  last_ms_us = lease_from_us = board::micros();
}

void renew_lease() { lease_from_us = board::micros(); }

bool set_lease(uint32_t ms) {
  if (ms < MIN_LEASE_MS || ms > MAX_LEASE_MS) return false;
  lease = ms;
  renew_lease();
  return true;
}

bool arm() {
  if (now_state == TRIPPED) return false;
  if (now_state == SAFE) now_state = ARMED;
  renew_lease();
  return true;
}

void stop() {
  output(0);
  if (now_state == RUNNING) now_state = ARMED;
}

void disarm() {
  output(0);
  if (now_state != TRIPPED) now_state = SAFE;
}

void fail() { disarm(); }

void trip(const char *reason) {
  disarm();
  trip_count++;
#ifndef MUTATE_NO_LATCH
  if (trip_count >= TRIPS_BEFORE_LATCH) now_state = TRIPPED;
#endif
  protocol::event("TRIP", reason);
}

void clear() {
  disarm();
  now_state = SAFE;
  trip_count = 0;
}

uint32_t cooling_ms(const Drive &wanted) {
  uint32_t total = heat + wanted.ramp_ms + wanted.hold_ms;
#ifdef MUTATE_NO_COOLING
  total = 0;
#endif
  return total > MAX_RUN_MS ? total - MAX_RUN_MS : 0;
}

void start(Drive &wanted) {
#ifndef MUTATE_NO_CLAMP
  if (wanted.mean > MAX_DUTY_PERMILLE) wanted.mean = MAX_DUTY_PERMILLE;
#endif
  drive = wanted;
  waveform.begin(drive);
  start_duty = duty;
  run_ms = 0;
  now_state = RUNNING;
  renew_lease();
}

static void run_one_ms() {
  if (run_ms >= drive.ramp_ms + drive.hold_ms) {
    stop();
    protocol::event("DONE", "");
    return;
  }
  int32_t target = waveform.step();
#ifndef MUTATE_NO_RAMP
  if (run_ms < drive.ramp_ms)
    target = start_duty + (target - (int32_t)start_duty) * (int32_t)run_ms / (int32_t)drive.ramp_ms;
#endif
  output(target);
  run_ms++;
  if (++heat > MAX_RUN_MS) trip("run");
}

void poll(uint32_t now_us) {
  while (now_us - last_ms_us >= 1000) {
    last_ms_us += 1000;
    if (now_state == RUNNING) run_one_ms();
    else if (heat) heat--;
  }
  if ((now_state == ARMED || now_state == RUNNING) && board::stop_pressed()) {
    trip_count = TRIPS_BEFORE_LATCH;
    trip("button");
  }
#ifndef MUTATE_NO_LEASE
  if ((now_state == ARMED || now_state == RUNNING) && now_us - lease_from_us >= lease * 1000)
    trip("lease");
#endif
}

State state() { return now_state; }

const char *state_name() {
  static const char *const names[] = {"safe", "armed", "running", "tripped"};
  return names[now_state];
}

uint16_t duty_permille() { return duty; }
uint8_t trips() { return trip_count; }
uint32_t heat_ms() { return heat; }
uint32_t lease_ms() { return lease; }
}
