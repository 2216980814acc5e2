#include "protocol.h"

#include <string.h>

#include "board.h"
#include "crc.h"
#include "limits.h"
#include "motor.h"
#include "stream.h"
#include "text.h"
#include "timecode.h"

namespace protocol {
static const uint8_t LONGEST = 60;
static const uint8_t MOTOR_OFF = 0x18;  // works anywhere, even inside a line
static const uint8_t CRC_CHARS = 5;     // "*6F91"

enum Problem : uint8_t { FINE, VERB = 1, ARGS, RANGE, DISARMED, IS_TRIPPED, COOLING, SENSOR, UID_SET };
static const char *const PROBLEM_WORDS[] = {"",        "verb",    "args",   "range", "disarmed",
                                            "tripped", "cooling", "sensor", "uid"};

static char line[LONGEST + 1];
static uint8_t used;
static bool too_long, odd_bytes;
static uint32_t received_us;
static Text last_reply;
static uint16_t last_crc;
static int32_t last_seq;

struct Verb {
  const char *name;
  uint8_t arguments;
  bool drives;  // an error switches the motor off
  Problem (*run)(const uint32_t *argument, Text &reply);
};

static void send(Text &text) { board::send(text.close().c_str()); }

void event(const char *name, const char *detail) {
  Text text;
  text.word("!").word(name).word(" ").word(detail).word(*detail ? " " : "");
  text.unsigned_number(board::micros());
  send(text);
}

void word_event(uint16_t number, uint32_t t_us) {
  Text text;
  send(text.word("!WORD ").unsigned_number(number).word(" ").unsigned_number(t_us));
}

static Text &describe(Text &text) {
  return text.word("rulerlab-shaker " FIRMWARE_VERSION " RL1 ").hex(board::uid(), 8);
}

static Problem run_id(const uint32_t *, Text &reply) {
  describe(reply.word(" "));
  return FINE;
}

static Problem run_caps(const uint32_t *, Text &reply) {
  reply.word(" duty=").unsigned_number(MAX_DUTY_PERMILLE);
  reply.word(" ramp=").unsigned_number(MIN_RAMP_MS).word(" run=").unsigned_number(MAX_RUN_MS);
  reply.word(" lease=").unsigned_number(MAX_LEASE_MS).word(" sensor=").word(board::sensor_name());
  reply.word(" per_g=").unsigned_number(board::sensor_counts_per_g());
  return FINE;
}

static Problem run_uid(const uint32_t *argument, Text &) {
  if (board::uid() != 0xFFFFFFFFu) return UID_SET;
  if (argument[0] == 0 || argument[0] == 0xFFFFFFFFu) return RANGE;
  board::store_uid(argument[0]);
  return FINE;
}

static Problem run_arm(const uint32_t *, Text &) { return motor::arm() ? FINE : IS_TRIPPED; }

static Problem run_disarm(const uint32_t *, Text &) {
  motor::disarm();
  return FINE;
}

static Problem run_lease(const uint32_t *argument, Text &) {
  return motor::set_lease(argument[0]) ? FINE : RANGE;
}

static Problem run_keep(const uint32_t *, Text &) {
  if (motor::state() == motor::TRIPPED) return IS_TRIPPED;
  if (motor::state() == motor::SAFE) return DISARMED;
  motor::renew_lease();
  return FINE;
}

static Problem start(Drive &drive, Text &reply) {
  if (drive.mean > 1000 || drive.amplitude > drive.mean) return RANGE;
  if (drive.ramp_ms > MAX_RUN_MS || drive.hold_ms > MAX_RUN_MS) return RANGE;
  if (drive.shape != Drive::CONSTANT &&
      (drive.from_chz < 1 || drive.from_chz > MAX_FREQUENCY_CHZ || drive.to_chz < 1 ||
       drive.to_chz > MAX_FREQUENCY_CHZ))
    return RANGE;
  if (drive.shape == Drive::NOISE && drive.from_chz > drive.to_chz) return RANGE;
  if (motor::state() == motor::TRIPPED) return IS_TRIPPED;
#ifndef MUTATE_NO_ARMING
  if (motor::state() == motor::SAFE) return DISARMED;
#endif
  if (drive.ramp_ms < MIN_RAMP_MS) drive.ramp_ms = MIN_RAMP_MS;
  if (drive.ramp_ms + drive.hold_ms > MAX_RUN_MS) return RANGE;
  if (uint32_t wait = motor::cooling_ms(drive)) {
    reply.word(" wait=").unsigned_number(wait);
    return COOLING;
  }
  motor::start(drive);
  reply.word(" duty=").unsigned_number(drive.mean).word(" ramp=").unsigned_number(drive.ramp_ms);
  reply.word(" hold=").unsigned_number(drive.hold_ms).word(" t=").unsigned_number(board::micros());
  return FINE;
}

static uint16_t permille(uint32_t value) { return value > 1001 ? 1001 : (uint16_t)value; }

static Problem run_shake(const uint32_t *argument, Text &reply) {
  Drive drive = {Drive::CONSTANT, permille(argument[0]), 0, 0, 0, 0, argument[1], argument[2]};
  return start(drive, reply);
}

static Problem run_sine(const uint32_t *argument, Text &reply) {
  Drive drive = {Drive::SINE, permille(argument[0]), permille(argument[1]), argument[2],
                 argument[3], 0, argument[4], argument[5]};
  return start(drive, reply);
}

static Problem run_noise(const uint32_t *argument, Text &reply) {
  Drive drive = {Drive::NOISE, permille(argument[0]), permille(argument[1]), argument[2],
                 argument[3], argument[4], argument[5], argument[6]};
  return start(drive, reply);
}

static Problem run_stop(const uint32_t *, Text &) {
  motor::stop();
  return FINE;
}

static Problem run_stat(const uint32_t *, Text &reply) {
  reply.word(" state=").word(motor::state_name());
  reply.word(" duty=").unsigned_number(motor::duty_permille());
  reply.word(" trips=").unsigned_number(motor::trips());
  reply.word(" heat=").unsigned_number(motor::heat_ms());
  reply.word(" dropped=").unsigned_number(stream::dropped());
  return FINE;
}

static Problem run_time(const uint32_t *, Text &reply) {
  reply.word(" ").unsigned_number(received_us);
  reply.word(" ").unsigned_number(board::micros());
  return FINE;
}

static Problem run_led(const uint32_t *argument, Text &) {
  if (argument[0] != 0 && (argument[0] < MIN_CHIP_MS || argument[0] > MAX_CHIP_MS)) return RANGE;
  timecode::start((uint8_t)argument[0]);
  return FINE;
}

static Problem run_acceleration(const uint32_t *, Text &reply) {
  int16_t xyz[3];
  uint32_t now = board::micros();
  if (!board::acceleration(xyz)) return SENSOR;
  reply.word(" ").unsigned_number(now);
  for (uint8_t axis = 0; axis < 3; axis++) reply.word(" ").number(xyz[axis]);
  return FINE;
}

static Problem run_stream(const uint32_t *argument, Text &) {
  if (argument[0] != 0 && (argument[0] < MIN_STREAM_MS || argument[0] > MAX_STREAM_MS)) return RANGE;
  return stream::start((uint8_t)argument[0]) ? FINE : SENSOR;
}

static Problem run_clear(const uint32_t *, Text &) {
  motor::clear();
  return FINE;
}

static const Verb VERBS[] = {
    {"ID", 0, false, run_id},       {"CAPS", 0, false, run_caps},  {"UID", 1, false, run_uid},
    {"ARM", 0, true, run_arm},      {"DISARM", 0, true, run_disarm},
    {"LEASE", 1, true, run_lease},  {"KEEP", 0, true, run_keep},   {"SHAKE", 3, true, run_shake},
    {"SINE", 6, true, run_sine},    {"NOISE", 7, true, run_noise}, {"STOP", 0, true, run_stop},
    {"STAT", 0, false, run_stat},   {"T", 0, false, run_time},     {"LED", 1, false, run_led},
    {"ACC", 0, false, run_acceleration},                           {"STREAM", 1, false, run_stream},
    {"CLEAR", 0, true, run_clear},
};

static const Verb *find_verb(const char *&at) {
  for (const Verb &verb : VERBS) {
    uint8_t length = (uint8_t)strlen(verb.name);
    if (!strncmp(at, verb.name, length) && (at[length] == 0 || at[length] == ' ')) {
      at += length;
      return &verb;
    }
  }
  return nullptr;
}

static Problem execute(const char *at, Text &reply) {
  const Verb *verb = find_verb(at);
  if (!verb) return VERB;
  uint32_t argument[7] = {0};
  Problem problem = FINE;
  for (uint8_t i = 0; i < verb->arguments && problem == FINE; i++)
    if (*at++ != ' ' || !read_unsigned(at, argument[i])) problem = ARGS;
  if (problem == FINE && *at) problem = ARGS;
  if (problem == FINE) problem = verb->run(argument, reply);
  if (problem != FINE && verb->drives) motor::fail();
  return problem;
}

static void unreadable(const char *why) {
  Text text;
  send(text.word("=? ERR ").word(why));
}

// The checksum of the line, when it has a right one; the line is cut off before it.
static const char *check(uint16_t &crc) {
  if (used < CRC_CHARS + 1 || line[used - CRC_CHARS] != '*') return "nocrc";
  const char *at = line + used - CRC_CHARS + 1;
  uint32_t told;
  if (!read_hex(at, 4, told)) return "nocrc";
  line[used - CRC_CHARS] = 0;
  crc = crc16(line, used - CRC_CHARS);
#ifndef MUTATE_NO_CRC
  if (crc != told) return "crc";
#endif
  return nullptr;
}

static void answer() {
  uint16_t crc = 0;
  if (too_long) return unreadable("long");
  if (odd_bytes) return unreadable("crc");
  if (const char *why = check(crc)) return unreadable(why);
  const char *at = line;
  uint32_t seq;
  if (!read_unsigned(at, seq) || seq > 65535 || *at++ != ' ') return unreadable("seq");
#ifndef MUTATE_NO_REPLAY
  if ((int32_t)seq == last_seq && crc == last_crc) return board::send(last_reply.c_str());
#endif
  Text details;
  Problem problem = execute(at, details);
  last_reply = Text();
  last_reply.word("=").unsigned_number(seq);
  if (problem == FINE) last_reply.word(" OK");
  else last_reply.word(" ERR ").unsigned_number(problem).word(" ").word(PROBLEM_WORDS[problem]);
  last_reply.word(details.c_str()).close();
  last_seq = (int32_t)seq;
  last_crc = crc;
  board::send(last_reply.c_str());
}

static void forget_line() {
  used = 0;
  too_long = odd_bytes = false;
}

void begin(uint8_t reset_cause) {
  forget_line();
  last_seq = -1;
  Text text;
  send(describe(text.word("!BOOT ")).word(" ").hex(reset_cause, 2));
}

void byte(uint8_t received) {
  if (received == MOTOR_OFF) {
    motor::disarm();
    forget_line();
    event("OFF", "");
  } else if (received == '\n') {
    received_us = board::micros();
    line[used] = 0;
    if (used || too_long || odd_bytes) answer();
    forget_line();
  } else if (received != '\r') {
    if (received < ' ' || received > '~') odd_bytes = true;
    else if (used == LONGEST) too_long = true;
    else line[used++] = (char)received;
  }
}
}
