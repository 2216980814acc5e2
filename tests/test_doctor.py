"""rulerlab doctor: tells the truth about this machine and the command that mends it."""

import builtins
import json
import sys

import pytest

from rulerlab.cli import doctor, main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["doctor", *arguments])
    return stop.value.code, capsys.readouterr().out


def parts(text):
    return {part["name"]: part for part in json.loads(text)["parts"]}


def test_a_working_machine_is_called_sound(capsys):
    code, text = run(capsys, "--json")
    found = parts(text)
    assert code == 0 and json.loads(text)["ok"] is True
    assert json.loads(text)["schema_version"] == 1
    assert [found[name]["state"] for name in ("libraries", "OpenCV", "video")] == ["ok"] * 3
    assert "H.264 in and out" in found["video"]["detail"]


def test_the_screen_shows_every_part_with_its_remedy(capsys):
    _, text = run(capsys)
    for name in ("OpenCV", "video", "cameras", "serial ports", "torch", "avr-gcc"):
        assert f"{name}: " in text
    for line, following in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True):
        if line.startswith("missing"):
            assert "->" in following


@pytest.fixture
def opencv_lacks(monkeypatch):
    """An OpenCV whose import fails with the given message."""
    def lack(message):
        real = builtins.__import__

        def failing(name, *rest, **named):
            if name == "cv2":
                raise ImportError(message)
            return real(name, *rest, **named)

        monkeypatch.delitem(sys.modules, "cv2", raising=False)
        monkeypatch.setattr(builtins, "__import__", failing)
    return lack


def test_a_missing_system_library_gives_the_line_that_installs_it(capsys, opencv_lacks):
    opencv_lacks("libxcb.so.1: cannot open shared object file: No such file or directory")
    code, text = run(capsys, "--json")
    part = parts(text)["OpenCV"]
    assert code == 5 and part["state"] == "broken"
    assert "libxcb.so.1" in part["detail"]
    assert "sudo apt install libgl1 libglib2.0-0" in part["remedy"]


def test_a_missing_opencv_gives_the_pip_line(capsys, opencv_lacks):
    opencv_lacks("No module named 'cv2'")
    code, text = run(capsys)
    assert code == 5 and "pip install" in text and "libgl1" not in text


def test_a_missing_optional_part_is_no_fault(capsys, monkeypatch):
    def absent(name):
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "_libraries", lambda: doctor.Finding("libraries", "ok", ""))
    monkeypatch.setattr(doctor, "version", absent)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    code, text = run(capsys, "--json")
    assert code == 0
    assert parts(text)["torch"] == {
        "name": "torch", "state": "missing", "detail": "optional, for training networks",
        "remedy": 'pip install -c constraints.txt ".[networks]"'}
    assert parts(text)["node"]["remedy"] == "sudo apt install nodejs"


def test_a_port_without_permission_names_the_group(monkeypatch, capsys):
    from types import SimpleNamespace

    from serial.tools import list_ports

    port = SimpleNamespace(device="/dev/ttyACM0", description="Arduino Uno", vid=0x2341)
    monkeypatch.setattr(list_ports, "comports", lambda: [port])
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    code, text = run(capsys, "--json")
    part = parts(text)["serial ports"]
    assert code == 0 and "Arduino Uno" in part["detail"] and "dialout" in part["remedy"]
