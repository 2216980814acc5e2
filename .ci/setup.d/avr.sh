# The compiler and the emulator for the firmware of the shaker; where this ran, a skipped test is an error.
command -v avr-g++ >/dev/null && [ -d /usr/share/arduino/hardware/arduino/avr ] || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc-avr avr-libc arduino-core-avr make g++
}
command -v node >/dev/null && command -v npm >/dev/null || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm
}
(cd hardware/emulator && npm ci --silent --no-audit --no-fund)
export RULERLAB_REQUIRE_AVR=1
