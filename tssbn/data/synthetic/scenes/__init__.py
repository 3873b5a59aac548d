"""Synthetic rooms and streets: pictures from a small ray caster, exact labels for every task."""

from .rooms import Rooms, rooms
from .streets import Streets, streets

__all__ = ["Rooms", "Streets", "rooms", "streets"]
