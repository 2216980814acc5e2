#include "core.h"

#include "board.h"
#include "motor.h"
#include "protocol.h"
#include "stream.h"
#include "timecode.h"

namespace core {
void begin(uint8_t reset_cause) {
  motor::begin();
  timecode::begin();
  stream::begin();
  protocol::begin(reset_cause);
}

void byte(uint8_t received) { protocol::byte(received); }

void every_ms() {
  timecode::every_ms();
  stream::every_ms();
}

void poll() {
  motor::poll(board::micros());
  timecode::poll();
  stream::poll();
}
}
