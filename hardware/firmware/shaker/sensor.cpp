#include "sensor.h"

#include <Arduino.h>
#include <Wire.h>

namespace sensor {
struct Kind {
  const char *name;
  uint8_t address;
  uint8_t identity_register, identity;
  uint8_t set_up[3][2];  // register, value
  uint8_t data_register;
  bool high_byte_first;
  uint16_t counts_per_g;
};

static const Kind KINDS[] = {
    // awake; 260 Hz of bandwidth; +-8 g
    {"mpu6050", 0x68, 0x75, 0x68, {{0x6B, 0x00}, {0x1A, 0x00}, {0x1C, 0x10}}, 0x3B, true, 4096},
    // 800 samples/s; full resolution, +-16 g; measure
    {"adxl345", 0x53, 0x00, 0xE5, {{0x2C, 0x0D}, {0x31, 0x0B}, {0x2D, 0x08}}, 0x32, false, 256},
};
static const Kind *found;

static bool read_registers(const Kind &kind, uint8_t first, uint8_t *into, uint8_t count) {
  Wire.beginTransmission(kind.address);
  Wire.write(first);
  if (Wire.endTransmission(false)) return false;
  if (Wire.requestFrom(kind.address, count) != count) return false;
  while (count--) *into++ = (uint8_t)Wire.read();
  return true;
}

static bool set_up(const Kind &kind) {
  uint8_t identity;
  if (!read_registers(kind, kind.identity_register, &identity, 1)) return false;
  if (identity != kind.identity) return false;
  for (const uint8_t *pair : kind.set_up) {
    Wire.beginTransmission(kind.address);
    Wire.write(pair[0]);
    Wire.write(pair[1]);
    if (Wire.endTransmission()) return false;
  }
  return true;
}

void begin() {
  Wire.begin();
  Wire.setClock(400000);
  Wire.setWireTimeout(3000, true);  // without it a stuck bus hangs the board
  found = nullptr;
  for (const Kind &kind : KINDS)
    if (!found && set_up(kind)) found = &kind;
}

const char *name() { return found ? found->name : "none"; }

uint16_t counts_per_g() { return found ? found->counts_per_g : 0; }

bool read(int16_t xyz[3]) {
  uint8_t raw[6];
  if (!found || !read_registers(*found, found->data_register, raw, sizeof raw)) return false;
  for (uint8_t axis = 0; axis < 3; axis++) {
    uint8_t first = raw[2 * axis], second = raw[2 * axis + 1];
    xyz[axis] = (int16_t)(found->high_byte_first ? first << 8 | second : second << 8 | first);
  }
  return true;
}
}
