# The system libraries that the opencv-python wheel links against.
python3 -c "import ctypes; ctypes.CDLL('libGL.so.1'); ctypes.CDLL('libgthread-2.0.so.0')" 2>/dev/null || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends libgl1 libglib2.0-0
}
