#include "text.h"

#include "crc.h"

static const char DIGITS[] = "0123456789ABCDEF";

void Text::put(char c) {
  if (used >= ROOM) return;
  buffer[used++] = c;
  buffer[used] = 0;
}

Text &Text::word(const char *text) {
  while (*text) put(*text++);
  return *this;
}

Text &Text::unsigned_number(uint32_t value) {
  char reversed[10];
  uint8_t digits = 0;
  for (; value > 0xFFFF; value /= 10) reversed[digits++] = DIGITS[value % 10];
  uint16_t small = (uint16_t)value;  // dividing these takes a third of the time
  do {
    reversed[digits++] = DIGITS[small % 10];
    small /= 10;
  } while (small);
  while (digits) put(reversed[--digits]);
  return *this;
}

Text &Text::number(int32_t value) {
  if (value < 0) put('-');
  return unsigned_number(value < 0 ? 0u - (uint32_t)value : (uint32_t)value);
}

Text &Text::hex(uint32_t value, uint8_t digits) {
  while (digits--) put(DIGITS[(value >> (4 * digits)) & 15]);
  return *this;
}

Text &Text::close() {
  uint16_t crc = crc16(buffer, used);
  return word("*").hex(crc, 4);
}

bool read_unsigned(const char *&at, uint32_t &value) {
  if (*at < '0' || *at > '9') return false;
  value = 0;
  while (*at >= '0' && *at <= '9') {
    uint8_t digit = *at++ - '0';
    if (value > (0xFFFFFFFFu - digit) / 10) return false;
    value = value * 10 + digit;
  }
  return true;
}

bool read_hex(const char *&at, uint8_t digits, uint32_t &value) {
  value = 0;
  while (digits--) {
    char c = *at;
    if (c >= '0' && c <= '9') value = value << 4 | (uint32_t)(c - '0');
    else if (c >= 'A' && c <= 'F') value = value << 4 | (uint32_t)(c - 'A' + 10);
    else return false;
    at++;
  }
  return true;
}
