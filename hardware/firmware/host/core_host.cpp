// The firmware's core on a PC, led by a script on stdin; answers with what the board would do.
//   rx <hex bytes>    the host sends these bytes
//   run <us>          time passes
//   set <name> <n>    clock (us), button, sensor (0 or 1)
// After each command: "tx LINE", "motor US PERMILLE", "led US 0|1" as they happened, then ".".
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "../shaker/board.h"
#include "../shaker/core.h"

static uint32_t now_us;
static bool button, sensor_there = true;
static uint32_t stored_uid = 0xFFFFFFFFu;
static int last_motor = -1, last_led = -1;

namespace board {
uint32_t micros() { return now_us; }
void send(const char *line) { printf("tx %s\n", line); }
bool send_if_room(const char *line) { return send(line), true; }
void motor(uint16_t permille) {
  if (permille != last_motor) printf("motor %u %u\n", now_us, permille);
  last_motor = permille;
}
void led(bool on) {
  if (on != last_led) printf("led %u %d\n", now_us, on);
  last_led = on;
}
bool stop_pressed() { return button; }
uint32_t uid() { return stored_uid; }
void store_uid(uint32_t uid) { stored_uid = uid; }
const char *sensor_name() { return sensor_there ? "mpu6050" : "none"; }
uint16_t sensor_counts_per_g() { return sensor_there ? 4096 : 0; }
bool acceleration(int16_t xyz[3]) {
  xyz[0] = 0, xyz[1] = (int16_t)(now_us & 0xFFF), xyz[2] = 4096;
  return sensor_there;
}
}

static void run(uint32_t us) {
  while (us) {
    uint32_t step = 1000 - now_us % 1000;
    if (step > us) step = us;
    now_us += step;
    us -= step;
    if (now_us % 1000 == 0) core::every_ms();
    core::poll();
  }
}

static void receive(const char *hex) {
  for (; hex[0] && hex[1]; hex += 2) {
    char pair[3] = {hex[0], hex[1], 0};
    core::byte((uint8_t)strtoul(pair, nullptr, 16));
    core::poll();
  }
}

int main() {
  core::begin(1);
  printf(".\n");
  fflush(stdout);
  char *text = nullptr;
  size_t room = 0;
  while (getline(&text, &room, stdin) > 0) {
    char *argument = strchr(text, ' ');
    if (!argument) return 2;
    *argument++ = 0;
    argument[strcspn(argument, "\n")] = 0;
    std::string command = text;
    if (command == "rx") receive(argument);
    else if (command == "run") run((uint32_t)strtoul(argument, nullptr, 10));
    else if (command == "set") {
      char *value = strchr(argument, ' ');
      if (!value) return 2;
      *value++ = 0;
      uint32_t number = (uint32_t)strtoul(value, nullptr, 10);
      if (!strcmp(argument, "clock")) now_us = number, core::begin(1);
      if (!strcmp(argument, "button")) button = number;
      if (!strcmp(argument, "sensor")) sensor_there = number;
    } else return 2;
    printf(".\n");
    fflush(stdout);
  }
  free(text);
}
