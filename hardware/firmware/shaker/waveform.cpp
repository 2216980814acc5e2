#include "waveform.h"

// A quarter of a sine, 127 sin((i + 1/2) pi / 128).
static const int8_t QUARTER[64] = {
    2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35, 38, 41, 44, 47,
    50, 53, 56, 58, 61, 64, 67, 69, 72, 74, 77, 79, 82, 84, 86, 89,
    91, 93, 95, 97, 99, 101, 103, 105, 106, 108, 110, 111, 113, 114, 115, 117,
    118, 119, 120, 121, 122, 123, 124, 124, 125, 125, 126, 126, 127, 127, 127, 127,
};

static int8_t sine(uint32_t phase) {
  uint8_t turn = phase >> 24;  // 256 steps per turn
  uint8_t index = turn & 63;
  int8_t value = QUARTER[turn & 64 ? 63 - index : index];
  return turn & 128 ? -value : value;
}

// 2^32 / 100000 = 42949.67: steps of phase per millisecond for 0.01 Hz.
static uint32_t per_ms(uint32_t chz) { return chz * 42949u + chz * 67u / 100u; }

uint32_t Waveform::random() {  // xorshift32
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

uint32_t Waveform::draw_tone() {
  uint32_t width = drive.to_chz - drive.from_chz + 1;
  return per_ms(drive.from_chz + (random() >> 16) * width / 65536u);
}

void Waveform::begin(const Drive &wanted) {
  drive = wanted;
  elapsed_ms = 0;
  state = drive.seed ? drive.seed : 1;
  phase[0] = 0;
  advance[0] = per_ms(drive.from_chz);
  uint32_t run_ms = drive.ramp_ms + drive.hold_ms;
  sweep = ((int32_t)per_ms(drive.to_chz) - (int32_t)advance[0]) / (int32_t)(run_ms ? run_ms : 1);
  if (drive.shape != Drive::NOISE) return;
  for (uint8_t i = 0; i < TONES; i++) {
    phase[i] = random();
    advance[i] = draw_tone();
  }
}

int16_t Waveform::step() {
  if (drive.shape == Drive::CONSTANT) return (int16_t)drive.mean;
  int16_t sum = 0;
  uint8_t tones = 1;
  if (drive.shape == Drive::NOISE) {
    tones = TONES;
    if (elapsed_ms % REDRAW_MS == 0) advance[elapsed_ms / REDRAW_MS % TONES] = draw_tone();
  } else {
    advance[0] += (uint32_t)sweep;
  }
  for (uint8_t i = 0; i < tones; i++) {
    sum += sine(phase[i]);
    phase[i] += advance[i];
  }
  elapsed_ms++;
  return (int16_t)drive.mean + (int16_t)((int32_t)drive.amplitude * sum / (127 * tones));
}
