// When the motor may run, and when it must not: lease, ramp, run time, trips.
#pragma once
#include <stdint.h>

#include "waveform.h"

namespace motor {
enum State : uint8_t { SAFE, ARMED, RUNNING, TRIPPED };

void begin();
void poll(uint32_t now_us);  // as often as the loop comes round
bool arm();                  // false: tripped
void disarm();
void stop();                 // off, stays armed
void fail();                 // off and disarmed
void trip(const char *reason);
void clear();                // the only way out of TRIPPED
void renew_lease();
bool set_lease(uint32_t ms);
void start(Drive &drive);    // limits are applied to `drive`, so that the reply can tell them
uint32_t cooling_ms(const Drive &drive);  // rest that is missing before this drive may run

State state();
const char *state_name();
uint16_t duty_permille();
uint8_t trips();
uint32_t heat_ms();
uint32_t lease_ms();
}
