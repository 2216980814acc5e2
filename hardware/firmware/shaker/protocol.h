// RL1, the conversation with the host: see hardware/protocol.md.
#pragma once
#include <stdint.h>

#define FIRMWARE_VERSION "1.0.0"

namespace protocol {
void begin(uint8_t reset_cause);
void byte(uint8_t received);
void event(const char *name, const char *detail);   // !NAME detail t_us
void word_event(uint16_t number, uint32_t t_us);    // !WORD number t_us
}
