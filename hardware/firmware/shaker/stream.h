// Accelerometer samples on the line: up to three to a line, never later than they can be sent.
#pragma once
#include <stdint.h>

namespace stream {
void begin();
bool start(uint8_t period_ms);   // 0: off; false: no sensor
void every_ms();  // from the millisecond interrupt
void poll();
uint16_t dropped();
}
