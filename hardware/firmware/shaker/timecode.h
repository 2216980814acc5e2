// The time code of the LED: word after word of 18 chips, 01110 + 12 bits of counter + odd parity.
#pragma once
#include <stdint.h>

namespace timecode {
const uint8_t CHIPS = 18;

void begin();
void start(uint8_t chip_ms);  // 0: off
uint8_t chip_ms();
void every_ms();               // called from the millisecond interrupt: sets the LED on time
void poll();                   // tells the host about the words that have begun
}
