"""Readings of sensors, kept and summed up: something to compile, with a newer version in it.

What stands between "newer" and "end" is in the newer version alone.
"""
import json
import os
import time

UNITS = {"celsius": 1.0, "kelvin": 273.15, "percent": 0.01}
FOLDER = "/var/lib/readings"


class ReadingError(ValueError):
    """A reading that cannot be."""

    def __init__(self, sensor, value, reason="not a number"):
        super().__init__(f"{sensor}: {value!r}: {reason}")
        self.sensor, self.value, self.reason = sensor, value, reason


# newer
def checked(sensor, value, lowest=-40.0, highest=125.0):
    if not lowest <= value <= highest:
        raise ReadingError(sensor, value, reason="out of range")
    return value
# end


class Sensor:
    def __init__(self, name, unit="celsius", folder=FOLDER):
        self.name, self.unit, self.folder = name, unit, folder
        self.readings = []

    def path(self):
        return os.path.join(self.folder, self.name + ".json")

    def take(self, value, at=None):
        try:
            value = float(value) * UNITS[self.unit]
        except (TypeError, ValueError):
            raise ReadingError(self.name, value) from None
# newer
        checked(self.name, value)
# end
        self.readings.append((at or time.time(), value))
        return value

    def mean(self, since=0.0):
        values = [value for at, value in self.readings if at >= since]
        return sum(values) / len(values) if values else None

    def save(self):
        part = self.path() + ".part"
        with open(part, "w", encoding="utf-8") as file:
            json.dump({"name": self.name, "unit": self.unit, "readings": self.readings}, file)
        os.replace(part, self.path())

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        sensor = cls(said["name"], said["unit"], os.path.dirname(path))
        sensor.readings = [tuple(reading) for reading in said["readings"]]
        return sensor


# newer
def forget(sensors, before):
    for sensor in sensors:
        sensor.readings = [(at, value) for at, value in sensor.readings if at >= before]
# end


def all_sensors(folder=FOLDER):
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    return [Sensor.load(os.path.join(folder, name)) for name in names]


def report(folder=FOLDER, since=0.0, write=print):
    for sensor in all_sensors(folder):
        mean, count = sensor.mean(since), len(sensor.readings)
        if mean is None:
            write(f"{sensor.name}: nothing since {since}")
        else:
            write(f"{sensor.name}: {mean:.2f} {sensor.unit}, {count} readings in {sensor.path()}")
