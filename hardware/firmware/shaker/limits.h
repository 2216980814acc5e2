// What the firmware never exceeds, whatever the host asks. Change them here, then flash again.
#pragma once

#ifndef MAX_DUTY_PERMILLE
#define MAX_DUTY_PERMILLE 900  // share of the time the motor is switched on
#endif
#ifndef MIN_RAMP_MS
#define MIN_RAMP_MS 100  // a step in duty is a step in current
#endif
#ifndef MAX_RUN_MS
#define MAX_RUN_MS 30000  // run time that may pile up; resting takes it down again, 1 ms per ms
#endif
#ifndef MAX_LEASE_MS
#define MAX_LEASE_MS 2000  // longest silence of the host that a moving motor survives
#endif
#define MIN_LEASE_MS 50
#define DEFAULT_LEASE_MS 500
#define TRIPS_BEFORE_LATCH 2   // this many trips, and only CLEAR helps
#define MAX_FREQUENCY_CHZ 25000  // 250.00 Hz: the duty is renewed every millisecond
#define MIN_STREAM_MS 2          // between two samples: what 115200 baud can carry
#define MAX_STREAM_MS 250
#define MIN_CHIP_MS 5             // of the LED's time code
#define MAX_CHIP_MS 250
