// The duty that a drive asks for, millisecond by millisecond, in whole numbers: the same on every board.
#pragma once
#include <stdint.h>

struct Drive {
  enum Shape : uint8_t { CONSTANT, SINE, NOISE } shape;
  uint16_t mean;       // permille
  uint16_t amplitude;  // permille; noise stays within it, its rms is a quarter of it
  uint32_t from_chz;   // sine: frequency at the start; noise: lower edge of the band (0.01 Hz)
  uint32_t to_chz;     // sine: frequency at the end; noise: upper edge
  uint32_t seed;
  uint32_t ramp_ms;
  uint32_t hold_ms;
};

class Waveform {
 public:
  void begin(const Drive &drive);
  int16_t step();  // permille for the next millisecond; may lie outside 0..1000

 private:
  static const uint8_t TONES = 8;        // of the noise, each redrawn in the band every 256 ms
  static const uint8_t REDRAW_MS = 32;   // one after the other
  uint32_t random();
  uint32_t draw_tone();
  Drive drive;
  uint32_t phase[TONES];    // 2^32 is one turn
  uint32_t advance[TONES];  // per millisecond
  int32_t sweep;            // change of advance[0] per millisecond
  uint32_t elapsed_ms;
  uint32_t state;
};
