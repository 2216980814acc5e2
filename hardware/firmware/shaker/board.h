// What the core needs from the board that it runs on: an Uno (shaker.ino) or a PC (host/core_host.cpp).
#pragma once
#include <stdint.h>

namespace board {
uint32_t micros();                     // wraps after 71.6 minutes
void send(const char *line);           // a whole line, may wait for room
bool send_if_room(const char *line);   // a whole line or nothing
void motor(uint16_t permille);         // 0: output disconnected and low
void led(bool on);
bool stop_pressed();                   // spare contact of the stop button
uint32_t uid();                        // FFFFFFFF: not given yet
void store_uid(uint32_t uid);
const char *sensor_name();             // "none", "mpu6050", "adxl345"
uint16_t sensor_counts_per_g();
bool acceleration(int16_t xyz[3]);     // false: the sensor did not answer
}
