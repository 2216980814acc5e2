// The accelerometer on the I2C bus: an MPU-6050 or an ADXL345, whichever answers.
#pragma once
#include <stdint.h>

namespace sensor {
void begin();
const char *name();
uint16_t counts_per_g();
bool read(int16_t xyz[3]);  // false within 15 ms when the bus is stuck or nobody answers
}
