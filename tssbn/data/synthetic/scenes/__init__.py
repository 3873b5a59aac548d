"""Synthetic rooms and streets: pictures and exact labels for each task, by a small ray caster."""

from .rooms import Rooms, rooms
from .streets import Streets, streets

__all__ = ["Rooms", "Streets", "rooms", "streets"]
