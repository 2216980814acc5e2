// Everything but the pins: what an Uno runs, and a PC in the tests.
#pragma once
#include <stdint.h>

namespace core {
void begin(uint8_t reset_cause);
void byte(uint8_t received);
void every_ms();  // from the millisecond interrupt
void poll();      // from the loop
}
