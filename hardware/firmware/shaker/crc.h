// CRC-16/MCRF4XX, the same as avr-libc's _crc_ccitt_update: "123456789" gives 6F91.
#pragma once
#include <stdint.h>

inline uint16_t crc16_step(uint16_t crc, uint8_t data) {
  data ^= (uint8_t)crc;
  data ^= (uint8_t)(data << 4);
  return (((uint16_t)data << 8) | (crc >> 8)) ^ (uint8_t)(data >> 4) ^ ((uint16_t)data << 3);
}

inline uint16_t crc16(const char *text, uint8_t length) {
  uint16_t crc = 0xFFFF;
  while (length--) crc = crc16_step(crc, (uint8_t)*text++);
  return crc;
}
