"""Made rooms and streets: pictures from a small ray caster, with exact labels for every task."""

from .rooms import Rooms, rooms

__all__ = ["Rooms", "rooms"]
