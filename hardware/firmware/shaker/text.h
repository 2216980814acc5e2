// Lines are built piece by piece in a fixed buffer; what does not fit is left out, never written past it.
#pragma once
#include <stdint.h>

class Text {
 public:
  static const uint8_t ROOM = 80;
  Text &word(const char *text);
  Text &number(int32_t value);
  Text &unsigned_number(uint32_t value);
  Text &hex(uint32_t value, uint8_t digits);
  Text &close();  // adds '*' and the checksum
  const char *c_str() const { return buffer; }
  uint8_t length() const { return used; }

 private:
  void put(char c);
  char buffer[ROOM + 1] = {0};
  uint8_t used = 0;
};

// Reads an unsigned decimal number and steps over it; false without digits or past 32 bits.
bool read_unsigned(const char *&at, uint32_t &value);
// Reads exactly `digits` hexadecimal digits (upper case).
bool read_hex(const char *&at, uint8_t digits, uint32_t &value);
